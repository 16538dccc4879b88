"""One attempt: the body of a task in its scopes, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import define, field

from docket_anyio._client.arguments import Given
from docket_anyio._client.current import current_execution
from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._client.registry import TaskDefinition
from docket_anyio._injection.plan import Placed, Plan
from docket_anyio._model.codec import load_arguments
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Failed, Outcome
from docket_anyio._model.settlement import SettlementPolicy, retries
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._worker.body import Body
from docket_anyio._worker.runs import RunScope


@define(eq=False)
class Attempts:
    """Runs bodies, each with values of its own for what its signature asks for.

    Args:
        docket: Where the tasks come from.
        around: What the worker opens around every task, and where it was given.
        instruments: Told of what handlers raise.
    """

    _docket: Docket
    _around: Sequence[Placed]
    _instruments: Instruments
    _plans: dict[TaskDefinition, Plan] = field(factory=dict[TaskDefinition, Plan], init=False)

    async def make(self, run: RunScope, task: TaskDefinition) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        """Run the body of a task.

        Returns:
            How it ended, and what its signature says about what happens then.
        """
        message = run.delivery.message
        try:
            args, kwargs = load_arguments(message.args, message.kwargs, task.name)
            execution = self._execution(run.delivery, task, args, kwargs)
            current_execution.set(execution)
            plan = self._plan(task)
            call = plan.call(args, kwargs, key=message.key, attempt=message.attempt)
        except Exception as error:  # noqa: BLE001 - whatever unpickling raises
            return Failed(error), ()  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        policies = [each for each in call.policies if isinstance(each, SettlementPolicy)]
        report = partial(self._instruments.hook_failed, run.delivery)
        try:
            with run.scope:
                outcome, decided = await Body(run, execution, plan, call, report).run(
                    lambda ended: retries(
                        ended,
                        policies,
                        number=message.attempt,
                        now=self._docket.broker.clock.now(),
                        cancel_requested=run.cancel_requested,
                    )
                )
                return outcome, [*decided, *policies]
        except Exception as error:  # noqa: BLE001 - what was in a group with the cancellation
            return Failed(error), policies  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        return run.outcome(), policies

    def _plan(self, task: TaskDefinition) -> Plan:
        if not self._around:
            return task.plan
        known = self._plans.get(task)
        if known is None:
            known = self._plans[task] = task.plan.within(self._around)
        return known

    def _execution(
        self, delivery: Delivery, task: TaskDefinition, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Execution[Any]:
        message = delivery.message
        return Execution(
            broker=self._docket.broker,
            key=message.key,
            function_name=message.task,
            function=task.function,
            arguments=Given(args, kwargs),
            when=message.when,
            attempt=message.attempt,
            generation=message.generation,
            redelivered=delivery.redelivered,
            state=ExecutionState.RUNNING,
            progress=ExecutionProgress(self._docket.broker, message.key, message.generation),
        )
