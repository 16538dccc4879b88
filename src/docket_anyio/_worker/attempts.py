"""One attempt: the body of a task in its scopes, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, field

from docket_anyio._client.current import current_execution
from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._client.registry import TaskDefinition
from docket_anyio._injection.plan import Call, Placed, Plan
from docket_anyio._model.codec import load_arguments
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Failed, Outcome
from docket_anyio._model.payloads import max_payload_bytes
from docket_anyio._model.settlement import SettlementPolicy, retries
from docket_anyio._policies.base import AdmissionPolicy
from docket_anyio._policies.concurrency import ConcurrencyLimit
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._telemetry.otel import trace_context
from docket_anyio._worker.admission import Admissions
from docket_anyio._worker.body import Body
from docket_anyio._worker.executors import Executors
from docket_anyio._worker.runs import RunScope


@define(eq=False)
class Attempts:
    """Runs bodies, each with values of its own for what its signature asks for.

    Args:
        docket: Where the tasks come from.
        admissions: Asked whether a run may begin.
        around: What the worker opens around every task, and where it was given.
        instruments: Told of what handlers raise.
        executors: Where bodies run.
    """

    _docket: Docket
    _admissions: Admissions
    _around: Sequence[Placed]
    _instruments: Instruments
    _executors: Executors
    _plans: dict[TaskDefinition, Plan] = field(factory=dict[TaskDefinition, Plan], init=False)

    async def make(self, run: RunScope, task: TaskDefinition) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        """Run the body of a task, if its signature admits it.

        Returns:
            How it ended, or why it was not run, and what its signature says about what happens then.
        """
        message = run.delivery.message
        try:
            args, kwargs = load_arguments(message.args, message.kwargs, task.name)
            max_payload_bytes.set(self._docket.max_payload_bytes)
            execution = self._execution(run.delivery, task, args, kwargs)
            current_execution.set(execution)
            plan = self._plan(task)
            call = plan.call(args, kwargs, key=message.key, attempt=message.attempt)
            if (blocked := await self._ask(run, plan, call)) is not None:
                return blocked, ()
        except Exception as error:  # noqa: BLE001 - whatever unpickling raises
            return Failed(error), ()  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        policies = [each for each in call.policies if isinstance(each, SettlementPolicy)]
        now, report = self._docket.broker.clock.now, partial(self._instruments.hook_failed, run.delivery)
        body = Body(run, execution, plan, self._admitted(run, call), now, report, self._executors)
        try:
            with run.scope:
                outcome, decided = await body.run(
                    lambda ended: retries(
                        ended, policies, number=message.attempt, now=now(), cancel_requested=run.cancel_requested
                    )
                )
                return outcome, [*decided, *policies]
        except Exception as error:  # noqa: BLE001 - what was in a group with the cancellation
            return Failed(error), policies  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        return run.outcome(), policies

    async def _ask(self, run: RunScope, plan: Plan, call: Call) -> Outcome | None:
        policies = [each for each in call.policies if isinstance(each, AdmissionPolicy)]
        if not policies:
            return None  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        arguments = {**call.kwargs, **plan.arguments(call.args, call.kwargs)}
        return await self._admissions.admit(run, policies, run.delivery.message.task, arguments)

    def _admitted(self, run: RunScope, call: Call) -> Call:
        slots_key = self._admissions.slots_key(run)
        if slots_key is None:
            return call
        values = {
            name: each.opened(slots_key) if isinstance(each, ConcurrencyLimit) else each
            for name, each in call.values.items()
        }
        return evolve(call, values=values)

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
            self._docket,
            task.function,
            args,
            kwargs,
            message.key,
            message.when,
            message.attempt,
            trace_context(message.headers),
            delivery.redelivered,
            message.task,
            message.generation,
            delivery.receipt,
            state=ExecutionState.RUNNING,
            priority=message.priority,
            progress=ExecutionProgress(self._docket, message.key, message.generation),
        )
