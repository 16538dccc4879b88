"""memory:// and a real redis-server are given the same commands, and every reply and every key is compared."""

from __future__ import annotations

import os
import re
import select
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import hiredis
import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from redis.connection import DefaultParser
from redis.exceptions import ResponseError

from docket_anyio._redis.memory.transport import open_memory_transport
from docket_anyio._redis.transport import Transport
from tests.conftest import StartRedis
from tests.redis.differential_commands import ALL_KEYS, Words, commands, history

EXAMPLES = {"nightly": 5000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 120)
TOLERANCE_MS = 3000

CALL = b"return redis.call(unpack(ARGV))"
PCALL = b"local r = redis.pcall(unpack(ARGV)); if type(r) == 'table' and r.err then return {err = r.err} end; return r"
INSPECT = b"""
local r = redis.pcall(unpack(ARGV))
if type(r) ~= 'table' then return {type(r), r} end
return {type(r), r.ok or false, r.err or false, #r, r}
"""
TWICE = b"local a = redis.pcall(unpack(ARGV)); return {a, redis.pcall(unpack(ARGV))}"
SCRIPTS = [CALL, PCALL, INSPECT, TWICE]


@frozen
class Step:
    """How commands are sent: alone, through a script, in a transaction; or the time that passes."""

    how: str
    commands: tuple[Words, ...] = ()
    script: bytes = b""


steps = st.one_of(
    *[commands.map(lambda words: Step("plain", (words,)))] * 6,
    st.tuples(commands, st.sampled_from(SCRIPTS)).map(lambda drawn: Step("eval", (drawn[0],), drawn[1])),
    st.lists(commands, max_size=4).map(lambda several: Step("transaction", tuple(several))),
    st.sampled_from(ALL_KEYS).map(lambda key: Step("expire", ([b"PEXPIRE", key, b"1"],))),
)


sequences = st.tuples(
    st.lists(history.map(lambda words: Step("plain", (words,))), max_size=15), st.lists(steps, min_size=10, max_size=40)
).map(lambda drawn: drawn[0] + drawn[1])


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
            self._reader.feed(self._socket.recv(65536))
        return reply

    def answered(self) -> bool:
        """Tell whether there is something to receive."""
        return bool(select.select([self._socket], [], [], 0)[0])


@pytest.fixture(scope="module")
def real(start_redis: StartRedis) -> Iterator[RealRedis]:
    with start_redis() as server, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(server.socket))
        yield RealRedis(connection)


async def execute(memory: Transport, words: Words) -> Any:
    try:
        return await memory.execute(words)
    except ResponseError as error:
        return error


def words_of(step: Step) -> list[Words]:
    if step.how == "eval":
        return [[b"EVAL", step.script, b"0", *step.commands[0]]]
    if step.how == "transaction":
        return [[b"MULTI"], *step.commands, [b"EXEC"]]
    return list(step.commands)


def in_script(step: Step) -> bool:
    return step.how == "eval"


# --- what can't be equal ----------------------------------------------------------------------------------------------

SCRIPT_LINE = re.compile(r" script: [0-9a-f]{40}, on @?user_script:\d+\.$")
UNORDERED = {b"SMEMBERS", b"KEYS", b"SCAN"}
TIMED = {b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"XPENDING", b"XINFO"}
TREE_SIZES = {b"radix-tree-keys", b"radix-tree-nodes"}


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
        # A time follows its name in XINFO; in a pending entry it is the third, or in XINFO the second of three.
        pairs = zip([None, *one], one, other, strict=False)
        return len(one) == len(other) and all(
            any(label == name for name in TREE_SIZES)
            or (close(*pair) if at == 2 or label == b"idle" or big_or_list(pair[0]) else pair[0] == pair[1])
            for at, (label, *pair) in enumerate(pairs)
        )
    if type(one) is int and type(other) is int:
        return one == other or (one >= 0 and other >= 0 and abs(one - other) < TOLERANCE_MS)
    return bool(one == other)


def big_or_list(item: Any) -> bool:
    return isinstance(item, list) or (isinstance(item, int) and item > TOLERANCE_MS)


# --- the comparison ---------------------------------------------------------------------------------------------------

DUMPS: dict[bytes, list[Words]] = {
    b"string": [[b"GET"]],
    b"hash": [[b"HGETALL"]],
    b"set": [[b"SMEMBERS"]],
    b"list": [[b"LRANGE", b"0", b"-1"]],
    b"zset": [[b"ZRANGE", b"0", b"-1", b"WITHSCORES"]],
    b"stream": [[b"XINFO", b"STREAM", b"FULL", b"COUNT", b"0"]],
    b"none": [],
}


def dump_of(kind: bytes, key: bytes) -> list[Words]:
    found: list[Words] = [[b"PTTL", key]]
    for words in DUMPS[kind]:
        at = 2 if words[0] == b"XINFO" else 1
        found.append([*words[:at], key, *words[at:]])
    return found


async def compare(real: RealRedis, steps: list[Step]) -> None:
    memory = open_memory_transport("memory://differential")
    real.execute_all([[b"FLUSHALL"]])
    for step in steps:
        await compare_step(real, memory, step)
    keys = sorted(set(await execute(memory, [b"KEYS", b"*"])) | set(ALL_KEYS))
    for key in keys:
        kind = real.execute_all([[b"TYPE", key]])[0]
        assert await execute(memory, [b"TYPE", key]) == kind, f"the type of {key!r}"
        for words in dump_of(kind, key):
            (expected,), got = real.execute_all([words]), await execute(memory, words)
            assert same(words, comparable(got), comparable(expected)), f"{words}\n memory {got}\n real   {expected}"


async def compare_step(real: RealRedis, memory: Transport, step: Step) -> None:
    sent = words_of(step)
    note(f"{step.how} {sent}")
    expected = real.execute_all(sent)
    got = await memory.execute_all(sent) if step.how == "transaction" else [await execute(memory, sent[0])]
    if step.how == "expire":
        time.sleep(0.004)  # noqa: ASYNC251 - both servers go by the wall clock here
    for words, one, other in zip(sent, comparable(got), comparable(expected), strict=True):
        if words == [b"EXEC"] and isinstance(one, list) and isinstance(other, list):
            assert len(one) == len(other)
            triples = zip((words for words, reply in zip(sent[1:-1], one, strict=True)), one, other, strict=True)
        else:
            triples = iter([(words, one, other)])
        for each, first, second in triples:
            assert same(each, first, second), f"{each}\n memory {first}\n real   {second}"


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(steps=sequences)
def test_every_reply_and_every_key_is_the_same(real: RealRedis, steps: list[Step]) -> None:
    anyio.run(compare, real, steps)
