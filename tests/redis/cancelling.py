"""Cancelling an operation at an await of one's choice."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


@types.coroutine
def _cancelling_at(operation: Coroutine[Any, Any, T], place: int, scope: anyio.CancelScope) -> Generator[Any, Any, T]:
    step: Callable[[], Any] = lambda: operation.send(None)  # noqa: E731
    while True:
        try:
            wanted = step()
        except StopIteration as end:
            return end.value
        place -= 1
        if place == 0:
            scope.cancel()
        try:
            value = yield wanted
        except BaseException as error:  # noqa: ASYNC103, BLE001 - handed on
            step = lambda error=error: operation.throw(error)  # noqa: E731
        else:
            step = lambda value=value: operation.send(value)  # noqa: E731


async def cancel_at_every_await(
    make: Callable[[], Coroutine[Any, Any, object]], check: Callable[[], Awaitable[None]], *, most: int = 400
) -> int:
    """Run an operation anew for each of its awaits, cancel it there, and check. Return how many awaits there were."""
    for place in range(1, most):
        with anyio.CancelScope() as scope:
            await _cancelling_at(make(), place, scope)
        await check()
        if not scope.cancel_called:
            return place - 1
    raise AssertionError(f"not over after {most} awaits")
