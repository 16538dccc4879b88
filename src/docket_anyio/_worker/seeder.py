"""Automatic tasks are there, whatever happens to their chain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import anyio
from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._client.docket import Docket

# WIRE section 7.
_INTERVAL: Final = timedelta(seconds=60)
_LOCK: Final = timedelta(seconds=10)


@define(eq=False)
class Seeder:
    """Adds the automatic tasks at the start, and again at intervals where one is missing."""

    _docket: Docket
    _broker: Broker

    async def run(self, ready: Callable[[], None]) -> None:
        """Seed until cancelled."""
        while True:
            # Only one worker of a fleet does so at a time. That a key is taken once would be enough for our own
            # workers; a pydocket worker looks first and adds then.
            async with self._broker.locks.try_automatic(_LOCK) as ours:
                if ours:
                    await self._seed()
            ready()
            await anyio.sleep(_INTERVAL.total_seconds())

    async def _seed(self) -> None:  # noqa: ASYNC910 - private; the lock was asked for
        for task in self._docket.registry.definitions():
            if task.automatic is not None:
                await self._docket.add(
                    task.name, task.automatic.first_when(self._broker.clock.now()), task.function.__name__
                )()
