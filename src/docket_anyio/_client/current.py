"""What the running code is part of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.execution import current_execution as current_execution
from docket_anyio._injection.marker import OfOneRun, OfThisProcess

T = TypeVar("T")

current_docket: Final[ContextVar[Docket]] = ContextVar("current_docket")


@contextmanager
def is_current(variable: ContextVar[T], value: T) -> Generator[None]:
    """Let a value be the current one inside the block, and for what is started there."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


class _CurrentDocket(OfThisProcess[Docket]):
    async def __aenter__(self) -> Docket:  # noqa: ASYNC910 - nothing to wait for
        return current_docket.get()


class _CurrentExecution(OfOneRun[Execution[Any]]):
    async def __aenter__(self) -> Execution[Any]:  # noqa: ASYNC910 - nothing to wait for
        return current_execution.get()


class _TaskKey(OfOneRun[str]):
    async def __aenter__(self) -> str:  # noqa: ASYNC910 - nothing to wait for
        return current_execution.get().key


def CurrentDocket() -> Docket:  # noqa: N802 - pydocket's name
    """Ask for the docket that the task came from.

    ``async def plan(docket: Docket = CurrentDocket()): ...``
    """
    return cast("Docket", _CurrentDocket())


def CurrentExecution() -> Execution[Any]:  # noqa: N802 - pydocket's name
    """Ask for the execution that the body is the run of."""
    return cast("Execution[Any]", _CurrentExecution())


def TaskKey() -> str:  # noqa: N802 - pydocket's name
    """Ask for the key of the task.

    ``async def charge(amount: int, key: str = TaskKey()): ...``
    """
    return cast("str", _TaskKey())
