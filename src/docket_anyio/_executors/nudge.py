"""Waiting for a change of something that can be looked at."""

from __future__ import annotations

from anyio import Event
from attrs import define, field


@define(eq=False)
class Nudge:
    """Wakes who waits for something to change: look first, and again after each change."""

    _changed: Event = field(factory=Event, init=False)

    def give(self) -> None:
        """Say that something has changed."""
        self._changed.set()
        self._changed = Event()

    async def wait(self) -> None:
        """Wait until something changes."""
        await self._changed.wait()
