"""From calls to scheduled tasks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from anyio.lowlevel import checkpoint
from attrs import define, evolve, field

from docket_anyio._broker.answers import Answer, Refusal
from docket_anyio._broker.broker import Broker
from docket_anyio._client.calls import Preparation, TaskCall
from docket_anyio._client.disposition import Disposition
from docket_anyio._client.execution import Execution
from docket_anyio._client.request import Home
from docket_anyio._client.strikes import StrikeBook
from docket_anyio._model.expiry import expiry
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, TaskMessage
from docket_anyio._model.settings import check_at_least
from docket_anyio._telemetry.otel import Span, trace_headers
from docket_anyio._telemetry.requests import RequestTelemetry
from docket_anyio.exceptions import NotHonoured, RedisRefused

P = ParamSpec("P")
R = TypeVar("R")

_Prepared: TypeAlias = tuple[Execution[Any], TaskMessage, bool]
"""An execution, its message, and whether it is due."""


@define(eq=False)
class Scheduler:
    """Puts calls on a docket, unless they are struck."""

    docket: Home
    broker: Broker
    strikes: StrikeBook
    _telemetry: RequestTelemetry

    async def add(self, call: TaskCall[R], *, replace: bool) -> Execution[R]:
        """Schedule one call.

        Raises:
            InvalidSetting: It would expire before it is due.
            NotHonoured: It is to expire or has a priority, and a pydocket worker is on the docket.
            NotSerializable: The arguments cannot be pickled.
            PayloadTooLarge: The arguments are larger than ``max_payload_bytes``.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        execution = self._execution(call)
        with self._span("docket.replace" if replace else "docket.add", execution) as span:
            await self._schedule(execution, replace=replace, expected_generation=0)
            span.set_attribute("docket.disposition", execution.disposition.value)
        self._count(execution, replace=replace)
        return execution

    async def schedule(self, execution: Execution[Any], *, replace: bool, expected_generation: int = 0) -> None:
        """Schedule what an execution says; its disposition tells what came of it.

        Args:
            execution: What is scheduled.
            replace: In the place of whatever is under its key.
            expected_generation: Only if the key has not come to a newer one; 0 for any.

        Raises:
            InvalidTime: ``expires`` has no time zone.
            InvalidSetting: It would expire before it is due.
            NotHonoured: It is to expire or has a priority, and a pydocket worker is on the docket.
            NotSerializable: The arguments cannot be pickled.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        expiry(execution.expires, execution.when, self.broker.clock.now())
        with self._span("docket.schedule", execution):
            await self._schedule(execution, replace=replace, expected_generation=expected_generation)
        self._count(execution, replace=replace, added=False)

    async def _schedule(self, execution: Execution[Any], *, replace: bool, expected_generation: int) -> None:
        message, due = self._message(execution)  # in the span, which the message is to tell of
        while await self._spared([(execution, message, due)]):
            answer = await self.broker.queue.schedule(
                message,
                due=due,
                replace=replace,
                last_strike=self.strikes.last,
                expected_generation=expected_generation,
                heard_since=self._heard_since(),
            )
            if answer is not Refusal.STALE:
                return _take(execution, answer, due=due)
            await self.strikes.catch_up()
        await checkpoint()
        return None

    async def reschedule(self, execution: Execution[Any], receipt: bytes, *, expected_generation: int = 0) -> None:
        """Schedule an execution in the place of a delivery of it.

        Args:
            execution: What is scheduled.
            receipt: The delivery, which is settled by this.
            expected_generation: Only if the key has not come to a newer one; 0 for any.

        Raises:
            NotSerializable: The arguments cannot be pickled.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        message, due = self._message(execution)
        delivery = Delivery(receipt, evolve(message, generation=expected_generation))
        answer = await self.broker.queue.again(delivery, message, self.broker.clock.now(), due=due)
        if answer is Answer.AGAIN:
            _take(execution, execution.generation, due=due)
        else:
            execution.disposition = Disposition.SUPERSEDED

    async def add_many(
        self, calls: Sequence[TaskCall[Any]], *, chunk_size: int | None, replace: bool
    ) -> list[Execution[Any]]:
        """Schedule many calls, in order, one round trip for each chunk.

        Raises:
            InvalidSetting: ``chunk_size`` is below 1, or one would expire before it is due; none is scheduled.
            NotSerializable: The arguments of one cannot be pickled; none is scheduled.
            PayloadTooLarge: The arguments of one are larger than ``max_payload_bytes``; none is scheduled.
            RedisUnavailable: Redis cannot be reached; chunks before may have been scheduled.
        """
        size = len(calls) or 1 if chunk_size is None else check_at_least("chunk_size", chunk_size, 1)
        name = "docket.replace_many" if replace else "docket.add_many"
        with self._telemetry.span(name, {"docket.batch.count": len(calls)}) as span:
            executions = [self._execution(call) for call in calls]
            prepared = [(each, *self._message(each)) for each in executions]
            for first in range(0, len(prepared), size):
                await self._schedule_chunk(prepared[first : first + size], replace=replace)
            await checkpoint()
            stricken = [each for each in executions if each.disposition is Disposition.STRUCK]
            span.set_attribute("docket.batch.stricken", len(stricken))
        return executions

    async def _schedule_chunk(self, chunk: Sequence[_Prepared], *, replace: bool) -> None:
        left = chunk
        while left := await self._schedule_unless_stale(left, replace=replace):
            await self.strikes.catch_up()
        for execution, _, _ in chunk:
            self._count(execution, replace=replace)

    async def _schedule_unless_stale(self, chunk: Sequence[_Prepared], *, replace: bool) -> Sequence[_Prepared]:
        """Schedule what is not struck. Return what was not, for there are strikes that are not known of yet."""
        tried = await self._spared(chunk)
        if not tried:
            return []
        messages = [(message, due) for _, message, due in tried]
        answers = await self.broker.queue.schedule_many(
            messages, replace=replace, last_strike=self.strikes.last, heard_since=self._heard_since()
        )
        stale: list[_Prepared] = []
        for each, answer in zip(tried, answers, strict=True):
            if answer is Refusal.STALE:
                stale.append(each)
            else:
                _take(each[0], answer, due=each[2])
        return stale

    def _heard_since(self) -> datetime:
        return self.broker.clock.now() - self.docket.patience_with_workers

    def _message(self, execution: Execution[Any]) -> tuple[TaskMessage, bool]:
        return execution.message(trace_headers()), execution.when <= self.broker.clock.now()

    async def _spared(self, prepared: Sequence[_Prepared]) -> list[_Prepared]:
        """Return what is not struck, and tell the others so."""
        struck = [self._is_struck(execution) for execution, _, _ in prepared]
        if any(struck):
            # Redis tells of new strikes when something is scheduled. What seems struck is not: it may be restored.
            await self.strikes.catch_up()
            struck = [self._is_struck(execution) for execution, _, _ in prepared]
        spared: list[_Prepared] = []
        for each, is_struck in zip(prepared, struck, strict=True):
            if is_struck:
                each[0].disposition = Disposition.STRUCK
            else:
                spared.append(each)
        return spared  # noqa: ASYNC910 - private; the callers go on to wait

    def _span(self, name: str, execution: Execution[Any]) -> AbstractContextManager[Span]:
        return self._telemetry.span_of_call(name, execution.function_name, execution.specific_labels())

    def _count(self, execution: Execution[Any], *, replace: bool, added: bool = True) -> None:
        task = execution.function_name
        match execution.disposition:
            case Disposition.STRUCK:
                self._telemetry.stricken(task, execution.key)
            case Disposition.SCHEDULED if replace:
                self._telemetry.replaced(task)
            case Disposition.SCHEDULED | Disposition.ALREADY_SCHEDULED if added:
                self._telemetry.added(task, scheduled=execution.disposition is Disposition.SCHEDULED)
            case _:
                pass

    def _is_struck(self, execution: Execution[Any]) -> bool:
        known = self.strikes.known
        return bool(known) and known.is_stricken(execution)

    def _execution(self, call: TaskCall[R]) -> Execution[R]:
        now = self.broker.clock.now()
        when = now if call.when is None else call.when
        return Execution(
            self.docket,
            call.task.function,
            call.args,
            dict(call.kwargs),
            call.key,
            when,
            function_name=call.task.name,
            expires=expiry(call.expires, when, now),
            priority=call.priority,
        )


