"""What a test and the bodies of its tasks tell each other."""

from __future__ import annotations

import anyio
from attrs import define, field


@define(eq=False)
class Stage:
    """How far a body has come; and the bodies that many tests want, to be added as ``stage.perform``."""

    started: anyio.Event = field(factory=anyio.Event)
    go_on: anyio.Event = field(factory=anyio.Event)
    ended: anyio.Event = field(factory=anyio.Event)
    runs: int = 0

    async def perform(self) -> str:
        """Ends when the test says so."""
        self.runs += 1
        self.started.set()
        await self.go_on.wait()
        self.ended.set()
        return "finished"

    async def linger(self) -> str:
        """Ends by itself, and soon."""
        self.started.set()
        await anyio.sleep(0.05)
        return "finished"

    async def hang(self) -> None:
        """Ends only where it is told to."""
        self.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.set()

    async def hang_and_clean_up(self) -> None:
        """Ends only where it is told to, and then when the test says so."""
        self.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self.go_on.wait()

    async def hang_once(self) -> int:
        """Ends by itself from its second run on, and says which it was."""
        self.runs += 1
        self.started.set()
        if self.runs == 1:
            await anyio.sleep_forever()
        return self.runs


@define(eq=False)
class Crowd:
    """How many are in one place, and how many were at most."""

    now: int = 0
    most: int = 0

    async def stay(self, seconds: float) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await anyio.sleep(seconds)
        self.now -= 1
