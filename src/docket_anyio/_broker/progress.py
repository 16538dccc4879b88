"""How far runs have come: each report is one script and one round trip."""

from __future__ import annotations

from datetime import datetime

from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.record import ProgressRecord
from docket_anyio._redis.client import Redis

_PROGRESS = scripts.load("progress")


@define(eq=False)
class ProgressReports:
    """The progress of a docket's keys.

    Each report returns what stands there afterwards, or ``None`` where it was ignored: a newer run of the key has
    begun, or the execution has ended. Generation 0 is that of whoever is not a run, and is never outdated.
    """

    _redis: Redis
    _keys: Keys

    async def increment(self, key: str, amount: int, now: datetime, *, generation: int) -> ProgressRecord | None:
        """Add to what is done. Not safe to repeat."""
        return await self._report(key, "increment", amount, now, generation)

    async def set_total(self, key: str, total: int, now: datetime, *, generation: int) -> ProgressRecord | None:
        """Say how much there is to do."""
        return await self._report(key, "set_total", total, now, generation)

    async def set_message(
        self, key: str, message: str | None, now: datetime, *, generation: int
    ) -> ProgressRecord | None:
        """Say something about it, or nothing any more."""
        what = "clear_message" if message is None else "set_message"
        return await self._report(key, what, message or "", now, generation)

    async def _report(
        self, key: str, what: str, value: int | str, now: datetime, generation: int
    ) -> ProgressRecord | None:
        with redis_errors():
            reply = await self._redis.run_script(
                _PROGRESS,
                (self._keys.progress(key), self._keys.runs(key)),
                (key, generation, now.isoformat(), what, value),
                repeatable=what != "increment",
            )
        match reply:
            case None:
                return None
            case [bytes(current), bytes(total), bytes() | None as message]:
                said = None if message is None else message.decode(errors="replace")
                return ProgressRecord(int(current), int(total), said, now)
            case _:
                raise TypeError(f"progress answered {reply!r}")
