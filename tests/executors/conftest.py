"""Processes that run bodies."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest
from attrs import define

from docket_anyio._executors.calls import ProcessCall
from docket_anyio._executors.processes import ProcessPool
from docket_anyio._executors.stopping import StopSign
from docket_anyio._model.outcome import StopRequest


@define(eq=False)
class Sign(StopSign):
    """What nobody has told to stop, but for the scopes around."""

    because: StopRequest | None = None  # type: ignore[assignment]
    requested: bool = False  # type: ignore[assignment]
    deadline: datetime | None = None  # type: ignore[assignment]

    def check(self) -> None: ...


def process_call(
    function: Callable[..., Any],
    *args: object,
    grace: float = 30,
    because: StopRequest | None = None,
    kwargs: dict[str, object] | None = None,
    **options: Any,
) -> ProcessCall:
    is_async = inspect.iscoroutinefunction(function)
    sign = Sign(because)
    return ProcessCall(
        function.__name__, function, args, kwargs or {}, is_async, sign, timedelta(seconds=grace), **options
    )


@asynccontextmanager
async def open_pool(size: int = 1, **options: Any) -> AsyncGenerator[ProcessPool]:
    pool, ready = ProcessPool(size, **options), anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(pool.run, ready.set)
        await ready.wait()
        yield pool
        group.cancel_scope.cancel()


@pytest.fixture(scope="module")
async def pool(anyio_backend: object) -> AsyncGenerator[ProcessPool]:
    """A pool of one process, which all tests of a module share."""
    async with open_pool() as pool:
        yield pool
