"""memory:// and a real redis-server are given the same commands, and every reply and every key is compared."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docket_anyio._redis.memory.transport import open_memory_transport
from docket_anyio._redis.transport import Transport
from tests.conftest import StartRedis
from tests.redis.differential import EXAMPLES, RealRedis, comparable, execute, open_real, same
from tests.redis.differential_commands import ALL_KEYS, Words, commands, history

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
    st.lists(history.map(lambda words: Step("plain", (words,))), max_size=15), st.lists(steps, min_size=20, max_size=60)
).map(lambda drawn: drawn[0] + drawn[1])


@pytest.fixture(scope="module")
def real(start_redis: StartRedis, redis_version: tuple[int, ...]) -> Iterator[RealRedis]:
    if redis_version < (7,):
        pytest.skip("memory:// follows Redis 7.0, which knows more options and says some errors in other words")
    with start_redis() as server, open_real(server.socket) as connection:
        yield connection


def words_of(step: Step) -> list[Words]:
    if step.how == "eval":
        return [[b"EVAL", step.script, b"0", *step.commands[0]]]
    if step.how == "transaction":
        return [[b"MULTI"], *step.commands, [b"EXEC"]]
    return list(step.commands)


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
    expected = real.execute_all(sent)
    got = await memory.execute_all(sent) if step.how == "transaction" else [await execute(memory, sent[0])]
    if step.how == "expire":
        time.sleep(0.004)  # noqa: ASYNC251 - both servers go by the wall clock here
        # A real server counts a key that has expired until somebody looks at it.
        real.execute_all([[b"EXISTS", step.commands[0][1]]])
    for words, one, other in zip(sent, comparable(got), comparable(expected), strict=True):
        if words == [b"EXEC"] and isinstance(one, list) and isinstance(other, list):
            assert len(one) == len(other)
            triples = zip((words for words, reply in zip(sent[1:-1], one, strict=True)), one, other, strict=True)
        else:
            triples = iter([(words, one, other)])
        for each, first, second in triples:
            assert same(each, first, second), f"{each}\n memory {first}\n real   {second}"


PARAGRAPHS = Path(__file__).with_name("differential_examples.txt").read_text().split("\n\n")[1:]


@pytest.mark.parametrize("how", ["plain", "eval", "transaction"])
@pytest.mark.parametrize("paragraph", PARAGRAPHS, ids=[paragraph.split("\n")[0] for paragraph in PARAGRAPHS])
def test_what_chance_seldom_brings_is_the_same(real: RealRedis, paragraph: str, how: str) -> None:
    lines = [[word.encode() for word in shlex.split(line)] for line in paragraph.strip().split("\n")]
    if how == "transaction":
        steps = [Step(how, tuple(lines[at : at + 5])) for at in range(0, len(lines), 5)]
    else:
        steps = [Step(how, (words,), PCALL) for words in lines]
    anyio.run(compare, real, steps)


@pytest.mark.timeout(60 + EXAMPLES // 4)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(steps=sequences)
def test_every_reply_and_every_key_is_the_same(real: RealRedis, steps: list[Step]) -> None:
    anyio.run(compare, real, steps)
