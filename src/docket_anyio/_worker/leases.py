"""Leases are renewed as long as their runs last."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._model.outcome import CancelReason
from docket_anyio._worker.runs import ActiveRuns
from docket_anyio._worker.settings import WorkerSettings


@define(eq=False)
class LeaseKeeper:
    """Renews the leases of all deliveries in hand, and stops the runs of those that are lost or were cancelled."""

    _broker: Broker
    _settings: WorkerSettings
    _runs: ActiveRuns

    async def run(self, ready: Callable[[], None]) -> None:
        """Renew until cancelled."""
        while True:
            renewed = await self._broker.queue.renew(self._settings.name, self._runs.deliveries())
            for lost in renewed.lost:
                self._runs.cancel(lost, CancelReason.LEASE_LOST)
            # Who listens has heard of them, unless the announcement was lost.
            for receipt, said in renewed.to_stop:
                self._runs.cancel(receipt, CancelReason.USER, words=said.reason, grace=said.grace)
            ready()
            await anyio.sleep(self._settings.lease_renewal.total_seconds())
