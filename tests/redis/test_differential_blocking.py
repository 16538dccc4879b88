"""Clients that block on memory:// and on a real redis-server are woken by the same commands, with the same replies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from docket_anyio._redis.memory.transport import open_memory_transport
from tests.conftest import StartRedis
from tests.redis.differential import EXAMPLES, RealRedis, comparable, execute, open_real
from tests.redis.differential_commands import Words, command, of, optional

STILL_BLOCKED = "still blocked"
ADD_TWO = b"redis.call('XADD', 's1', '*', 'f', '1'); return redis.call('XADD', 's1', '*', 'f', '2')"

stream = of([b"s1", b"s1", b"s2"])
blocked = st.one_of(
    *[
        command(
            *(b"XREADGROUP", b"GROUP", b"g1", of([b"c1", b"c2"]), optional(b"COUNT", b"1"), b"BLOCK", b"0"),
            *(b"STREAMS", stream, b">"),
        )
    ]
    * 3,
    command(b"XREAD", optional(b"COUNT", b"1"), b"BLOCK", b"0", b"STREAMS", stream, b"$"),
    command(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s1", b"s2", b"$", b"$"),
)
deeds = st.one_of(
    *[command(b"XADD", stream, st.integers(1, 60).map(lambda ms: b"%d-*" % ms), b"f", b"v").map(lambda words: [words])]
    * 4,
    st.sampled_from(
        [
            [[b"DEL", b"s1"]],
            [[b"SET", b"s1", b"text"]],
            [[b"RENAME", b"s2", b"s1"]],
            [[b"XGROUP", b"DESTROY", b"s1", b"g1"]],
            [[b"XGROUP", b"CREATE", b"s1", b"g1", b"0", b"MKSTREAM"]],
            [[b"XGROUP", b"SETID", b"s1", b"g1", b"0"]],
            [[b"FLUSHALL"]],
            [[b"EVAL", ADD_TWO.replace(b"*", b"70-*"), b"0"]],
            [[b"MULTI"], [b"XADD", b"s1", b"80-1", b"f", b"v"], [b"XDEL", b"s1", b"80-1"], [b"EXEC"]],
            [[b"MULTI"], [b"XADD", b"s1", b"80-1", b"f", b"v"], [b"XADD", b"s2", b"80-1", b"f", b"v"], [b"EXEC"]],
            [[b"MULTI"], [b"DEL", b"s1"], [b"XADD", b"s1", b"90-1", b"f", b"v"], [b"EXEC"]],
            [[b"XTRIM", b"s1", b"MAXLEN", b"0"]],
            [[b"XREADGROUP", b"GROUP", b"g1", b"c3", b"STREAMS", b"s1", b">"]],
        ]
    ),
)


@frozen
class Server:
    path: Path
    main: RealRedis


@pytest.fixture(scope="module")
def real(start_redis: StartRedis, redis_version: tuple[int, ...]) -> Iterator[Server]:
    if redis_version < (7,):
        pytest.skip("memory:// follows Redis 7.0, which knows more options and says some errors in other words")
    with start_redis() as server, open_real(server.socket) as connection:
        yield Server(server.socket, connection)


BEGINNING: list[Words] = [
    [b"FLUSHALL"],
    [b"XADD", b"s1", b"1-1", b"f", b"v"],
    [b"XADD", b"s2", b"1-1", b"f", b"v"],
    [b"XGROUP", b"CREATE", b"s1", b"g1", b"$"],
    [b"XGROUP", b"CREATE", b"s2", b"g1", b"$"],
]
END: list[Words] = [[b"XPENDING", b"s1", b"g1"], [b"XPENDING", b"s2", b"g1"], [b"XINFO", b"GROUPS", b"s1"]]


def really(server: Server, readers: list[Words], acts: list[list[Words]]) -> list[Any]:
    """What a real server answers to the readers, and to the others meanwhile."""
    server.main.execute_all(BEGINNING)
    with ExitStack() as stack:
        clients = [stack.enter_context(open_real(server.path)) for _ in readers]
        for count, (client, words) in enumerate(zip(clients, readers, strict=True), 1):
            client.send([words])
            # Blocked before the next one is: the order matters.
            while b"blocked_clients:%d\r" % count not in server.main.execute_all([[b"INFO", b"clients"]])[0]:
                pass
        answers = [server.main.execute_all(act) for act in acts]
        # Two turns of its loop, after which whatever it had to say to the others is on its way.
        server.main.execute_all([[b"PING"]])
        server.main.execute_all([[b"PING"]])
        woken = [client.receive() if client.answered() else STILL_BLOCKED for client in clients]
        return [comparable(woken), comparable(answers), comparable(server.main.execute_all(END))]


async def in_memory(readers: list[Words], acts: list[list[Words]]) -> list[Any]:
    memory = open_memory_transport("memory://")
    await memory.execute_all(BEGINNING)
    woken: list[Any] = [STILL_BLOCKED] * len(readers)

    async def read(at: int, words: Words) -> None:
        async with memory.open_blocking() as client:
            try:
                woken[at] = await client.execute(words)
            except ResponseError as error:
                woken[at] = error

    async with anyio.create_task_group() as group:
        for at, words in enumerate(readers):
            group.start_soon(read, at, words)
            await wait_all_tasks_blocked()
        answers = [await memory.execute_all(act) for act in acts]
        await wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    return [comparable(woken), comparable(answers), comparable([await execute(memory, words) for words in END])]


@pytest.mark.timeout(60 + EXAMPLES // 4)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(readers=st.lists(blocked, min_size=1, max_size=3), acts=st.lists(deeds, min_size=1, max_size=5))
def test_blocked_clients_are_served_alike(real: Server, readers: list[Words], acts: list[list[Words]]) -> None:
    expected = really(real, readers, acts)
    # On asyncio, waiting until all tasks are blocked takes a tenth of a second.
    assert anyio.run(in_memory, readers, acts, backend="trio") == expected
