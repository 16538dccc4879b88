"""What classes of dependencies open for as long as a worker runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from anyio import CancelScope, current_time

from docket_anyio._client.docket import Docket
from docket_anyio._injection.plan import Placed
from docket_anyio._injection.shared import CLOSING
from docket_anyio.exceptions import CleanupTimeout


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

    Raises:
        CleanupTimeout: They were not closed in time.
    """
    kinds = {type(each) for _, each in around}.union(*(each.plan.kinds for each in docket.registry.definitions()))
    left_by: BaseException | None = None
    with CancelScope() as patience:
        async with AsyncExitStack() as stack:
            for kind in sorted(kinds, key=lambda each: each.__qualname__):
                if isinstance(kind, _HasLifecycle):
                    lifecycle = kind.worker_lifecycle(docket, worker)
                    if lifecycle is not None:
                        await stack.enter_async_context(lifecycle)
            try:
                yield
            except BaseException as error:
                left_by = error
                raise
            finally:
                # A worker that was told to stop must not stay for one of these.
                patience.deadline = current_time() + CLOSING
    if patience.cancelled_caught:
        raise CleanupTimeout(f"what lasts as long as the worker was not closed within {CLOSING:g} s") from left_by
