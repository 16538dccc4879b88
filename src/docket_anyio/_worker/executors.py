"""Where the bodies of one worker run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps

from anyio import CancelScope
from attrs import define, field

from docket_anyio._executors.threads import Threads
from docket_anyio._injection.plan import Plan
from docket_anyio._worker.overdue import BodiesInThreads
from docket_anyio._worker.runs import RunScope


@define(eq=False)
class Executors:
    """Makes of every task something to be awaited: what is async runs in the event loop, other functions in threads.

    Args:
        in_threads: Told of the bodies that cannot be stopped from outside.
    """

    in_threads: BodiesInThreads
    _threads: Threads = field(factory=Threads, init=False)

    def awaitable(self, run: RunScope, plan: Plan, limits: Sequence[CancelScope]) -> Callable[..., Awaitable[object]]:
        """Return the function of a task as one to be awaited, for one run.

        Args:
            run: The run.
            plan: What is known of the task.
            limits: The scopes that bound its body.
        """
        if plan.is_async:
            return plan.function

        @wraps(plan.function)
        async def call(*args: object, **kwargs: object) -> object:
            with self.in_threads.holding(run, limits):
                return await self._threads.run(plan.function, args, kwargs)

        return call
