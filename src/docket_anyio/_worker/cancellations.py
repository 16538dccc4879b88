"""Requests to stop reach the runs they are about."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import CancelReason
from docket_anyio._worker.runs import ActiveRuns


@define(eq=False)
class CancellationListener:
    """Listens for ``docket.cancel()``, wherever it is called."""

    _broker: Broker
    _runs: ActiveRuns

    async def run(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled."""
        async with self._broker.events.watch_cancellations() as cancellations:
            ready()
            await self._catch_up()
            while True:
                self._runs.cancel_key(await cancellations.next(), CancelReason.USER)

    async def _catch_up(self) -> None:  # noqa: ASYNC910 - private; the caller goes on to wait
        # What was asked for while nobody listened stands in the records.
        for run in self._runs:
            record = await self._broker.records.read(run.delivery.message.key)
            if record is not None and record.state is ExecutionState.CANCELLED:
                run.cancel(CancelReason.USER)
