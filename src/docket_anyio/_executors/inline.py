"""A body that is awaited where the worker runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import inf

from anyio import current_effective_deadline, get_cancelled_exc_class

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
