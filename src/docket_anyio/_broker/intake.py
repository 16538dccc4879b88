"""Claims: how deliveries come into a worker's hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

from attrs import define, field
from redis.exceptions import ResponseError

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.codec import decode_message, pairs
from docket_anyio._model.message import Delivery, Undecodable
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import BlockingConnection, Command, Reply
from docket_anyio.exceptions import CorruptMessage

Claimed: TypeAlias = Delivery | Undecodable

_TAKE_SWEEP = scripts.load("take_sweep")
_START_OF_STREAM = "0-0"


@define(eq=False)
class Intake:
    """One worker's way to deliveries, over a connection of its own.

    What a call was about to return when it was cancelled, or when its connection broke, is still this worker's:
    ``leftover`` and ``own_pending`` find it.
    """

    _redis: Redis
    _keys: Keys
    _worker: str
    _connection: BlockingConnection
    _cursor: str = field(default=_START_OF_STREAM, init=False)

    async def create_group(self) -> None:  # noqa: ASYNC910 - an error of XGROUP was an answer too
        """Create the consumer group, and the stream with it, where they are missing."""
        with redis_errors():
            try:
                await self._redis.transport.execute(
                    ("XGROUP", "CREATE", self._keys.stream, GROUP, _START_OF_STREAM, "MKSTREAM"), repeatable=True
                )
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def claim(self, count: int, *, wait: timedelta) -> list[Claimed]:
        """Take up to ``count`` new deliveries, waiting for the first as long as ``wait``."""
        # BLOCK 0 would mean: for ever.
        milliseconds = max(1, int(wait.total_seconds() * 1000))
        return await self._read(count, ">", "BLOCK", milliseconds)

    async def own_pending(self) -> list[Claimed]:
        """Return what is pending under this worker's name: the runs it knows of, and what a broken claim left."""
        return await self._read(None, _START_OF_STREAM)

    def leftover(self) -> list[Claimed]:
        """Return, once, what cancelled claims had already been given."""
        claimed: list[Claimed] = []
        while (reply := self._connection.take_leftover()) is not None:
            claimed += _deliveries_read(reply)
        return claimed

    async def take_sweep(self, lease: timedelta) -> bool:
        """Become, or stay, the one worker of the fleet that looks for abandoned deliveries."""
        with redis_errors():
            reply = await self._redis.run_script(
                _TAKE_SWEEP,
                (self._keys.sweep_lease,),
                (self._worker, max(1, int(lease.total_seconds() * 1000))),
                repeatable=True,
            )
        return reply == 1

    async def sweep(self, count: int, *, idle: timedelta) -> tuple[list[Claimed], bool]:
        """Take over up to ``count`` deliveries whose lease has run out.

        Returns:
            The deliveries, and whether the stream has been looked through to its end.
        """
        with redis_errors():
            # Not repeatable: what a lost answer took over is found by ``own_pending``.
            reply = await self._redis.transport.execute(
                (
                    "XAUTOCLAIM",
                    self._keys.stream,
                    GROUP,
                    self._worker,
                    int(idle.total_seconds() * 1000),
                    self._cursor,
                    "COUNT",
                    count,
                )
            )
        match reply:
            case [bytes(cursor), list(entries), *_]:
                self._cursor = cursor.decode()
                return _deliveries(entries, redelivered=True), self._cursor == _START_OF_STREAM
            case _:
                raise TypeError(f"XAUTOCLAIM answered {reply!r}")

    async def _read(self, count: int | None, start: str, *block: str | int) -> list[Claimed]:
        limit: tuple[str | int, ...] = () if count is None else ("COUNT", count)
        command: Command = (
            "XREADGROUP", "GROUP", GROUP, self._worker, *limit, *block, "STREAMS", self._keys.stream, start,
        )  # fmt: skip
        with redis_errors():
            return _deliveries_read(await self._connection.execute(command))


@asynccontextmanager
async def open_intake(redis: Redis, keys: Keys, worker: str) -> AsyncGenerator[Intake]:
    """Open a worker's way to deliveries; the consumer group exists when it is handed out."""
    with redis_errors():
        async with redis.transport.open_blocking() as connection:
            intake = Intake(redis, keys, worker, connection)
            await intake.create_group()
            yield intake


def _deliveries_read(reply: Reply) -> list[Claimed]:
    match reply:
        case [[_, list(entries)]]:
            return _deliveries(entries, redelivered=False)
        case _:
            return []


def _deliveries(entries: Sequence[Reply], *, redelivered: bool) -> list[Claimed]:
    claimed: list[Claimed] = []
    for entry in entries:
        match entry:
            case [bytes(receipt), list(fields)]:
                claimed.append(_delivery(receipt, fields, redelivered=redelivered))
            case [bytes(receipt), None]:
                # Pending, but deleted from the stream meanwhile: a cancelled or cleared task.
                claimed.append(Undecodable(receipt, "the message was deleted while it was pending"))
            case _:
                # Redis 6.2 answers XAUTOCLAIM with nothing where the entry was deleted.
                continue
    return claimed


def _delivery(receipt: bytes, fields: Sequence[Reply], *, redelivered: bool) -> Claimed:
    flat = [each for each in fields if isinstance(each, bytes)]
    try:
        return Delivery(receipt, decode_message(pairs(flat)), redelivered=redelivered)
    except CorruptMessage as error:
        return Undecodable(receipt, str(error))
