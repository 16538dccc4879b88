"""A body that is awaited where the worker runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import inf

from anyio import current_effective_deadline, current_time, get_cancelled_exc_class
from anyio.lowlevel import checkpoint

from docket_anyio._executors.stopping import BodyStopped
from docket_anyio.exceptions import StrayCancellation


async def run_inline(
    function: Callable[..., Awaitable[object]], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> object:
    """Await the body.

    Raises:
        StrayCancellation: It left by a cancellation that no scope around it had asked for. AnyIO's task groups on
            asyncio would take that for a normal end (anyio#374).
    """
    try:
        return await function(*args, **kwargs)
    except get_cancelled_exc_class() as cancelled:
        if current_effective_deadline() == -inf:
            raise
        raise StrayCancellation("the body was cancelled from outside its scopes") from cancelled  # noqa: ASYNC104 - nobody's
    except BodyStopped as stopped:
        await _be_cancelled()  # noqa: ASYNC120 - the cancellation takes its place
        raise StrayCancellation("the body has stopped, and then there was no reason to any more") from stopped
    except BaseExceptionGroup as several:
        stopped_tasks, others = several.split(BodyStopped)
        if stopped_tasks is None:
            raise
        if others is not None:
            raise others from stopped_tasks
        await _be_cancelled()  # noqa: ASYNC120 - the same
        raise StrayCancellation("the body has stopped, and then there was no reason to any more") from several


async def _be_cancelled() -> None:  # noqa: ASYNC910 - it ends by a cancellation, or there was nothing to wait for
    """Let the scope that asked for it cancel this task: the cancellation of a deadline comes with a later turn."""
    while current_effective_deadline() <= current_time():  # noqa: ASYNC110 - it is to be cancelled, not to wait
        await checkpoint()
