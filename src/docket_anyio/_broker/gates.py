"""What policies ask before a run begins, each question one script and one round trip."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.admission import CooldownGate, DebounceGate, RateGate
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Reply

_COUNT_RUN = scripts.load("count_run")
_DEBOUNCE = scripts.load("debounce")
_MILLISECOND: Final = timedelta(milliseconds=1)

DROP: Final = timedelta(-1)
"""Do not ask again."""


@define(eq=False)
class Gates:
    """Rate limits, cooldowns and debounces (WIRE sections 8.2 to 8.4). Times are in seconds since the epoch."""

    _redis: Redis
    _keys: Keys

    async def count(self, key: str, gate: RateGate, *, asked_at: float, again: bool = False) -> timedelta | None:
        """Count a run in a sliding window.

        Args:
            key: Who asks.
            gate: What about.
            asked_at: The time of the first try.
            again: The answer to an earlier try was lost: it may be counted already.

        Returns:
            After how long to ask again, or ``None`` where it may begin.
        """
        with redis_errors():
            reply = await self._redis.run_script(
                _COUNT_RUN,
                (self._keys.rate_window(gate.name, gate.scope),),
                (_member(key, asked_at), _milliseconds(asked_at), gate.per // _MILLISECOND, gate.limit, int(again)),
            )
        return _pause(reply)

    async def uncount(self, key: str, gate: RateGate, *, asked_at: float) -> None:
        """Take back that a run was counted, which did not begin."""
        with redis_errors():
            await self._redis.transport.execute(
                ("ZREM", self._keys.rate_window(gate.name, gate.scope), _member(key, asked_at)), repeatable=True
            )

    async def begin_cooldown(self, gate: CooldownGate) -> bool:
        """Say that a run begins, and tell whether it may: no other one has begun lately."""
        with redis_errors():
            # Not repeatable: after a lost answer nobody could tell whose cooldown it is.
            reply = await self._redis.transport.execute(
                ("SET", self._keys.cooldown(gate.name, gate.scope), "1", "NX", "PX", gate.window // _MILLISECOND)
            )
        return reply is not None

    async def end_cooldown(self, gate: CooldownGate) -> None:
        """Take back that a run began."""
        with redis_errors():
            await self._redis.transport.execute(("DEL", self._keys.cooldown(gate.name, gate.scope)), repeatable=True)

    async def debounce(self, key: str, gate: DebounceGate, *, asked_at: float, keep: bool) -> timedelta | None:
        """Ask whether no other run has come for long enough.

        Args:
            key: Who asks.
            gate: What about.
            asked_at: The time.
            keep: Where it may begin it still has others dropped, until ``end_debounce``.

        Returns:
            After how long to ask again, ``DROP`` where another one runs in its place, or ``None`` where it may begin.
        """
        with redis_errors():
            reply = await self._redis.run_script(
                _DEBOUNCE,
                self._keys.debounce(gate.name, gate.scope),
                (
                    key,
                    _milliseconds(asked_at),
                    gate.settle // _MILLISECOND,
                    int(keep),
                    "" if gate.scope or self._keys.one_slot else self._keys.runs_prefix,
                ),
                repeatable=True,
            )
        return DROP if reply == -1 else _pause(reply)

    async def end_debounce(self, gate: DebounceGate) -> None:
        """Say that the run begins: whoever comes from now on is the first of the next."""
        with redis_errors():
            await self._redis.transport.execute(("DEL", *self._keys.debounce(gate.name, gate.scope)), repeatable=True)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _member(key: str, asked_at: float) -> str:
    return f"{key}:{_milliseconds(asked_at)}"


def _pause(reply: Reply) -> timedelta | None:
    match reply:
        case 0:
            return None
        case int():
            return timedelta(milliseconds=reply)
        case _:
            raise TypeError(f"a gate answered {reply!r}")
