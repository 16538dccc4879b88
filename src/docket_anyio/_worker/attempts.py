"""One attempt: the body of a task in its scopes, and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define

from docket_anyio._client.arguments import Given
from docket_anyio._client.current import current_docket, current_execution
from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._client.registry import TaskDefinition
from docket_anyio._executors.inline import run_inline
from docket_anyio._model.codec import dump, load_arguments
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import Failed, Outcome, Succeeded
from docket_anyio._model.settlement import SettlementPolicy
from docket_anyio._policies.base import AdmissionPolicy, RunPolicy
from docket_anyio._policies.concurrency import ConcurrencyLimit
from docket_anyio._worker.admission import Admissions
from docket_anyio._worker.runs import RunScope


@define(eq=False)
class Attempts:
    """Runs bodies, each with values of its own for what its signature asks for."""

    _docket: Docket
    _admissions: Admissions

    async def make(self, run: RunScope, task: TaskDefinition) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        """Run the body of a task, if its signature admits it.

        Returns:
            How it ended, or why it was not run, and what its signature says about what happens then.
        """
        message = run.delivery.message
        policies: list[SettlementPolicy] = []
        try:
            args, kwargs = load_arguments(message.args, message.kwargs, task.name)
            current_docket.set(self._docket)
            current_execution.set(self._execution(run, task, args, kwargs))
            if (blocked := await self._ask(run, task, args, kwargs)) is not None:
                return blocked, policies
            values = task.plan.values_for_run(args, kwargs, key=message.key, attempt=message.attempt)
            slots_key = self._admissions.slots_key(run)
            if slots_key is not None:
                values |= {k: v.opened(slots_key) for k, v in values.items() if isinstance(v, ConcurrencyLimit)}
            policies += [each for each in values.values() if isinstance(each, SettlementPolicy)]
            limits = [each for each in values.values() if isinstance(each, RunPolicy)]
            return await _within([run, *limits], lambda: _body(run, task, args, {**kwargs, **values})), policies
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            return Failed(error), policies  # noqa: ASYNC910 - private; the start and the settlement are checkpoints

    async def _ask(
        self, run: RunScope, task: TaskDefinition, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Outcome | None:
        arguments = task.plan.arguments(args, kwargs)
        # A marker that the caller has replaced by an argument limits nothing.
        policies = [
            each
            for name, each in task.plan.markers.items()
            if isinstance(each, AdmissionPolicy) and arguments.get(name) is each
        ]
        return await self._admissions.admit(run, policies, run.delivery.message.task, {**kwargs, **arguments})

    def _execution(
        self, run: RunScope, task: TaskDefinition, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Execution[Any]:
        message = run.delivery.message
        return Execution(
            broker=self._docket.broker,
            key=message.key,
            function_name=message.task,
            function=task.function,
            arguments=Given(args, kwargs),
            when=message.when,
            attempt=message.attempt,
            generation=message.generation,
            redelivered=run.delivery.redelivered,
            state=ExecutionState.RUNNING,
            progress=ExecutionProgress(self._docket.broker, message.key, message.generation),
        )


async def _body(run: RunScope, task: TaskDefinition, args: tuple[object, ...], kwargs: dict[str, object]) -> Outcome:
    if run.reason is not None:
        # Told to stop before it began: it must not even run to its first checkpoint.
        return run.outcome()  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
    value = await run_inline(task.function, args, kwargs)
    return Succeeded(None if value is None else dump(value, f"the result of task {task.name!r}"))


async def _within(limits: Sequence[RunPolicy], body: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Run the body in the scopes of all limits, the first outermost: the one that catches it says how it ended."""
    if not limits:
        return await body()
    outermost, *inner = limits
    with outermost.scope:
        return await _within(inner, body)
    return outermost.outcome()
