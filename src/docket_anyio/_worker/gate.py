"""Nothing is claimed while the docket is paused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anyio import Event, Lock, move_on_after
from attrs import define, field

from docket_anyio._broker.broker import Broker

# Pub/sub may lose a change: this is how long, in seconds, it then goes unnoticed at most.
_BACKSTOP: Final = 5.0


@define(eq=False)
class Gate:
    """Knows whether the docket is paused. The start of a run asks Redis itself: this only spares claims in vain."""

    _broker: Broker
    _one_at_a_time: Lock = field(factory=Lock, init=False)
    _opened: Event | None = field(default=None, init=False)
    """Set when the docket is resumed; there is none while it is not paused."""

    @property
    def is_shut(self) -> bool:
        """Whether the docket is paused."""
        return self._opened is not None

    async def wait_open(self) -> None:  # noqa: ASYNC910 - whoever waits for it goes on to ask Redis
        """Wait while the docket is paused."""
        while self._opened is not None:
            await self._opened.wait()

    async def look(self) -> None:
        """Ask whether the docket is paused. Of two who ask, who has asked last has the last word."""
        async with self._one_at_a_time:
            is_paused = await self._broker.pauses.is_on()
            opened = self._opened
            if is_paused and opened is None:
                self._opened = Event()
            elif not is_paused and opened is not None:
                self._opened = None
                opened.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Look whenever there was a change, until cancelled."""
        async with self._broker.events.watch_pauses() as changes:
            while True:
                await self.look()
                ready()
                with move_on_after(_BACKSTOP):
                    await changes.wait()
