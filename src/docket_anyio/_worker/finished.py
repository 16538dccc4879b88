"""Tells when a docket is empty: nothing waits, and nothing runs on any worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from anyio import move_on_after
from attrs import define

from docket_anyio._broker.broker import Broker
from docket_anyio._worker.runs import ActiveRuns


@define(eq=False)
class EmptyDocket:
    """Watches for the end of the work.

    Args:
        broker: What is watched.
        runs: What runs here; its end is the usual moment to look.
        backstop: How often to look for what other workers do.
    """

    _broker: Broker
    _runs: ActiveRuns
    _backstop: timedelta

    async def run(self, ready: Callable[[], None]) -> None:
        """Return once the docket is empty."""
        ready()
        while True:
            await self._runs.wait_idle()
            if await self._broker.queue.is_empty() and not self._runs:
                return
            with move_on_after(self._backstop.total_seconds()):
                await self._runs.wait_changed()
