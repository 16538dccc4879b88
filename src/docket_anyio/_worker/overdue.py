"""The bodies that run in threads, and those of them that go on although they were told to stop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from typing import Final

import anyio
from anyio import CancelScope, move_on_after
from attrs import define, field

from docket_anyio._executors.nudge import Nudge
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._worker.runs import RunScope

# How long, in seconds, a body in a thread has to stop where the request does not say it.
_GRACE: Final = 5.0


@define(eq=False)
class _Body:
    """The body of a run, in a thread. It was told to stop at ``told_at`` by the event loop's clock."""

    run: RunScope
    limits: Sequence[CancelScope]
    told_at: float = inf
    reported: bool = False

    def look(self, now: float) -> None:
        """See whether it was told to stop."""
        if self.told_at == inf and self.run.stop is not None:
            self.told_at = now
        self.told_at = min((self.told_at, *(each.deadline for each in self.limits if each.deadline <= now)))

    def next_look(self) -> float:
        """Return when there may be something to tell of it."""
        if self.reported:
            return inf
        if self.told_at == inf:
            return min((each.deadline for each in self.limits), default=inf)
        return self.told_at + self.grace

    @property
    def grace(self) -> float:
        """How long it has to stop, in seconds."""
        stop = self.run.stop
        return _GRACE if stop is None or stop.grace is None else stop.grace.total_seconds()


@define(eq=False)
class BodiesInThreads:
    """Knows the bodies that run in threads, and reports each once that has not stopped within its grace.

    Nobody can stop a thread: such a body keeps its slot and its lease until it ends, and has not stopped before.
    """

    _instruments: Instruments
    _bodies: list[_Body] = field(factory=list[_Body], init=False)
    _changed: Nudge = field(factory=Nudge, init=False)

    @contextmanager
    def holding(self, run: RunScope, limits: Sequence[CancelScope]) -> Generator[None]:
        """Know of a body while the block lasts.

        Args:
            run: Its run.
            limits: The scopes that bound it.
        """
        body = _Body(run, limits)
        self._bodies.append(body)
        run.on_stop = self._changed.give
        self._changed.give()
        try:
            yield
        finally:
            run.on_stop = None
            self._bodies.remove(body)
            self._changed.give()

    async def run(self, ready: Callable[[], None]) -> None:
        """Report until cancelled."""
        ready()
        while True:
            now = anyio.current_time()
            for body in self._bodies:
                body.look(now)
                if not body.reported and body.told_at + body.grace <= now:
                    body.reported = True
                    since = timedelta(seconds=now - body.told_at)
                    self._instruments.run_still_running(body.run.delivery, since=since)
            pause = min((body.next_look() for body in self._bodies), default=inf) - now
            with move_on_after(pause):  # noqa: ASYNC912 - waits
                await self._changed.wait()

    async def wait_none(self) -> None:  # noqa: ASYNC910 - whoever waits for it goes on to wait
        """Wait until no body runs in a thread."""
        while self._bodies:
            await self._changed.wait()
