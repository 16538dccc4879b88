"""What is known about keys."""

from __future__ import annotations

from attrs import define

from docket_anyio._broker.errors import check_replies, redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.codec import decode_progress, decode_record, pairs
from docket_anyio._model.record import ProgressRecord, RunRecord
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Reply


@define(eq=False)
class Records:
    """The records of a docket."""

    _redis: Redis
    _keys: Keys

    async def read(self, key: str) -> RunRecord | None:
        """Return what is known about a key, or ``None`` where nothing is."""
        with redis_errors():
            reply = await self._redis.transport.execute(("HGETALL", self._keys.runs(key)), repeatable=True)
        return decode_record(_fields(reply))

    async def read_with_progress(self, key: str) -> tuple[RunRecord | None, ProgressRecord | None]:
        """Return what is known about a key and how far it has come, of one moment and in one round trip."""
        commands = (("HGETALL", self._keys.runs(key)), ("HGETALL", self._keys.progress(key)))
        with redis_errors():
            replies = await self._redis.transport.execute_all(commands, repeatable=True)
        check_replies(replies)
        record, progress = replies
        return decode_record(_fields(record)), decode_progress(_fields(progress))


def _fields(reply: Reply) -> dict[bytes, bytes]:
    flat = reply if isinstance(reply, list) else []
    return pairs([each for each in flat if isinstance(each, bytes)])