def _take(execution: Execution[Any], answer: int | Refusal | RedisRefused | NotHonoured, *, due: bool) -> None:
    match answer:
        case int():
            execution.disposition, execution.generation = Disposition.SCHEDULED, answer
            execution.state = ExecutionState.QUEUED if due else ExecutionState.SCHEDULED
        case RedisRefused() | NotHonoured():
            execution.disposition, execution.schedule_exception = Disposition.FAILED, answer
        case Refusal.SUPERSEDED:
            execution.disposition = Disposition.SUPERSEDED
        case Refusal():
            execution.disposition = Disposition.ALREADY_SCHEDULED


@define(eq=False)
class Submission(Generic[P, R]):
    """What ``docket.add(f)`` returns: call it with the arguments of ``f``."""

    _scheduler: Scheduler = field(alias="scheduler")
    _preparation: Preparation[P, R] = field(alias="preparation")
    _replace: bool = field(alias="replace")

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Execution[R]:
        """Add the task. A key that is taken is left as it is, so a call that was cancelled can be repeated.

        Returns:
            A handle on the task; its ``disposition`` tells whether it was added.

        Raises:
            InvalidArguments: The arguments do not fit the signature.
            InvalidSetting: It would expire before it is due.
            NotHonoured: It is to expire or has a priority, and a pydocket worker is on the docket.
            NotSerializable: They cannot be pickled.
            PayloadTooLarge: They are larger than the docket's ``max_payload_bytes``.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        return await self._scheduler.add(self._preparation(*args, **kwargs), replace=self._replace)
