"""What goes into a process and comes out of it, pickled: functions, values, exceptions and context variables."""

from __future__ import annotations

import inspect
import io
import logging
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from functools import lru_cache
from importlib import import_module
from traceback import format_exception_only
from typing import Any, ClassVar, Final, cast

import cloudpickle

from docket_anyio._model.codec import dump
from docket_anyio._model.payloads import max_payload_bytes
from docket_anyio.exceptions import NotSerializable, TaskFailed

# What these keep in context variables is about a place in this process: a child has its own.
_OF_THIS_PROCESS: Final = frozenset({"docket_anyio", "uncalled_for", "anyio", "sniffio", "trio", "asyncio"})


def context_variable(module: str, name: str) -> ContextVar[Any]:
    """Return a context variable by the place where it is kept; what the main program keeps is made, if need be."""
    if module == "__main__":
        return _of_main_program(name)
    found = getattr(import_module(module), name)
    if not isinstance(found, ContextVar):
        raise TypeError(f"{module}.{name} is no context variable")
    return cast("ContextVar[Any]", found)  # type: ignore[redundant-cast]  # not for pyright


@lru_cache(maxsize=1024)
def _of_main_program(name: str) -> ContextVar[Any]:
    # The main program of a child is not that of its parent: what it has of it was sent by value.
    return ContextVar(name)


@lru_cache(maxsize=1024)
def _place(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return the module and the name of a context variable, if it is a global of a module."""
    for module, names in [(name, vars(each)) for name, each in [*sys.modules.items()] if hasattr(each, "__dict__")]:
        for name, value in [*names.items()]:
            if value is variable:
                return module, name
    return None


def _reduce_variable(
    variable: ContextVar[Any],
) -> tuple[Callable[[str, str], ContextVar[Any]], tuple[str, str]]:
    place = _place(variable)
    if place is None:
        raise TypeError(f"{variable!r} is no global of a module")
    return context_variable, place


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Takes along functions that use context variables of their module."""

    dispatch_table: ClassVar[ChainMap[Any, Any]] = ChainMap(
        {ContextVar: _reduce_variable}, dict[Any, Any](cloudpickle.Pickler.dispatch_table)
    )


def _dump(value: object) -> bytes:
    with io.BytesIO() as file:
        pickler: Any = _Pickler(file)
        pickler.dump(value)
        return file.getvalue()


def dump_body(
    task: str,
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    surroundings: Sequence[object],
) -> bytes:
    """Pickle a function, its arguments, and what surrounds it.

    Raises:
        NotSerializable: One of them cannot be pickled; the message names it.
    """
    try:
        return _dump((function, tuple(args), dict(kwargs), list(surroundings)))
    except Exception as error:  # whatever a user's __reduce__ raises
        culprit, reason = _find_culprit(function, args, kwargs) or ("what it is called with", error)
        raise NotSerializable(
            f"task {task!r} cannot be run in another process: {culprit} cannot be pickled: "
            f"{type(reason).__name__}: {reason}"
        ) from error


def _find_culprit(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[str, Exception] | None:
    positions = [*inspect.signature(function).parameters][: len(args)]
    named = [(f"argument {name!r}", value) for name, value in [*zip(positions, args, strict=False), *kwargs.items()]]
    for what, value in [*named, ("its function", function)]:
        try:
            _dump(value)
        except Exception as error:  # noqa: BLE001 - whatever a user's __reduce__ raises
            return what, error
    return None


def dump_error(error: Exception) -> bytes:
    """Pickle an exception, or one that has its words where it cannot be."""
    try:
        return dump(error, "")
    except NotSerializable:
        return dump(TaskFailed("".join(format_exception_only(error)).strip()), "")


def dump_variables() -> list[tuple[str, str, bytes]]:
    """Return the context variables of the caller that another process can be given, with their places."""
    found: list[tuple[str, str, bytes]] = []
    for variable, value in copy_context().items():
        place = _place(variable)
        ours = place is None or place[0].partition(".")[0] in _OF_THIS_PROCESS
        if place is None or (ours and variable is not max_payload_bytes):
            continue
        try:
            found.append((*place, dump(value, "")))
        except NotSerializable:
            continue
    return found


def set_variables(variables: Sequence[tuple[str, str, bytes]]) -> None:
    """Set context variables that came from another process; what cannot be read here is left out."""
    for module, name, value in variables:
        try:
            context_variable(module, name).set(cloudpickle.loads(value))
        except Exception:  # noqa: BLE001 - importing and unpickling run a user's code
            logging.getLogger(__name__).debug("the context variable %s.%s cannot be set here", module, name)


def levels() -> dict[str, int]:
    """Return the levels that loggers were given, by name; the root's name is empty."""
    named = logging.root.manager.loggerDict
    found = {name: each.level for name, each in [*named.items()] if isinstance(each, logging.Logger) and each.level}
    # What is disabled for the whole program is not to be sent first and thrown away then.
    return {**found, "": max(logging.root.level, logging.root.manager.disable)}
