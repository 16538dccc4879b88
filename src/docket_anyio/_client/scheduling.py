"""From calls to scheduled tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeVar

from anyio.lowlevel import checkpoint
from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.queue import Refusal
from docket_anyio._client.arguments import Given
from docket_anyio._client.calls import Preparation, TaskCall
from docket_anyio._client.execution import Disposition, Execution
from docket_anyio._client.strikes import StrikeBook
from docket_anyio._model.codec import dump_arguments
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.settings import check_at_least
from docket_anyio._telemetry.otel import trace_headers
from docket_anyio._telemetry.requests import RequestTelemetry
from docket_anyio.exceptions import RedisRefused

P = ParamSpec("P")
R = TypeVar("R")


@define(eq=False)
class Scheduler:
    """Puts calls on a docket, unless they are struck."""

    broker: Broker
    strikes: StrikeBook
    _telemetry: RequestTelemetry

    async def schedule(self, call: TaskCall[R], *, replace: bool) -> Execution[R]:
        """Schedule one call.

        Raises:
            NotSerializable: The arguments cannot be pickled.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        now = self.broker.clock.now()
        when = now if call.when is None else call.when
        name = "docket.replace" if replace else "docket.add"
        with self._telemetry.span_of_call(name, task=call.task.name, key=call.key, when=when) as span:
            # In the span, which the message is to tell of.
            execution = await self._schedule(call, _message(call, when), due=when <= now, replace=replace)
            span.set_attribute("docket.disposition", execution.disposition.value)
        return execution

    async def _schedule(self, call: TaskCall[R], message: TaskMessage, *, due: bool, replace: bool) -> Execution[R]:
        await self._check_strikes([call])
        while not self._is_struck(call):
            answer = await self.broker.queue.schedule(message, due=due, replace=replace, last_strike=self.strikes.last)
            if answer is not Refusal.STALE:
                return self._execution(call, message.when, answer, replace=replace)
            await self.strikes.catch_up()
        await checkpoint()
        return self._struck(call, message.when)

    async def schedule_many(
        self, calls: Sequence[TaskCall[Any]], *, chunk_size: int | None, replace: bool
    ) -> list[Execution[Any]]:
        """Schedule many calls, in order, one round trip for each chunk.

        Raises:
            InvalidSetting: ``chunk_size`` is below 1.
            NotSerializable: The arguments of one cannot be pickled; none is scheduled.
            RedisUnavailable: Redis cannot be reached; chunks before may have been scheduled.
        """
        size = len(calls) or 1 if chunk_size is None else check_at_least("chunk_size", chunk_size, 1)
        executions: list[Execution[Any]] = []
        name = "docket.replace_many" if replace else "docket.add_many"
        with self._telemetry.span(name, {"docket.batch.count": len(calls)}) as span:
            now = self.broker.clock.now()
            messages = [_message(call, now if call.when is None else call.when) for call in calls]
            prepared = [(call, each, each.when <= now) for call, each in zip(calls, messages, strict=True)]
            for first in range(0, len(prepared), size):
                executions += await self._schedule_chunk(prepared[first : first + size], replace=replace)
            stricken = [each for each in executions if each.disposition is Disposition.STRUCK]
            span.set_attribute("docket.batch.stricken", len(stricken))
            await checkpoint()
        return executions

    async def _schedule_chunk(
        self, chunk: Sequence[tuple[TaskCall[Any], TaskMessage, bool]], *, replace: bool
    ) -> list[Execution[Any]]:
        await self._check_strikes([call for call, _, _ in chunk])
        done: dict[int, Execution[Any]] = {}
        while len(done) < len(chunk):
            left = [index for index in range(len(chunk)) if index not in done]
            for index in left:
                call, message, _ = chunk[index]
                if self._is_struck(call):
                    done[index] = self._struck(call, message.when)
            left = [index for index in left if index not in done]
            if not left:
                break
            answers = await self.broker.queue.schedule_many(
                [chunk[index][1:] for index in left], replace=replace, last_strike=self.strikes.last
            )
            for index, answer in zip(left, answers, strict=True):
                if answer is not Refusal.STALE:
                    done[index] = self._execution(chunk[index][0], chunk[index][1].when, answer, replace=replace)
            if Refusal.STALE in answers:
                await self.strikes.catch_up()
        return [done[index] for index in range(len(chunk))]  # noqa: ASYNC910 - private; the caller adds one

    async def _check_strikes(self, calls: Sequence[TaskCall[Any]]) -> None:  # noqa: ASYNC910 - private; the callers go on to wait
        # Redis tells of new strikes when something is scheduled. What seems struck is not, so ask: it may be restored.
        if any(self._is_struck(call) for call in calls):
            await self.strikes.catch_up()

    def _is_struck(self, call: TaskCall[Any]) -> bool:
        strikes = self.strikes.strikes
        return bool(strikes) and strikes.matches(call.task.name, call.task.plan.arguments(call.args, call.kwargs))

    def _struck(self, call: TaskCall[R], when: datetime) -> Execution[R]:
        self._telemetry.stricken(call.task.name, call.key)
        return self._make(call, when, Disposition.STRUCK)

    def _execution(
        self, call: TaskCall[R], when: datetime, answer: int | Refusal | RedisRefused, *, replace: bool
    ) -> Execution[R]:
        match answer:
            case int():
                if replace:
                    self._telemetry.replaced(call.task.name)
                else:
                    self._telemetry.added(call.task.name, scheduled=True)
                return self._make(call, when, Disposition.SCHEDULED, generation=answer)
            case RedisRefused():
                execution = self._make(call, when, Disposition.FAILED)
                execution.schedule_exception = answer
                return execution
            case Refusal():
                self._telemetry.added(call.task.name, scheduled=False)
                return self._make(call, when, Disposition.ALREADY_SCHEDULED)

    def _make(
        self, call: TaskCall[R], when: datetime, disposition: Disposition, *, generation: int = 0
    ) -> Execution[R]:
        return Execution(
            broker=self.broker,
            key=call.key,
            function_name=call.task.name,
            function=call.task.function,
            arguments=Given(call.args, dict(call.kwargs)),
            when=when,
            generation=generation,
            disposition=disposition,
        )


def _message(call: TaskCall[Any], when: datetime) -> TaskMessage:
    args, kwargs = dump_arguments(call.args, call.kwargs, call.task.name)
    return TaskMessage(call.key, call.task.name, when, args, kwargs, headers=trace_headers())


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
            NotSerializable: They cannot be pickled.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        return await self._scheduler.schedule(self._preparation(*args, **kwargs), replace=self._replace)
