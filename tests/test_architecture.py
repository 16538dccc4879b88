"""The rules of the house that a program can check; import-linter holds the layers."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "docket_anyio"
MODULES = sorted(SRC.rglob("*.py"))
SCRIPTS = sorted(path for path in (SRC / "_broker" / "lua").glob("*.lua") if path.name != "_prelude.lua")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ARGUMENTS = 8

# Parks a task on the loop's own primitive: the hot path of the multiplexer.
MAY_IMPORT_A_LOOP = {"_redis/waiter.py"}
# Picks memory:// by the scheme of the URL, so that nobody else loads Lua.
MAY_IMPORT_LATE = {"_redis/client.py"}

LUA_HEADER = re.compile(
    r"-- (?P<name>\w+): \S.*\n"  # what the transition does
    r"(?:-- \S.*\n)*?"  # more about it
    r"-- KEYS(?P<keys>(?: .+)?)\n(?:--  +\S.*\n)*"
    r"-- ARGV(?P<arguments>(?: .+)?)\n(?:--  +\S.*\n)*"
    r"-- returns \S.*\n"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def _lines_without_docstring(function: Function) -> int:
    has_docstring = ast.get_docstring(function) is not None
    first = function.body[1 if has_docstring and len(function.body) > 1 else 0]
    return (function.end_lineno or 0) - first.lineno + 1


def _arguments(function: Function) -> int:
    spec = function.args
    named = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + (spec.vararg is not None) + (spec.kwarg is not None)


def _imported(node: ast.AST) -> list[str]:
    """Return what an import statement names; a leading dot for what is relative, so our own."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def _is_own(name: str) -> bool:
    return name.startswith(".") or name.split(".")[0] == SRC.name


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _report(check: Callable[[Path], object], paths: list[Path] = MODULES) -> dict[str, object]:
    """Return what a check found, for each file where it found something."""
    found = {path.relative_to(SRC).as_posix(): check(path) for path in paths}
    return {name: what for name, what in found.items() if what}


def test_there_is_something_to_check() -> None:
    assert MODULES
    assert SCRIPTS


def test_a_file_holds_one_concept() -> None:
    def too_long(path: Path) -> int:
        lines = len(path.read_text().splitlines())
        return lines if lines > MAX_FILE_LINES else 0

    assert _report(too_long) == {}


def test_a_file_says_first_what_it_owns() -> None:
    def silent(path: Path) -> bool:
        tree = _parse(path)
        return bool(tree.body) and not ast.get_docstring(tree)

    assert _report(silent) == {}


def test_functions_are_short() -> None:
    def too_long(path: Path) -> dict[str, int]:
        lengths = {function.name: _lines_without_docstring(function) for function in _functions(_parse(path))}
        return {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}

    assert _report(too_long) == {}


def test_functions_take_few_arguments() -> None:
    def too_many(path: Path) -> dict[str, int]:
        counts = {function.name: _arguments(function) for function in _functions(_parse(path))}
        return {name: count for name, count in counts.items() if count > MAX_ARGUMENTS}

    # An argument of a command is an option of the command line.
    assert _report(too_many, [path for path in MODULES if SRC / "cli" not in path.parents]) == {}


def test_no_event_loop_is_named() -> None:
    def loops(path: Path) -> list[str]:
        names = [name for node in ast.walk(_parse(path)) for name in _imported(node)]
        return [name for name in names if name.split(".")[0] in {"asyncio", "trio"}]

    assert set(_report(loops)) <= MAY_IMPORT_A_LOOP


def test_own_modules_are_imported_at_the_top() -> None:
    def late(path: Path) -> list[str]:
        tree = _parse(path)
        blocks = [*_functions(tree), *(node for node in ast.walk(tree) if _is_type_checking(node))]
        return [name for block in blocks for node in ast.walk(block) for name in _imported(node) if _is_own(name)]

    assert set(_report(late)) <= MAY_IMPORT_LATE


def test_nothing_is_imported_from_the_top_package() -> None:
    """``from docket_anyio import Docket`` inside of it would be a cycle that the layers do not show."""

    def from_top(path: Path) -> list[str]:
        top = {SRC.name, "." * len(path.relative_to(SRC).parts)}
        return [name for node in ast.walk(_parse(path)) for name in _imported(node) if name in top]

    # The top package itself names its public modules.
    assert _report(from_top, [path for path in MODULES if path != SRC / "__init__.py"]) == {}


def test_nothing_is_asserted() -> None:
    """What callers can cause gets an error of our own; what cannot happen gets ``assert_never``."""

    def asserts(path: Path) -> list[int]:
        return [node.lineno for node in ast.walk(_parse(path)) if isinstance(node, ast.Assert)]

    assert _report(asserts) == {}


def test_a_script_says_first_what_it_does() -> None:
    def wrong(path: Path) -> str:
        header = LUA_HEADER.match(path.read_text())
        if header is None:
            return "-- name: sentence / -- KEYS ... / -- ARGV ... / -- returns ..."
        return "" if header["name"] == path.stem else f"calls itself {header['name']}"

    assert _report(wrong, SCRIPTS) == {}
