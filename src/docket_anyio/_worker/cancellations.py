"""Requests to stop reach the runs they are about."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._model.cancelling import NO_WORDS, Words
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import CancelReason
from docket_anyio._model.record import RunRecord
from docket_anyio._worker.runs import ActiveRuns, RunScope
from docket_anyio._worker.slots import SlotKeeper
from docket_anyio.exceptions import CorruptMessage


@define(eq=False)
class CancellationListener:
    """Listens for ``docket.cancel()``, wherever it is called."""

    _broker: Broker
    _runs: ActiveRuns
    _slots: SlotKeeper

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled."""
        async with self._broker.events.watch_cancellations() as cancellations:
            ready()
            await self._catch_up()
            while True:
                key = await cancellations.next()
                for run in self._runs:
                    if run.delivery.message.key == key:
                        await self._stop(run, announced=True)
                await self._slots.forget(key)

    async def _catch_up(self) -> None:  # noqa: ASYNC910 - private; the caller goes on to wait
        # What was asked for while nobody listened stands in the records.
        for run in self._runs:
            await self._stop(run, announced=False)

    async def _stop(self, run: RunScope, *, announced: bool) -> None:  # noqa: ASYNC910 - private; Redis is asked
        """Stop a run, if it is the one that is meant: its key may have been added again since, and that be meant."""
        message = run.delivery.message
        try:
            record = await self._broker.records.read(message.key)
        except CorruptMessage:
            words = NO_WORDS if announced else None  # so nothing speaks against it
        else:
            words = _said(record, message.generation, announced=announced)
        if words is not None:
            run.cancel(CancelReason.USER, words=words.reason, grace=words.grace)


def _said(record: RunRecord | None, generation: int, *, announced: bool) -> Words | None:
    """Return what a run was told that is to stop, or ``None`` where it is not."""
    if record is None:
        return NO_WORDS if announced else None
    if record.cancel_requested == (generation or record.generation):
        return Words(record.cancel_reason, record.cancel_grace)
    if record.state is ExecutionState.CANCELLED or (announced and record.generation > generation):
        return NO_WORDS
    return None
