"""The slots that the runs of this worker hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import anyio
from anyio import Event
from attrs import define, evolve, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.slots import Asked, Slot, Slots
from docket_anyio._client.current import current_execution
from docket_anyio._model.admission import SlotGate
from docket_anyio._model.outcome import CancelReason
from docket_anyio._policies.perpetual import Perpetual
from docket_anyio._worker.runs import ActiveRuns, RunScope
from docket_anyio._worker.settings import WorkerSettings

_RENEWED_AT_ONCE: Final = 500


@define(eq=False)
class SlotKeeper:
    """Takes slots for runs, renews them as long as the runs go on, and gives them back.

    Where a slot has gone to another run, because this worker was cut off for longer than its redelivery timeout, its
    own run is cancelled and handed back: the limit holds, and the run waits in line again.
    """

    _broker: Broker
    _settings: WorkerSettings
    _runs: ActiveRuns
    _slots: Slots = field(init=False)
    _held: dict[bytes, Slot] = field(factory=dict[bytes, Slot], init=False)
    _leaving: dict[bytes, Slot] = field(factory=dict[bytes, Slot], init=False)
    _renewed: Event = field(factory=Event, init=False)
    _has_parked: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = self._broker.slots(self._settings.redelivery_timeout)
        self._renewed.set()

    async def take(self, run: RunScope, gate: SlotGate, *, asked_at: float | None) -> Asked:
        """Take a slot for a run; ``asked_at`` is the time of the first try, where its answer was lost."""
        answer = await self._slots.take(run.delivery, gate, now=self._broker.clock.timestamp(), asked_at=asked_at)
        if not isinstance(answer, Slot):
            self._has_parked = self._has_parked or answer is Asked.PARKED
            return answer
        self._held[run.delivery.receipt] = answer
        return Asked.ADMITTED

    async def leave(self, run: RunScope, gate: SlotGate) -> None:
        """Give back the slot of a run, or the one that it was woken for. Safe to repeat."""
        receipt = run.delivery.receipt
        if receipt in self._held:
            self._leaving[receipt] = self._held.pop(receipt)
        # A renewal that comes to Redis after this takes the slot anew: nobody would give it back.
        await self._renewed.wait()
        slot = self._leaving.get(receipt)
        await self._slots.leave(run.delivery, gate, slot=slot, now=self._broker.clock.timestamp())
        self._leaving.pop(receipt, None)

    async def forget(self, key: str) -> None:  # noqa: ASYNC910 - the caller goes on to wait
        """Have a key that was cancelled leave the line, if any has been put there from here."""
        if self._has_parked:
            await self._slots.forget(key)

    def slot_of(self, run: RunScope) -> Slot | None:
        """Return the slot that a run holds."""
        return self._held.get(run.delivery.receipt)

    async def run(self, ready: Callable[[], None]) -> None:
        """Renew until cancelled."""
        while True:
            # A renewal whose answer was lost first: nobody knows yet at which time the slot stands.
            await self._renew()
            now = self._broker.clock.timestamp()
            self._held.update({receipt: evolve(slot, renewal=now) for receipt, slot in self._held.items()})
            await self._renew()
            ready()
            await anyio.sleep(self._settings.lease_renewal.total_seconds())

    async def _renew(self) -> None:  # noqa: ASYNC910 - private; the caller sleeps
        while some := [each for each in self._held.items() if each[1].renewal is not None][:_RENEWED_AT_ONCE]:
            kept = await self._keep([slot for _, slot in some])
            for (receipt, slot), is_kept in zip(some, kept, strict=True):
                if self._held.get(receipt) is not slot:
                    continue  # given back meanwhile
                if is_kept and slot.renewal is not None:
                    self._held[receipt] = evolve(slot, taken_at=slot.renewal, renewal=None)
                else:
                    del self._held[receipt]
                    self._runs.cancel(receipt, CancelReason.SLOT_LOST)

    async def _keep(self, slots: Sequence[Slot]) -> list[bool]:
        self._renewed = Event()
        try:
            return await self._slots.keep(slots)
        finally:
            self._renewed.set()

    async def safeguard_wake(self, waiter_stream: str, max_concurrent: int, perpetual: Perpetual = Perpetual()) -> None:
        """Wake those who wait where whoever had the slots has died: a task, added for each that waits."""
        still_waits = await self._slots.wake(
            waiter_stream,
            max_concurrent,
            safeguard=current_execution.get().key,
            now=self._broker.clock.timestamp(),
        )
        if still_waits:
            perpetual.after(self._settings.redelivery_timeout)
        else:
            perpetual.cancel()
