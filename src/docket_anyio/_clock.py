"""The time as the Redis server has it: the one place that reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import anyio
from attrs import define, field


def wall_time() -> float:
    """Return this machine's time, in seconds since the epoch, where there is no event loop to ask."""
    return time.time()


def _wall_minus_loop() -> float:
    return wall_time() - anyio.current_time()


@define(eq=False)
class ServerClock:
    """Tell the time of a Redis server, carried between measurements by the event loop's clock.

    Until the first measurement it is this machine's wall clock. Afterwards a machine whose clock is wrong still
    agrees with its fleet. The event loop's clock drives it, so virtual time (trio's ``MockClock``) drives it too.
    """

    _offset: float = field(factory=_wall_minus_loop, init=False)

    def timestamp(self) -> float:
        """Return the seconds since the epoch."""
        return anyio.current_time() + self._offset

    def now(self) -> datetime:
        """Return the time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def measured(self, server_time: float, *, asked_at: float, answered_at: float) -> None:
        """Take over what the server said its time was, unless the clock agrees within what the answer can tell.

        Args:
            server_time: The server's answer to TIME, in seconds since the epoch.
            asked_at: The event loop's time when the question was sent.
            answered_at: The event loop's time when the answer was read.
        """
        offset = server_time - (asked_at + answered_at) / 2
        # The server read its clock at some moment in between: less than that is jitter of the network.
        if abs(offset - self._offset) > (answered_at - asked_at) / 2:
            self._offset = offset
