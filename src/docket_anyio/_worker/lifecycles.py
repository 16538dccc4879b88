"""What classes of dependencies open for as long as a worker runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from docket_anyio._client.docket import Docket
from docket_anyio._injection.plan import Placed


@runtime_checkable
class _HasLifecycle(Protocol):
    """A class that has something open while a worker runs."""

    def worker_lifecycle(self, docket: Docket, worker: Any) -> AbstractAsyncContextManager[object] | None:
        """Return what is to be open, if anything."""
        ...


@asynccontextmanager
async def open_lifecycles(docket: Docket, worker: Any, around: Sequence[Placed]) -> AsyncGenerator[None]:
    """Hold open what the dependencies of the registered tasks have for each worker: ``worker_lifecycle()`` of a class.

    Args:
        docket: The worker's docket.
        worker: The worker.
        around: What the worker opens around every task.
    """
    kinds = {type(each) for _, each in around}.union(*(each.plan.kinds for each in docket.registry.definitions()))
    async with AsyncExitStack() as stack:
        for kind in sorted(kinds, key=lambda each: each.__qualname__):
            if isinstance(kind, _HasLifecycle):
                lifecycle = kind.worker_lifecycle(docket, worker)
                if lifecycle is not None:
                    await stack.enter_async_context(lifecycle)
        yield
