"""Before a run begins its policies are asked whether it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, assert_never

from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.gates import DROP
from docket_anyio._broker.slots import Asked
from docket_anyio._client.supervisor import Supervisor
from docket_anyio._model.admission import (
    CooldownGate,
    DebounceGate,
    Deferred,
    Dropped,
    Gate,
    Parked,
    RateGate,
    SlotGate,
)
from docket_anyio._model.outcome import Cancelled, LeaseLost, Outcome
from docket_anyio._policies.base import AdmissionPolicy
from docket_anyio._worker.runs import RunScope
from docket_anyio._worker.slots import SlotKeeper
from docket_anyio.exceptions import RedisUnavailable

# What drops comes first, and slots last: what is then blocked has taken nothing from others, or little for a moment.
_ORDER: Final = (DebounceGate, CooldownGate, RateGate, SlotGate)


@define(eq=False)
class _Question:
    """One run before its gates, and how to take back what those behind it have granted."""

    run: RunScope
    asked_at: float
    asks_more: bool = False
    answer_lost: bool = False
    undo: list[Callable[[], Awaitable[None]]] = field(factory=list[Callable[[], Awaitable[None]]])
    begin: list[Callable[[], Awaitable[None]]] = field(factory=list[Callable[[], Awaitable[None]]])

    @property
    def key(self) -> str:
        return self.run.delivery.message.key

    @property
    def is_retry(self) -> bool:
        """Whether an attempt before has passed: it is no other run that comes."""
        return self.run.delivery.message.attempt > 1


@define(eq=False)
class Admissions:
    """Asks the gates of runs, in an order that does not depend on a signature, and up to the first that blocks.

    What the others have granted by then is taken back.
    """

    _broker: Broker
    _supervisor: Supervisor
    _slots: SlotKeeper

    async def admit(
        self, run: RunScope, policies: Sequence[AdmissionPolicy], task: str, arguments: Mapping[str, object]
    ) -> Outcome | None:
        """Ask whether a run may begin.

        Args:
            run: The run; its delivery was started.
            policies: Those of its task.
            task: The name of the task.
            arguments: What it is called with, by parameter, defaults included.

        Returns:
            ``None`` where it may, or what came of it instead.

        Raises:
            InvalidSetting: A policy goes by an argument that is not given, or that it cannot go by.
        """
        if run.reason is not None:
            return run.outcome()  # noqa: ASYNC910 - the start and the settlement are checkpoints
        gates = sorted((each.gate(task, arguments) for each in policies), key=lambda gate: _ORDER.index(type(gate)))
        question = _Question(run, self._broker.clock.timestamp())
        for index, gate in enumerate(gates):
            question.asks_more = index + 1 < len(gates)
            outcome = await self._until_done(self._asking(question, gate))
            if outcome is not None:
                for undo in question.undo:
                    await self._until_done(undo)
                for other in gates[index + 1 :]:
                    if isinstance(other, SlotGate):
                        await self._leave(run, other)
                return outcome
        for begin in question.begin:
            await self._until_done(begin)
        return None  # noqa: ASYNC910 - the start and the settlement are checkpoints

    async def release(self, run: RunScope) -> None:  # noqa: ASYNC910 - the start and the settlement are checkpoints
        """Give back what a run holds, once its body has ended."""
        slot = self._slots.slot_of(run)
        if slot is not None:
            await self._leave(run, slot.gate)

    def slots_key(self, run: RunScope) -> str | None:
        """Return the key in Redis of the slots of which a run holds one."""
        slot = self._slots.slot_of(run)
        return None if slot is None else self._broker.keys.slots(slot.gate.name, slot.gate.scope)

    def _asking(self, question: _Question, gate: Gate) -> Callable[[], Awaitable[Outcome | None]]:
        question.answer_lost = False

        async def ask() -> Outcome | None:
            try:
                return await self._ask(question, gate)
            except RedisUnavailable as error:
                question.answer_lost = question.answer_lost or error.maybe_executed
                raise

        return ask

    async def _ask(self, question: _Question, gate: Gate) -> Outcome | None:  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        match gate:
            case DebounceGate():
                return await self._debounce(question, gate)
            case CooldownGate():
                return await self._cool_down(question, gate)
            case RateGate():
                return await self._count(question, gate)
            case SlotGate():
                return await self._take_slot(question, gate)
            case _:
                assert_never(gate)

    async def _debounce(self, question: _Question, gate: DebounceGate) -> Outcome | None:
        if question.is_retry:
            return None  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        pause = await self._broker.gates.debounce(
            question.key, gate, asked_at=question.asked_at, keep=question.asks_more
        )
        if pause is None:
            if question.asks_more:
                question.begin.append(lambda: self._broker.gates.end_debounce(gate))
            return None
        reason = f"debounced for {gate.settle} on {gate.name}"
        return Dropped(reason) if pause == DROP else self._deferred(pause, reason)

    async def _cool_down(self, question: _Question, gate: CooldownGate) -> Outcome | None:
        if question.is_retry:
            return None  # noqa: ASYNC910 - private; the start and the settlement are checkpoints
        may_begin = await self._broker.gates.begin_cooldown(gate)
        if may_begin:
            question.undo.append(lambda: self._broker.gates.end_cooldown(gate))
        # It may be of this very run, whose first worker has died, or to which the answer was lost. Rather one run more
        # than none.
        if may_begin or question.answer_lost or question.run.delivery.redelivered:
            return None
        return Dropped(f"cooldown of {gate.window} on {gate.name}")

    async def _count(self, question: _Question, gate: RateGate) -> Outcome | None:
        pause = await self._broker.gates.count(
            question.key, gate, asked_at=question.asked_at, again=question.answer_lost
        )
        if pause is None:
            question.undo.append(lambda: self._broker.gates.uncount(question.key, gate, asked_at=question.asked_at))
            return None
        reason = f"rate limit of {gate.limit} per {gate.per} on {gate.name}"
        return Dropped(reason) if gate.drop else self._deferred(pause, reason)

    async def _take_slot(self, question: _Question, gate: SlotGate) -> Outcome | None:
        asked_at = question.asked_at if question.answer_lost else None
        match await self._slots.take(question.run, gate, asked_at=asked_at):
            case Asked.ADMITTED:
                return None
            case Asked.PARKED:
                return Parked(f"waits for one of {gate.limit} slots on {gate.name}")
            case Asked.SUPERSEDED | Asked.CANCELLED:
                return Cancelled()
            case Asked.GONE:
                return LeaseLost()

    def _deferred(self, pause: timedelta, reason: str) -> Deferred:
        return Deferred(self._broker.clock.now() + pause, reason)

    async def _leave(self, run: RunScope, gate: SlotGate) -> None:
        await self._supervisor.until_done("giving back slots", lambda: self._slots.leave(run, gate))

    async def _until_done(self, call: Callable[[], Awaitable[Outcome | None]]) -> Outcome | None:
        return await self._supervisor.until_done("asking for admission", call)
