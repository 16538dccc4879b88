"""Signatures of tasks, for people to read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from docket_anyio import Retry, compact_signature, get_signature


def parameters(names: str) -> inspect.Signature:
    """The signature of a function whose annotations are no strings."""
    scope: dict[str, Any] = {"Annotated": Annotated, "Retry": Retry}
    exec(compile(f"async def task({names}): ...", "made up", "exec", dont_inherit=True), scope)
    return get_signature(scope["task"])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", ""),
        ("a", "a"),
        ("a: int, b: str = 'x'", "a: int, b: str = 'x'"),
        ("a: int, retry: Retry = Retry()", "a: int, ..."),
        ("retry: Retry = Retry()", "..."),
        ("a: Annotated[int, 'a note']", "a: int"),
        ("a: list[int] = None", "a: list[int] = None"),
        ("a: 'Later'", "a: Later"),
    ],
)
def test_a_signature_on_one_line(given: str, shown: str) -> None:
    assert compact_signature(parameters(given)) == shown


def test_the_signature_of_a_function_that_says_its_own() -> None:
    async def task(*args: object) -> None: ...

    claimed: Any = task
    claimed.__signature__ = parameters("a: int")
    function: Callable[..., Any] = claimed
    assert compact_signature(get_signature(function)) == "a: int"


@pytest.mark.parametrize("given", ["", "a", "a: int, b: str = 'x'", "a: Annotated[int, 'a note']", "a: 'Later'"])
def test_pydocket_shows_the_same(given: str) -> None:
    execution = pytest.importorskip("docket.execution")
    assert execution.compact_signature(parameters(given)) == compact_signature(parameters(given))
