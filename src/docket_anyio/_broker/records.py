"""What is known about keys, and what came of them."""

from __future__ import annotations

from attrs import define

from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.codec import decode_record, decode_result, pairs
from docket_anyio._model.record import RunRecord
from docket_anyio._redis.client import Redis


@define(eq=False)
class Records:
    """The records and results of a docket."""

    _redis: Redis
    _keys: Keys

    async def read(self, key: str) -> RunRecord | None:
        """Return what is known about a key, or ``None`` where nothing is."""
        with redis_errors():
            reply = await self._redis.transport.execute(("HGETALL", self._keys.runs(key)), repeatable=True)
        flat = reply if isinstance(reply, list) else []
        return decode_record(pairs([each for each in flat if isinstance(each, bytes)]))

    async def read_result(self, result_key: str) -> bytes | None:
        """Return a pickled result, or ``None`` where it has expired."""
        with redis_errors():
            reply = await self._redis.transport.execute(("GET", self._keys.result(result_key)), repeatable=True)
        return decode_result(reply) if isinstance(reply, bytes) else None
