"""Requests to stop reach the runs they are about."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import CancelReason
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
                    if run.delivery.message.key == key and await self._is_meant(run):
                        run.cancel(CancelReason.USER)
                await self._slots.forget(key)

    async def _is_meant(self, run: RunScope) -> bool:  # noqa: ASYNC910 - private; Redis is asked
        # The key may have been added again since: a request does not say which run of it it is about.
        message = run.delivery.message
        try:
            record = await self._broker.records.read(message.key)
        except CorruptMessage:
            return True  # so nothing speaks against it  # noqa: ASYNC910 - private; Redis was asked
        return record is None or record.state is ExecutionState.CANCELLED or record.generation > message.generation

    async def _catch_up(self) -> None:  # noqa: ASYNC910 - private; the caller goes on to wait
        # What was asked for while nobody listened stands in the records.
        for run in self._runs:
            try:
                record = await self._broker.records.read(run.delivery.message.key)
            except CorruptMessage:
                continue
            if record is not None and record.state is ExecutionState.CANCELLED:
                run.cancel(CancelReason.USER)
