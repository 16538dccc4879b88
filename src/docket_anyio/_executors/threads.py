"""A body that runs in a thread, because it is a plain function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from math import inf

from anyio import CapacityLimiter, to_thread
from attrs import define, field

from docket_anyio.exceptions import InvalidTask


def _own_limiter() -> CapacityLimiter:
    # How many run at once is the worker's concurrency, and AnyIO's default limiter is the application's.
    return CapacityLimiter(inf)


@define(eq=False)
class Threads:
    """The threads in which a worker runs plain functions."""

    _limiter: CapacityLimiter = field(factory=_own_limiter, init=False)

    async def run(
        self, function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> object:
        """Call a function in a thread, and wait for it however long it takes.

        A thread cannot be stopped from outside: cancelled here, the function learns of it by ``check_cancelled()``.
        What it returns all the same is returned.

        Raises:
            InvalidTask: It returned a coroutine, which nobody there awaits.
        """
        return await to_thread.run_sync(partial(_call, function, args, kwargs), limiter=self._limiter)


def _call(function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    result = function(*args, **kwargs)
    if inspect.iscoroutine(result):
        result.close()
        raise InvalidTask(f"{function!r} has returned a coroutine instead of being one: write it as an async def")
    return result
