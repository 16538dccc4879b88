"""Parked tasks go to the stream when they are due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anyio import move_on_after
from attrs import define

from docket_anyio._broker.broker import Broker

# A script blocks Redis while it runs: many tasks due at one instant are moved in several.
_MOVED_AT_ONCE: Final = 200


@define(eq=False)
class Promoter:
    """Sleeps until the next parked task is due, and is woken when one comes in that is due before.

    Args:
        broker: Where the tasks are parked.
        backstop: pydocket parks tasks and wakes nobody: how long to sleep at most, in seconds.
    """

    _broker: Broker
    _backstop: float

    async def run(self, ready: Callable[[], None]) -> None:
        """Promote until cancelled."""
        async with self._broker.events.watch_wakes() as wakes:
            while True:
                promotion = await self._broker.queue.promote(self._broker.clock.now(), limit=_MOVED_AT_ONCE)
                ready()
                with move_on_after(self._pause(promotion.next_due)):
                    await wakes.wait()

    def _pause(self, next_due: float | None) -> float:
        if next_due is None:
            return self._backstop
        return min(self._backstop, max(0.0, next_due - self._broker.clock.timestamp()))
