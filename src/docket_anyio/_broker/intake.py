"""Claims: how deliveries come into a worker's hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

from attrs import define, field
from redis.exceptions import NoScriptError, ResponseError

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors, refused
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.codec import decode_message, pairs
from docket_anyio._model.message import Delivery, Undecodable
from docket_anyio._model.priority import Priority
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Argument, BlockingConnection, Command, Reply
from docket_anyio.exceptions import CorruptMessage

Claimed: TypeAlias = Delivery | Undecodable

_CLAIM = scripts.load("claim")
_TAKE_SWEEP = scripts.load("take_sweep")
_START_OF_STREAM = "0-0"
_OWN = (Priority.HIGH, Priority.LOW)
_ALL = (*_OWN, Priority.NORMAL)


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
    _unswept: list[Priority] = field(factory=list[Priority], init=False)
    _cursor: str = field(default=_START_OF_STREAM, init=False)
    _has_priorities: bool = field(default=False, init=False)
    """Whether anybody has ever asked for another one than most have, as far as it is known here."""
    _turn: int = field(default=0, init=False)

    async def create_group(self) -> None:
        """Create the consumer group on every stream, and the streams with it, where they are missing."""
        groups = [("XGROUP", "CREATE", each, GROUP, _START_OF_STREAM, "MKSTREAM") for each in self._keys.streams]
        with redis_errors():
            *replies, has_priorities = await self._redis.transport.execute_all(
                [*groups, ("EXISTS", self._keys.sequence)], repeatable=True
            )
        for each in replies:
            if isinstance(each, ResponseError) and not str(each).startswith("BUSYGROUP"):
                raise refused(each)
        self._has_priorities = has_priorities == 1

    async def claim(self, count: int, *, wait: timedelta) -> list[Claimed]:
        """Take up to ``count`` new deliveries in the order of priority, waiting for the first as long as ``wait``.

        Where none of another priority was ever seen, or several come at the same moment, there may be up to ``count``
        of each priority: those past ``count`` are to be handed back.
        """
        if self._has_priorities and (claimed := await self._claim_in_order(count)):
            return claimed  # noqa: ASYNC910 - what was claimed was waited for
        # BLOCK 0 would mean: for ever.
        milliseconds = max(1, int(wait.total_seconds() * 1000))
        return await self._read(">", "COUNT", count, "BLOCK", milliseconds)

    async def own_pending(self) -> list[Claimed]:
        """Return what is pending under this worker's name: the runs it knows of, and what a broken claim left."""
        return await self._read(_START_OF_STREAM)

    def leftover(self) -> list[Claimed]:
        """Return, once, what cancelled claims had already been given."""
        claimed: list[Claimed] = []
        while (reply := self._connection.take_leftover()) is not None:
            claimed += self._deliveries_read(reply)
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

    async def sweep(self, count: int, *, idle: timedelta, leased: bool = True) -> tuple[list[Claimed], bool]:
        """Take over up to ``count`` deliveries whose lease has run out.

        Args:
            count: How many at most.
            idle: How long nobody has renewed the lease of them.
            leased: Also those on pydocket's stream. While one of its workers has the lease it looks after that stream,
                and not after ours.

        Returns:
            The deliveries, and whether the streams have been looked through to their end.
        """
        self._unswept = self._unswept or list(_ALL if leased else _OWN)
        claimed: list[Claimed] = []
        # Nothing is awaited with something in hand.
        while self._unswept and not claimed:
            claimed = await self._sweep(self._unswept[0], count, idle)
            if self._cursor != _START_OF_STREAM:
                break
            del self._unswept[0]
        return claimed, not self._unswept  # noqa: ASYNC910 - there is always a stream to look through

    async def _sweep(self, priority: Priority, count: int, idle: timedelta) -> list[Claimed]:
        with redis_errors():
            # Not repeatable: what a lost answer took over is found by ``own_pending``.
            reply = await self._redis.transport.execute(
                (
                    "XAUTOCLAIM",
                    self._keys.stream_of(priority),
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
                return _deliveries(entries, redelivered=True)
            case _:
                raise TypeError(f"XAUTOCLAIM answered {reply!r}")

    async def _claim_in_order(self, count: int) -> list[Claimed]:
        keys = self._keys.streams
        call: tuple[Argument, ...] = (len(keys), *keys, GROUP, self._worker, count, self._turn)
        with redis_errors():
            # On the connection that keeps what a cancelled call was given.
            try:
                reply = await self._connection.execute(("EVALSHA", _CLAIM.sha, *call))
            except NoScriptError:
                reply = await self._connection.execute(("EVAL", _CLAIM.text, *call))
        claimed = self._deliveries_read(reply)
        self._turn += len(claimed)
        return claimed

    async def _read(self, start: str, *options: str | int) -> list[Claimed]:
        streams = self._keys.streams
        command: Command = (
            "XREADGROUP", "GROUP", GROUP, self._worker, *options, "STREAMS", *streams, *(start for _ in streams),
        )  # fmt: skip
        with redis_errors():
            return self._deliveries_read(await self._connection.execute(command))

    def _deliveries_read(self, reply: Reply) -> list[Claimed]:
        claimed: list[Claimed] = []
        for each in reply if isinstance(reply, list) else []:
            match each:
                case [bytes(stream), list(entries)]:
                    claimed += _deliveries(entries, redelivered=False)
                    if entries and stream.decode() != self._keys.stream:
                        self._has_priorities = True
                case _:
                    continue
        return claimed


@asynccontextmanager
async def open_intake(redis: Redis, keys: Keys, worker: str) -> AsyncGenerator[Intake]:
    """Open a worker's way to deliveries; the consumer group exists when it is handed out."""
    with redis_errors():
        async with redis.transport.open_blocking() as connection:
            intake = Intake(redis, keys, worker, connection)
            await intake.create_group()
            yield intake


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
