"""A real Redis to compare memory:// with, and what it means for two replies to be the same."""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
from attrs import define, field
from redis.connection import DefaultParser
from redis.exceptions import RedisError

from docket_anyio._redis.transport import Transport
from tests.redis.differential_commands import Words

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 5000 if NIGHTLY else 150


@define
class RealRedis:
    """A raw RESP2 connection."""

    _socket: socket.socket
    _reader: Any = field(factory=partial(hiredis.Reader, replyError=DefaultParser.parse_error), init=False)

    def execute_all(self, commands: list[Words]) -> list[Any]:
        self.send(commands)
        return [self.receive() for _ in commands]

    def send(self, commands: list[Words]) -> None:
        self._socket.sendall(b"".join(hiredis.pack_command(tuple(words)) for words in commands))

    def receive(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server has crashed")
            self._reader.feed(data)
        return reply

    def answered(self) -> bool:
        """Tell whether there is something to receive."""
        return bool(select.select([self._socket], [], [], 0)[0])


@contextmanager
def open_real(path: Path) -> Iterator[RealRedis]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        yield RealRedis(connection)


async def execute(memory: Transport, words: Words) -> Any:
    """Execute a command on memory://; an error is a reply."""
    try:
        return await memory.execute(words)
    except RedisError as error:
        return error


SCRIPT_LINE = re.compile(r" script: [0-9a-f]{40}, on @?user_script:\d+\.$")
UNORDERED = {b"SMEMBERS", b"KEYS", b"SCAN"}
TIMED = {b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"XPENDING", b"XINFO"}
TREE_SIZES = (b"radix-tree-keys", b"radix-tree-nodes")
TOLERANCE_MS = BIG = 3000


def comparable(reply: Any) -> Any:
    """Make exceptions comparable, and drop the line of a script, which a tail call hides from our Lua."""
    if isinstance(reply, Exception):
        return type(reply).__name__, SCRIPT_LINE.sub("", str(reply))
    if isinstance(reply, list):
        return [comparable(item) for item in reply]
    return reply


def deep_sort(reply: Any) -> Any:
    return sorted((deep_sort(item) for item in reply), key=repr) if isinstance(reply, list) else reply


def same(words: Words, one: Any, other: Any) -> bool:
    """Compare two replies to a command; times with a tolerance."""
    name = words[0].upper()
    if name in (b"EVAL", b"EVALSHA"):
        return same(words[3:] or [b""], one, other)
    if name in UNORDERED:
        return bool(deep_sort(one) == deep_sort(other))
    return close(one, other) if name in TIMED else bool(one == other)


def close(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip([None, *one], one, other, strict=False)
        return len(one) == len(other) and all(
            label_is(label, *TREE_SIZES) or (close(first, second) if may_be_time(at, label, first) else first == second)
            for at, (label, first, second) in enumerate(pairs)
        )
    if type(one) is int and type(other) is int:
        return one == other or (one >= 0 and other >= 0 and abs(one - other) < TOLERANCE_MS)
    return bool(one == other)


def may_be_time(at: int, label: Any, item: Any) -> bool:
    """Tell whether an item may differ a little.

    That is a list which may hold times; an idle time, which is the third of a pending entry; a time since the epoch.
    """
    return isinstance(item, list) or at == 2 or label_is(label, b"idle") or (isinstance(item, int) and item > BIG)


def label_is(label: Any, *names: bytes) -> bool:
    return isinstance(label, bytes) and label in names
