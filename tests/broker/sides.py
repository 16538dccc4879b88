"""Two dockets that are given the same steps: how each is driven, and all that can be seen of it afterwards."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias

import attrs
from attrs import define, field, frozen

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.intake import Claimed, Intake
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._broker.strikes import BEFORE_ALL
from docket_anyio._model.snapshot import InHand
from docket_anyio._redis.transport import Command, Subscription
from docket_anyio.exceptions import DocketError
from tests.broker.brokers import open_broker
from tests.conftest import Store
from tests.redis.differential import TOLERANCE_MS, comparable, same
from tests.redis.differential_commands import Words

NAME = "d"
END, STREAM, STRIKES = f"{NAME}:end", f"{NAME}:stream", f"{NAME}:strikes"
STREAMS = Keys(NAME, bare_results=False).streams
KEYS = ("a", "b", 'clé "3"\n')
WORKERS = ("W1", "W2", "W3")
ENTRY_ID = re.compile(rb"\d{10,}-\d+")
CONTENTS = {
    "string": [["GET"]],
    "hash": [["HGETALL"]],
    "set": [["SMEMBERS"]],
    "zset": [["ZRANGE", "0", "-1", "WITHSCORES"]],
    "stream": [
        ["XRANGE", "-", "+"],
        ["XINFO STREAM"],
        ["XINFO GROUPS"],
        ["XINFO CONSUMERS", GROUP],
        ["XPENDING", GROUP, "-", "+", "1000"],
    ],
}
# WIRE section 1; a hash is a record, a progress or a parked message.
KINDS = {
    "stream": "stream",
    "strikes": "stream",
    "queue": "zset",
    "workers": "zset",
    "task-workers": "zset",
    "worker-tasks": "set",
    "leases": "string",
    "perpetual": "string",
    "anyio:honours": "zset",
    "anyio:stream": "stream",
    "anyio:sequence": "string",
    "results": "string",
}


Held: TypeAlias = dict[str, list[tuple[Words, Any]]]
"""By key: commands that read it, and what they answer."""


@frozen(eq=False)
class About:
    """A time that may differ by what passes between two servers."""

    when: datetime

    def __eq__(self, other: object) -> bool:
        return isinstance(other, About) and abs(self.when - other.when) < timedelta(milliseconds=TOLERANCE_MS)

    __hash__ = None  # type: ignore[assignment]


@define(eq=False)
class Hand:
    """What a worker has claimed, until it has let go of it."""

    worker: str
    claimed: Claimed
    started: bool = False
    over: bool = False


@define
class Seen:
    """All that can be seen of a side: what Redis holds, what the broker tells of it, and what was announced."""

    held: Held
    told: Any
    announced: list[tuple[str, str]]

    def differences(self, other: Seen) -> list[str]:
        """Return what is not the same on another side."""
        found = differences(self.held, other.held)
        if self.told != other.told:
            found.append(f"what the broker tells\n  {self.told}\n  {other.told}")
        if self.announced != other.announced:
            found.append(f"what is announced\n  {self.announced}\n  {other.announced}")
        return found


def differences(one: Held, other: Held) -> list[str]:
    """Return what is not the same in Redis; times may differ a little."""
    found: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key, []), other.get(key, [])
        if [words for words, _ in mine] != [words for words, _ in theirs]:
            found.append(f"the type of {key!r}")
        else:
            found += [
                f"{words}\n  {first}\n  {second}"
                for (words, first), (_, second) in zip(mine, theirs, strict=True)
                if not same(words, first, second)
            ]
    return found


@define(eq=False)
class Side:
    """One of the dockets, and the workers who use it."""

    broker: Broker
    _announcements: Subscription
    _stack: AsyncExitStack
    hands: list[Hand] = field(factory=list[Hand], init=False)
    last_strike: str = field(default=BEFORE_ALL, init=False)
    _intakes: dict[str, Intake] = field(factory=dict[str, Intake], init=False)
    _entries: dict[tuple[str, bytes], bytes] = field(factory=dict[tuple[str, bytes], bytes], init=False)

    async def intake(self, worker: str) -> Intake:
        """Return a worker's way to deliveries, which is opened on first use."""
        if worker not in self._intakes:
            self._intakes[worker] = await self._stack.enter_async_context(self.broker.open_intake(worker))
        return self._intakes[worker]

    def take(self, worker: str, claimed: Sequence[Claimed]) -> None:
        """Put into a worker's hands what it does not have already."""
        has = {hand.claimed.receipt for hand in self.hands if hand.worker == worker and not hand.over}
        self.hands += [Hand(worker, each) for each in claimed if each.receipt not in has]

    async def execute(self, *commands: Command) -> list[Any]:
        """Run commands; an error stands in place of its reply."""
        return list(await self.broker.redis.transport.execute_all(commands)) if commands else []

    async def age(self, minutes: int) -> None:
        """Let time pass: what expires does so sooner, and what is pending has been idle for longer.

        A real server's clock cannot be moved, so what depends on it is. An entry that was deleted while it was pending
        stays as young as it is.
        """
        milliseconds = minutes * 60_000
        keys = await self.keys()
        for key, left in zip(keys, await self.execute(*[("PTTL", key) for key in keys]), strict=True):
            if left >= 0:
                await self.execute(("PEXPIRE", key, left - milliseconds) if left > milliseconds else ("DEL", key))
        for stream in self.broker.keys.streams:
            await self._age(stream, milliseconds)

    async def _age(self, stream: str, milliseconds: int) -> None:
        (pending,) = await self.execute(("XPENDING", stream, GROUP, "-", "+", 1000))
        for receipt, worker, idle, _ in pending if isinstance(pending, list) else []:
            (present,) = await self.execute(("XRANGE", stream, receipt, receipt))
            if present:
                aged = ("IDLE", idle + milliseconds, "JUSTID")
                await self.execute(("XCLAIM", stream, GROUP, worker, 0, receipt, *aged))

    async def keys(self, *more: Command) -> list[str]:
        """Return all keys, and run other commands on the way."""
        keys, *_ = await self.execute(("KEYS", "*"), *more)
        return sorted(key.decode() for key in keys)

    async def look(self, now: datetime) -> Seen:
        """Return all that can be seen now, and what was announced since the last time."""
        told = self.normal(await self.broker.backlog.survey(now))
        keys = await self.keys(("PUBLISH", END, ""))
        return Seen(await self._contents(keys), told, await self._announced())

    async def held(self) -> Held:
        """Return what Redis holds."""
        return await self._contents(await self.keys())

    async def _contents(self, keys: list[str]) -> Held:
        commands: list[list[str]] = []
        for key in keys:
            commands += [["TYPE", key], ["PTTL", key]]
            commands += [[*first.split(), key, *more] for first, *more in CONTENTS[_kind(key)]]
        held: Held = {key: [] for key in keys}
        for words, reply in zip(commands, await self.execute(*commands), strict=True):
            key = words[2] if words[0] == "XINFO" else words[1]
            held[key].append(
                (
                    [word.encode() for word in words],
                    self.normal(_ordered(words[0], reply), STRIKES if key == STRIKES else STREAM),
                )
            )
        return held

    async def records(self) -> Any:
        """Return what the broker tells of each key, and whether nothing is left to do."""
        broker = self.broker
        records = {key: await broker.records.read_with_progress(key) for key in KEYS}
        results = [
            await broker.results.get(record.result_key)
            for record, _ in records.values()
            if record is not None and record.result_key is not None
        ]
        return self.normal((records, results, await broker.queue.is_empty()))

    async def _announced(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while (message := await self._announcements.receive()).channel != END.encode():
            found.append((message.channel.decode(), message.data.decode()))
        return found

    def normal(self, value: Any, stream: str = STREAM) -> Any:
        """Return what is the same on both sides: the ids of a stream's entries become their ordinals.

        Args:
            value: Anything that a command or the broker has answered.
            stream: Whose ids are in it. In the same millisecond those of two streams may be alike.
        """
        match value:
            case Exception():
                return " ".join(comparable(value))
            case bytes(text) if ENTRY_ID.fullmatch(text):
                return self._entries.setdefault((stream, text), b"#%d" % len(self._entries))
            case list(items) | tuple(items):
                return [self.normal(item, stream) for item in items]
            case Mapping() as mapping:
                return {key: self.normal(mapping[key], stream) for key in sorted(mapping)}
            case frozenset(items):
                return sorted(items)
            case InHand(message, worker, since):
                return self.normal((message, worker, About(since)), stream)
            case About() | Enum() as other:
                return other
            case other if attrs.has(type(other)):
                return {name: self.normal(each, stream) for name, each in attrs.asdict(other, recurse=False).items()}
            case other:
                return other


def _kind(key: str) -> str:
    _, first, *more = key.split(":")
    return KINDS.get(f"{first}:{more[0]}" if first == "anyio" else first, "hash")


def _ordered(command: str, reply: Any) -> Any:
    """Put in order what a server may keep in any: the fields of a hash, and of an entry that was made of one."""
    match command:
        case "HGETALL":
            return _pairs(reply)
        case "XRANGE":
            return [[receipt, _pairs(fields)] for receipt, fields in reply]
        case "XINFO" if isinstance(reply, list) and b"first-entry" in reply:
            # Whole entries, which XRANGE has as well.
            return reply[: reply.index(b"first-entry")]
        case _:
            return reply


def _pairs(flat: list[bytes]) -> list[list[bytes]]:
    return sorted([name, value] for name, value in zip(flat[::2], flat[1::2], strict=True))


async def attempt(call: Coroutine[Any, Any, Any]) -> Any:
    """Return what a call returns; an error of ours is an answer as well."""
    try:
        return await call
    except DocketError as error:
        return error


@asynccontextmanager
async def open_side(url: str, execution_ttl: timedelta) -> AsyncGenerator[Side]:
    """Open a docket on an empty server."""
    # The same form of results on both.
    async with open_broker(Store("redis", url, NAME), execution_ttl=execution_ttl) as broker, AsyncExitStack() as stack:
        await broker.redis.flushall()
        announcements = broker.redis.transport.open_subscription(patterns=[f"{NAME}:*"])
        yield Side(broker, await stack.enter_async_context(announcements), stack)
