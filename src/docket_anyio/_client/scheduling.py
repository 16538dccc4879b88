"""From calls to scheduled tasks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Generic, ParamSpec, TypeVar

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
from docket_anyio._telemetry.propagation import trace_headers
from docket_anyio.exceptions import RedisRefused

P = ParamSpec("P")
R = TypeVar("R")

_LOGGER: Final = logging.getLogger("docket_anyio.docket")


@define(eq=False)
class Scheduler:
    """Puts calls on a docket, unless they are struck."""

    broker: Broker
    strikes: StrikeBook
    max_payload_bytes: int

    async def schedule(self, call: TaskCall[R], *, replace: bool) -> Execution[R]:
        """Schedule one call.

        Raises:
            NotSerializable: The arguments cannot be pickled.
            PayloadTooLarge: The arguments are larger than ``max_payload_bytes``.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        message, due = self._message(call)
        if self._is_struck(call):
            # Redis tells of new strikes when something is scheduled. What seems struck is not: it may be restored.
            await self.strikes.catch_up()
        while not self._is_struck(call):
            answer = await self.broker.queue.schedule(message, due=due, replace=replace, last_strike=self.strikes.last)
            if answer is not Refusal.STALE:
                return self._execution(call, message.when, answer)
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
            PayloadTooLarge: The arguments of one are larger than ``max_payload_bytes``; none is scheduled.
            RedisUnavailable: Redis cannot be reached; chunks before may have been scheduled.
        """
        size = len(calls) or 1 if chunk_size is None else check_at_least("chunk_size", chunk_size, 1)
        prepared = [(call, *self._message(call)) for call in calls]
        executions: list[Execution[Any]] = []
        for first in range(0, len(prepared), size):
            executions += await self._schedule_chunk(prepared[first : first + size], replace=replace)
        await checkpoint()
        return executions

    async def _schedule_chunk(
        self, chunk: Sequence[tuple[TaskCall[Any], TaskMessage, bool]], *, replace: bool
    ) -> list[Execution[Any]]:
        done: dict[int, Execution[Any]] = {}
        up_to_date = False
        while left := [index for index in range(len(chunk)) if index not in done]:
            struck = {index for index in left if self._is_struck(chunk[index][0])}
            if struck and not up_to_date:
                # As for a single one: what seems struck may be restored.
                await self.strikes.catch_up()
                up_to_date = True
                continue
            done |= {index: self._struck(chunk[index][0], chunk[index][1].when) for index in struck}
            if not (free := [index for index in left if index not in struck]):
                break
            answers = await self.broker.queue.schedule_many(
                [chunk[index][1:] for index in free], replace=replace, last_strike=self.strikes.last
            )
            for index, answer in zip(free, answers, strict=True):
                if answer is not Refusal.STALE:
                    done[index] = self._execution(chunk[index][0], chunk[index][1].when, answer)
            if Refusal.STALE in answers:
                await self.strikes.catch_up()
                up_to_date = True
        return [done[index] for index in range(len(chunk))]  # noqa: ASYNC910 - private; the caller adds one

    def _message(self, call: TaskCall[Any]) -> tuple[TaskMessage, bool]:
        args, kwargs = dump_arguments(call.args, call.kwargs, call.task.name, at_most=self.max_payload_bytes)
        now = self.broker.clock.now()
        when = now if call.when is None else call.when
        return TaskMessage(call.key, call.task.name, when, args, kwargs, headers=trace_headers()), when <= now

    def _is_struck(self, call: TaskCall[Any]) -> bool:
        strikes = self.strikes.strikes
        return bool(strikes) and strikes.matches(call.task.name, call.task.plan.arguments(call.args, call.kwargs))

    def _struck(self, call: TaskCall[R], when: datetime) -> Execution[R]:
        _LOGGER.warning("%r is stricken: %r was not added to the docket", call.task.name, call.key)
        return self._make(call, when, Disposition.STRUCK)

    def _execution(self, call: TaskCall[R], when: datetime, answer: int | Refusal | RedisRefused) -> Execution[R]:
        match answer:
            case int():
                return self._make(call, when, Disposition.SCHEDULED, generation=answer)
            case RedisRefused():
                execution = self._make(call, when, Disposition.FAILED)
                execution.schedule_exception = answer
                return execution
            case Refusal():
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
            PayloadTooLarge: They are larger than the docket's ``max_payload_bytes``.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        return await self._scheduler.schedule(self._preparation(*args, **kwargs), replace=self._replace)
