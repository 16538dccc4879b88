"""Assertions about the tasks that wait on a docket; those that run do not count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.registry import TaskFunction
from docket_anyio.exceptions import CorruptMessage

_SHOWN = 20


@frozen
class _Wanted:
    """Which tasks an assertion is about; what is ``None`` may be anything."""

    function: TaskFunction | str | None
    names: frozenset[str] = field(repr=False)
    key: str | None = None
    args: tuple[object, ...] | None = None
    kwargs: Mapping[str, object] | None = None

    def __str__(self) -> str:
        name = self.function if isinstance(self.function, str) else getattr(self.function, "__name__", "")
        said = {"key": self.key, "args": self.args, "kwargs": self.kwargs}
        details = ", ".join(f"{what}={value!r}" for what, value in said.items() if value is not None)
        return f"{name!r} with {details}" if details else f"{name!r}"

    def matches(self, execution: Execution[Any]) -> bool:
        return (
            (self.function is None or execution.function_name in self.names)
            and self.key in {None, execution.key}
            and (self.args is None or execution.args == self.args)
            and all(
                name in execution.kwargs and execution.kwargs[name] == value
                for name, value in (self.kwargs or {}).items()
            )
        )


async def assert_task_scheduled(
    docket: Docket,
    function: TaskFunction | str,
    *,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    key: str | None = None,
) -> None:
    """Assert that a task waits, now or for later.

    Args:
        docket: An open docket.
        function: The task or its name.
        args: The arguments by position, all of them.
        kwargs: Some of the arguments by name.
        key: Its key.

    Raises:
        AssertionError: None of those that wait is like that. It lists them.
    """
    wanted = _wanted(docket, function, args, kwargs, key)
    waiting = await _waiting(docket)
    if not any(wanted.matches(each) for each in waiting):
        raise AssertionError(f"no task {wanted} waits on {docket!r}; {_list(waiting)}")


async def assert_task_not_scheduled(
    docket: Docket,
    function: TaskFunction | str,
    *,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    key: str | None = None,
) -> None:
    """Assert that no such task waits. The arguments are those of ``assert_task_scheduled``.

    Raises:
        AssertionError: One does. It lists those that do.
    """
    wanted = _wanted(docket, function, args, kwargs, key)
    found = [each for each in await _waiting(docket) if wanted.matches(each)]
    if found:
        raise AssertionError(f"no task {wanted} should wait on {docket!r}; {_list(found)}")


async def assert_task_count(docket: Docket, function: TaskFunction | str | None = None, *, count: int) -> None:
    """Assert how many tasks wait.

    Args:
        docket: An open docket.
        function: Only those of this task, or of this name.
        count: How many there should be.

    Raises:
        AssertionError: There are more or fewer. It lists those that wait.
    """
    wanted = _wanted(docket, function)
    waiting = await _waiting(docket)
    found = sum(wanted.matches(each) for each in waiting)
    if found != count:
        of = "tasks" if function is None else f"tasks {wanted}"
        raise AssertionError(f"{found} {of} wait on {docket!r}, not {count}; {_list(waiting)}")


async def assert_no_tasks(docket: Docket) -> None:
    """Assert that no task waits.

    Raises:
        AssertionError: One does. It lists those that do.
    """
    waiting = await _waiting(docket)
    if waiting:
        raise AssertionError(f"no task should wait on {docket!r}; {_list(waiting)}")


def _wanted(
    docket: Docket,
    function: TaskFunction | str | None,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    key: str | None = None,
) -> _Wanted:
    if function is None or isinstance(function, str):
        names = frozenset({function} if function else ())
    else:
        registered = {name for name, known in docket.tasks.items() if known == function}
        names = frozenset(registered or {getattr(function, "__name__", "")})
    return _Wanted(function, names, key, None if args is None else tuple(args), kwargs)


async def _waiting(docket: Docket) -> Sequence[Execution[Any]]:
    return (await docket.snapshot()).future


def _list(executions: Iterable[Execution[Any]]) -> str:
    lines = [f"{each.function_name}{_call(each)} with the key {each.key!r}" for each in executions]
    if not lines:
        return "nothing waits"
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n  ".join(["there are:", *lines[:_SHOWN], *more])


def _call(execution: Execution[Any]) -> str:
    try:
        given = [repr(each) for each in execution.args]
    except CorruptMessage:
        return "(arguments that cannot be unpickled here)"
    given += [f"{name}={value!r}" for name, value in execution.kwargs.items()]
    return f"({', '.join(given)})"
