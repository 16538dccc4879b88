"""One delivery, from its start to its settlement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, assert_never

import anyio
from attrs import define, evolve

from docket_anyio._broker.answers import Answer, Ending
from docket_anyio._broker.broker import Broker
from docket_anyio._broker.slots import SAFEGUARD
from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.registry import TaskDefinition
from docket_anyio._client.supervisor import Supervisor
from docket_anyio._model.admission import NotAdmitted
from docket_anyio._model.codec import dump
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, DropReason, TaskMessage, Undecodable
from docket_anyio._model.outcome import Outcome
from docket_anyio._model.payloads import check_size
from docket_anyio._model.settlement import (
    Again,
    Continue,
    Finish,
    HandBack,
    LetGo,
    Settlement,
    decide,
    without_successor,
)
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._worker.admission import Admissions
from docket_anyio._worker.attempts import Attempts
from docket_anyio._worker.gate import Gate
from docket_anyio._worker.limits import RunLimits
from docket_anyio._worker.results import ResultWriter
from docket_anyio._worker.runs import ActiveRuns, RunScope
from docket_anyio.exceptions import (
    CorruptMessage,
    InvalidArguments,
    NotSerializable,
    PayloadTooLarge,
    TaskFailed,
    UnknownTask,
)

_REFUSED: Final = Finish(ExecutionState.CANCELLED)


@define(eq=False)
class Runner:
    """Runs deliveries. Each that was started is settled exactly once, whatever happens in between."""

    _docket: Docket
    _broker: Broker
    _worker: str
    _runs: ActiveRuns
    _attempts: Attempts
    _results: ResultWriter
    _admissions: Admissions
    _safeguard: TaskDefinition
    _fallback: TaskDefinition
    _limits: RunLimits
    _gate: Gate
    _supervisor: Supervisor
    _instruments: Instruments
    _end_program: Callable[[BaseException], None]

    async def run(self, run: RunScope) -> None:  # noqa: ASYNC910 - the start is a checkpoint
        """Start a delivery, run its body, and settle it."""
        delivery = run.delivery
        try:
            task = self._task(delivery)
            if (refusal := self._refusal(delivery.message, task)) is not None:
                await self._settle(delivery, _REFUSED)
                self._instruments.delivery_dropped(delivery, refusal)
                return
            if not await self._start(delivery):
                return
            self._limits.began(delivery.message.key)
            began = anyio.current_time()
            outcome, policies = await self._attempts.make(run, task)
            duration = timedelta(seconds=anyio.current_time() - began)
            # Before the settlement: a retry that is due at once is not to find the slot of its key taken.
            await self._admissions.release(run)
            if isinstance(outcome, NotAdmitted):
                self._limits.did_not_begin(delivery.message.key)
            settlement = decide(
                outcome,
                policies,
                number=delivery.message.attempt,
                now=self._broker.clock.now(),
                duration=duration,
                cancel_requested=run.cancel_requested,
            )
            if is_last := self._limits.reached(delivery.message.key):
                settlement = without_successor(settlement, outcome)
            answer = await self._settle(delivery, settlement)
            if is_last and answer is Answer.SUPERSEDED:
                await self._supervisor.until_done("stopping keys", lambda: self._drop_waiting(delivery.message.key))
            self._tell(delivery, outcome, settlement, duration, answer)
        except (SystemExit, KeyboardInterrupt) as error:
            # Not out of this task: asyncio would let it out of its loop from here, past everybody who has to clean up.
            self._end_program(error)
        finally:
            self._runs.remove(run)
            self._instruments.run_left(delivery)

    async def decline(self, run: RunScope) -> None:
        """Hand back a delivery that was claimed and shall not be started here."""
        try:
            await self._hand_back(run.delivery)
        finally:
            self._runs.remove(run)

    async def _hand_back(self, delivery: Delivery) -> None:
        await self._supervisor.until_done(
            "handing back", lambda: self._broker.queue.hand_back(delivery, self._worker, self._broker.clock.now())
        )
        self._instruments.delivery_dropped(delivery, DropReason.HANDED_BACK)

    async def discard(self, entry: Undecodable) -> None:
        """Take an entry that is no message off the stream."""
        await self._supervisor.until_done("discarding", lambda: self._broker.queue.discard(entry.receipt))
        self._instruments.entry_discarded(entry.receipt, entry.problem)

    def _task(self, delivery: Delivery) -> TaskDefinition:
        if delivery.message.task == SAFEGUARD:
            return self._safeguard
        try:
            return self._docket.registry.get(delivery.message.task)
        except UnknownTask:
            # As pydocket has it: a message that nobody here understands is not to come again and again.
            self._instruments.task_unknown(delivery)
            return self._fallback

    def _refusal(self, message: TaskMessage, task: TaskDefinition) -> DropReason | None:
        if self._limits.reached(message.key):
            return DropReason.ENOUGH
        if self._docket.strikes.known and self._is_stricken(message, task):
            return DropReason.STRICKEN
        return None

    def _is_stricken(self, message: TaskMessage, task: TaskDefinition) -> bool:
        try:
            return self._docket.strikes.known.is_stricken(Execution[Any].of(self._docket, task.function, message))
        except (CorruptMessage, InvalidArguments):
            return False  # the run will say what is wrong with them

    async def _start(self, delivery: Delivery) -> bool:
        queue, clock = self._broker.queue, self._broker.clock
        answer = await self._supervisor.until_done(
            "starting runs", lambda: queue.start(delivery, self._worker, clock.now())
        )
        if answer is Answer.STARTED:
            lateness = clock.now() - delivery.message.when
            self._instruments.run_started(delivery, lateness=max(lateness, timedelta(0)))
        elif answer is Answer.SUPERSEDED:
            self._instruments.run_superseded(delivery, "worker")
        elif answer is Answer.PAUSED:
            # The gate first, or it would be claimed again and again.
            await self._supervisor.until_done("looking for a pause", self._gate.look)
            await self._hand_back(delivery)
        else:
            self._instruments.delivery_dropped(delivery, DropReason[answer.name])
        return answer is Answer.STARTED

    async def _drop_waiting(self, key: str) -> None:
        # The body has scheduled its key anew. Where another worker runs that already, it is none of our business.
        record = await self._broker.records.read(key)
        if record is not None and record.state in {ExecutionState.SCHEDULED, ExecutionState.QUEUED}:
            await self._broker.queue.cancel(key, self._broker.clock.now())

    async def _settle(self, delivery: Delivery, settlement: Settlement) -> Answer | None:
        if isinstance(settlement, Finish):
            # Put before it is recorded, so that whoever hears of the end finds the result.
            ending = await self._results.put(
                delivery.message, _ending(settlement, delivery.message.task, at_most=self._docket.max_payload_bytes)
            )
            now = self._broker.clock.now
            return await self._supervisor.until_done(
                "settling runs", lambda: self._broker.queue.settle(delivery, ending, now())
            )
        return await self._supervisor.until_done("settling runs", lambda: self._apply(delivery, settlement))

    async def _apply(self, delivery: Delivery, settlement: Again | Continue | HandBack | LetGo) -> Answer | None:  # noqa: ASYNC910 - private; starting was a checkpoint
        queue, now, message = self._broker.queue, self._broker.clock.now(), delivery.message
        match settlement:
            case Again():
                successor = evolve(message, when=settlement.when, attempt=settlement.attempt)
                return await queue.again(delivery, successor, now, due=settlement.when <= now)
            case Continue():
                successor = _next_run(message, settlement)
                due = settlement.when <= now
                return await queue.again(delivery, successor, now, due=due, ended=settlement.ending)
            case HandBack():
                return await queue.hand_back(delivery, self._worker, now)
            case LetGo():
                return None  # noqa: ASYNC910 - private; starting was a checkpoint
            case _:
                assert_never(settlement)

    def _tell(
        self,
        delivery: Delivery,
        outcome: Outcome,
        settlement: Settlement,
        duration: timedelta,
        answer: Answer | None,
    ) -> None:
        if answer is Answer.SUPERSEDED:
            self._instruments.run_superseded(delivery, "retry" if isinstance(settlement, Again) else "on_complete")
            settlement = LetGo()
        elif answer is Answer.CANCELLED:
            settlement = _REFUSED  # it would have begun again, and was asked to stop meanwhile
        self._instruments.run_settled(delivery, outcome, settlement, duration=duration)


def _next_run(message: TaskMessage, settlement: Continue) -> TaskMessage:
    successor = evolve(message, when=settlement.when, attempt=1)
    if settlement.arguments is None:
        return successor
    args, kwargs = settlement.arguments
    return evolve(successor, args=args, kwargs=kwargs)


def _ending(finish: Finish, task: str, *, at_most: int) -> Ending:
    error = finish.error
    if error is None:
        return Ending(finish.state, reason=finish.reason, result=finish.result, quiet=finish.quiet)
    text, what = _text(error)[:at_most], f"the exception of task {task!r}"
    try:
        stored = dump(error, what)
        check_size(what, stored, at_most=at_most)
    except (NotSerializable, PayloadTooLarge):
        stored = dump(TaskFailed(text), "a TaskFailed")
    return Ending(finish.state, error=text, result=stored, quiet=finish.quiet)


def _text(error: Exception) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
        return text.encode(errors="backslashreplace").decode()  # the name of a file may be no Unicode
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        return type(error).__name__
