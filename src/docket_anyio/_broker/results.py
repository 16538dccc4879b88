"""Results where a docket keeps them that was given no store for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import define

from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.codec import decode_stored, encode_stored, encode_stored_entry
from docket_anyio._redis.client import Redis


@define(eq=False)
class RedisResults:
    """The results of a docket, in its own Redis; a ``ResultStorage``."""

    _redis: Redis
    _keys: Keys

    async def get(self, key: str) -> Mapping[str, Any] | None:
        """Return what is kept under a key, or ``None`` where nothing is any more.

        Raises:
            CorruptMessage: It cannot be read.
            RedisUnavailable: Redis cannot be reached.
        """
        with redis_errors():
            reply = await self._redis.transport.execute(("GET", self._keys.result(key)), repeatable=True)
        return decode_stored(reply) if isinstance(reply, bytes) else None

    async def put(self, key: str, value: Mapping[str, Any], *, ttl: float | None = None) -> None:
        """Keep something under a key.

        Args:
            key: Where.
            value: What; it is written as JSON.
            ttl: For how many seconds; for ever where it is left out.

        Raises:
            RedisUnavailable: Redis cannot be reached. Putting it again is safe.
        """
        seconds = None if ttl is None else max(1, int(ttl))
        entry = stored(self._keys, key, value, now=self._redis.clock.now(), seconds=seconds)
        expiry = () if seconds is None else ("EX", seconds)
        with redis_errors():
            await self._redis.transport.execute(("SET", self._keys.result(key), entry, *expiry), repeatable=True)


def stored(keys: Keys, key: str, value: Mapping[str, Any], *, now: datetime, seconds: int | None) -> str:
    """Return a value as Redis holds it (WIRE section 10).

    Args:
        keys: Those of the docket.
        key: Under which it is kept.
        value: What is kept.
        now: The time.
        seconds: For how long it is kept; ``None`` for ever.
    """
    if keys.bare_results:
        return encode_stored(value)
    time_to_live = None if seconds is None else timedelta(seconds=seconds)
    return encode_stored_entry(value, collection=keys.results, key=key, created_at=now, time_to_live=time_to_live)
