"""The worker says that it lives."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.slots import SAFEGUARD
from docket_anyio._client.docket import Docket
from docket_anyio._policies.concurrency import ConcurrencyLimit
from docket_anyio._telemetry.instruments import Instruments


@define(eq=False)
class Heartbeat:
    """Says at intervals that the worker lives and what it can run, and sets the clock by Redis's."""

    _broker: Broker
    _worker: str
    _docket: Docket
    _instruments: Instruments

    async def run(self, ready: Callable[[], None]) -> None:
        """Beat until cancelled."""
        while True:
            await self._broker.measure_clock()
            await self._broker.presence.heartbeat(
                self._worker, self._tasks(), now=self._broker.clock.now(), window=self._docket.patience_with_workers
            )
            ready()
            self._instruments.docket_measured(await self._broker.backlog.depth(self._broker.clock.now()))
            await anyio.sleep(self._docket.heartbeat_interval.total_seconds())

    async def depart(self) -> None:
        """Say that the worker leaves."""
        await self._broker.presence.depart(self._worker, self._tasks())

    def _tasks(self) -> list[str]:
        registry = self._docket.registry
        limits = any(
            isinstance(each, ConcurrencyLimit) for task in registry.definitions() for each in task.plan.policies
        )
        # As pydocket's workers do, once they have a task with such a limit (WIRE section 8.1).
        return sorted([*registry.names(), SAFEGUARD]) if limits else registry.names()
