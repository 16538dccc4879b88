"""The stream of strikes: appended by whoever strikes, read by all."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from attrs import define

from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.codec import decode_strike, encode_strike, pairs
from docket_anyio._model.strikes import StrikeInstruction
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import BlockingConnection, Reply
from docket_anyio.exceptions import CorruptMessage, InvalidStrike

BEFORE_ALL: Final = "0-0"
_READ_AT_ONCE: Final = 100
_LOGGER: Final = logging.getLogger("docket_anyio.strikes")


@define(eq=False)
class StrikeFollower:
    """Waits for instructions, over a connection of its own."""

    _connection: BlockingConnection
    _keys: Keys

    async def wait(self, after: str, *, at_most: timedelta) -> None:
        """Wait until there is an instruction after one."""
        milliseconds = max(1, int(at_most.total_seconds() * 1000))
        with redis_errors():
            await self._connection.execute(
                ("XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", self._keys.strikes, after)
            )


@define(eq=False)
class StrikeStream:
    """The instructions of a docket, from the first ever given."""

    _redis: Redis
    _keys: Keys

    async def append(self, instruction: StrikeInstruction) -> None:
        """Give an instruction to everybody.

        Raises:
            NotSerializable: Its value cannot be pickled.
        """
        fields = encode_strike(instruction)
        with redis_errors():
            await self._redis.transport.execute(("XADD", self._keys.strikes, "*", *fields))

    async def read(self, after: str) -> tuple[str, list[StrikeInstruction]]:
        """Return the instructions after one, and where the last of them stands; all of them in several calls."""
        with redis_errors():
            reply = await self._redis.transport.execute(self._command(after), repeatable=True)
        return _read(after, reply)

    @asynccontextmanager
    async def open_follower(self) -> AsyncGenerator[StrikeFollower]:
        """Open a connection that waits for instructions."""
        with redis_errors():
            async with self._redis.transport.open_blocking() as connection:
                yield StrikeFollower(connection, self._keys)

    def _command(self, after: str) -> Sequence[str | int]:
        return ("XREAD", "COUNT", _READ_AT_ONCE, "STREAMS", self._keys.strikes, after)


def _read(after: str, reply: Reply) -> tuple[str, list[StrikeInstruction]]:
    match reply:
        case [[_, list(entries)]]:
            return _instructions(after, entries)
        case _:
            return after, []


def _instructions(after: str, entries: Iterable[Reply]) -> tuple[str, list[StrikeInstruction]]:
    instructions: list[StrikeInstruction] = []
    for entry in entries:
        match entry:
            case [bytes(position), list(flat)]:
                after = position.decode()
                try:
                    instructions.append(decode_strike(pairs([each for each in flat if isinstance(each, bytes)])))
                except (CorruptMessage, InvalidStrike) as error:
                    _LOGGER.warning("Passed over the strike %s: %s", after, error)
            case _:
                continue
    return after, instructions
