"""Where the bodies of one worker run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial, wraps
from math import inf

from attrs import define, field

from docket_anyio._client.current import current_execution
from docket_anyio._client.elsewhere import being
from docket_anyio._executors.calls import ProcessCall
from docket_anyio._executors.processes import ProcessPool
from docket_anyio._executors.stopping import StopSign
from docket_anyio._executors.threads import Threads
from docket_anyio._injection.plan import Plan
from docket_anyio._policies.base import RunPolicy
from docket_anyio._policies.worker_process import WorkerProcess
from docket_anyio._telemetry.otel import trace_headers, within_trace
from docket_anyio._worker.overdue import BodiesInThreads
from docket_anyio._worker.runs import RunScope
from docket_anyio._worker.sending import Sending


@define(eq=False)
class Executors:
    """Makes of every task something to be awaited.

    What asks for a ``WorkerProcess`` runs in one; else what is async in the event loop, other functions in threads.

    Args:
        in_threads: Told of the bodies that cannot be stopped from outside.
        processes: The processes.
    """

    in_threads: BodiesInThreads
    processes: ProcessPool
    _threads: Threads = field(factory=Threads, init=False)

    def awaitable(
        self, run: RunScope, plan: Plan, sign: StopSign, limits: Sequence[RunPolicy]
    ) -> Callable[..., Awaitable[object]]:
        """Return the function of a task as one to be awaited, for one run.

        Args:
            run: The run.
            plan: What is known of the task.
            sign: What its body goes by.
            limits: What bounds its body.
        """
        if isinstance(plan.executor, WorkerProcess):
            return self._in_process(run, plan, plan.executor, sign, limits)
        if plan.is_async:
            return plan.function

        @wraps(plan.function)
        async def call(*args: object, **kwargs: object) -> object:
            with self.in_threads.holding(run, [each.scope for each in limits]):
                return await self._threads.run(plan.function, args, kwargs)

        return call

    async def wait_none(self) -> None:  # noqa: ASYNC910 - whoever waits for it goes on to wait
        """Wait until no body runs in a thread or in a process: each ends when it ends, or is killed after its grace."""
        await self.in_threads.wait_none()
        await self.processes.wait_none()

    def _in_process(
        self, run: RunScope, plan: Plan, executor: WorkerProcess, sign: StopSign, limits: Sequence[RunPolicy]
    ) -> Callable[..., Awaitable[object]]:
        def begin() -> None:
            for each in limits:
                each.start()

        @wraps(plan.function)
        async def call(*args: object, **kwargs: object) -> object:
            sending, headers = Sending(), trace_headers()
            # Inside it knows whose run it is: who cancels its own key does not wait for itself.
            surroundings: list[Callable[[], AbstractContextManager[object]]] = [
                partial(being, sending.value(current_execution.get()))
            ]
            if headers:
                surroundings.append(partial(within_trace, headers))
            for each in limits:
                each.scope.deadline = inf  # it does not run while it waits for a process
            body = ProcessCall(
                plan.task,
                plan.function,
                args,
                {name: sending.value(value) for name, value in kwargs.items()},
                is_async=plan.is_async,
                sign=sign,
                grace=executor.grace,
                max_tasks=executor.max_tasks,
                max_memory=executor.max_memory,
                surroundings=surroundings,
                objects=sending.objects,
                began=begin,
            )
            run.on_stop = body.nudge.give
            try:
                return await self.processes.call(body)
            finally:
                run.on_stop = None

        return call
