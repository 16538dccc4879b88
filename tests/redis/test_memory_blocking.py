"""Readers that block on memory://: woken at once and in order, by the loop's time, and losing nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from random import Random
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from redis.exceptions import ResponseError
from trio.testing import MockClock

from docket_anyio._redis.memory.transport import open_memory_transport
from docket_anyio._redis.transport import Transport
from tests.clocks import Stopwatch

READ = ["XREADGROUP", "GROUP", "group", "me", "COUNT", 10, "BLOCK", 0, "STREAMS", "stream", ">"]


@pytest.fixture
async def memory(anyio_backend: object, unique: str) -> AsyncGenerator[Transport]:
    transport = open_memory_transport(f"memory://{unique}")
    await transport.execute(["XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM"])
    yield transport
    await transport.aclose()


def in_virtual_time(test: Callable[[], Any]) -> None:
    anyio.run(test, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def entry(number: int) -> list[Any]:
    return [b"%d-0" % number, [b"field", b"value"]]


async def add(memory: Transport, *numbers: int) -> None:
    await memory.execute_all([["XADD", "stream", f"{number}-0", "field", "value"] for number in numbers])


async def test_a_reader_is_woken_by_the_command_that_adds(memory: Transport) -> None:
    replies: list[Any] = []

    async def read() -> None:
        async with memory.open_blocking() as blocking:
            replies.append(await blocking.execute(READ))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await add(memory, 1)
        assert await memory.execute(["XPENDING", "stream", "group"]) == [1, b"1-0", b"1-0", [[b"me", b"1"]]]
    assert replies == [[[b"stream", [entry(1)]]]]


async def test_readers_are_served_in_the_order_in_which_they_came(memory: Transport) -> None:
    served: list[tuple[int, Any]] = []

    async def read(who: int) -> None:
        async with memory.open_blocking() as blocking:
            reply: Any = await blocking.execute(["XREADGROUP", "GROUP", "group", who, "COUNT", 1, *READ[6:]])
            served.append((who, reply[0][1][0][0]))

    async with anyio.create_task_group() as group:
        for who in range(4):
            group.start_soon(read, who)
            await anyio.wait_all_tasks_blocked()
        await add(memory, 1, 2)
        await add(memory, 3, 4)
    assert sorted(served) == [(0, b"1-0"), (1, b"2-0"), (2, b"3-0"), (3, b"4-0")]


async def test_every_reader_of_xread_gets_everything(memory: Transport) -> None:
    replies: list[Any] = []

    async def read() -> None:
        async with memory.open_blocking() as blocking:
            replies.append(await blocking.execute(["XREAD", "BLOCK", 0, "STREAMS", "other", "stream", "$", "$"]))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await memory.execute(["EVAL", "return redis.call('XADD', 'stream', '1-0', 'field', 'value')", 0])
    assert replies == [[[b"stream", [entry(1)]]]] * 2


async def test_what_is_there_is_read_without_blocking(memory: Transport) -> None:
    await add(memory, 1)
    async with memory.open_blocking() as blocking:
        assert await blocking.execute(READ) == [[b"stream", [entry(1)]]]
        assert await blocking.execute([*READ[:-1], "0"]) == [[b"stream", [entry(1)]]]


async def test_destroying_the_group_wakes_with_an_error(memory: Transport) -> None:
    async def read() -> None:
        async with memory.open_blocking() as blocking:
            with pytest.raises(ResponseError, match="NOGROUP the consumer group"):
                await blocking.execute(READ)
            assert blocking.take_leftover() is None

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await memory.execute(["XGROUP", "DESTROY", "stream", "group"])


async def test_client_unblock(memory: Transport) -> None:
    replies: list[Any] = []

    async def read(number: anyio.Event, numbers: list[Any]) -> None:
        async with memory.open_blocking() as blocking:
            numbers.append(await blocking.execute(["CLIENT", "ID"]))
            number.set()
            try:
                replies.append(await blocking.execute(READ))
            except ResponseError as error:
                replies.append(str(error))

    for how in (["TIMEOUT"], ["ERROR"], []):
        numbers: list[Any] = []
        known = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(read, known, numbers)
            await known.wait()
            await anyio.wait_all_tasks_blocked()
            assert await memory.execute(["CLIENT", "UNBLOCK", *numbers, *how]) == 1
        assert await memory.execute(["CLIENT", "UNBLOCK", *numbers, *how]) == 0
    assert replies == [None, "UNBLOCKED client unblocked via CLIENT UNBLOCK", None]
    with pytest.raises(ResponseError, match="reason should be TIMEOUT or ERROR"):
        await memory.execute(["CLIENT", "UNBLOCK", 1, "NOW"])


async def test_a_cancelled_reader_gives_up_its_place(memory: Transport) -> None:
    async with memory.open_blocking() as blocking:
        with anyio.move_on_after(0.001):
            await blocking.execute(READ)
        assert blocking.take_leftover() is None
        await add(memory, 1)
        assert await memory.execute(["XPENDING", "stream", "group"]) == [0, None, None, None]
        assert await blocking.execute(READ) == [[b"stream", [entry(1)]]]


async def test_a_reader_that_is_cancelled_in_the_moment_it_is_served_leaves_its_reply(memory: Transport) -> None:
    leftovers: list[Any] = []

    async def read(scope: anyio.CancelScope) -> None:
        async with memory.open_blocking() as blocking:
            with scope:
                leftovers.append(await blocking.execute(READ))
            leftovers.append(blocking.take_leftover())
            assert blocking.take_leftover() is None

    scope = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(read, scope)
        await anyio.wait_all_tasks_blocked()
        await add(memory, 1)
        scope.cancel()
    assert [[b"stream", [entry(1)]]] in leftovers


async def test_a_reader_that_is_cancelled_in_the_moment_its_group_goes(memory: Transport) -> None:
    async with memory.open_blocking() as blocking, anyio.create_task_group() as group:

        async def read() -> None:
            with contextlib.suppress(ResponseError):
                await blocking.execute(READ)

        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await memory.execute(["XGROUP", "DESTROY", "stream", "group"])
        group.cancel_scope.cancel()
    assert blocking.take_leftover() is None


async def test_a_storm_of_cancellations_loses_nothing(memory: Transport) -> None:
    random, seen = Random(3), list[bytes]()
    count = 300

    async def consume(who: int) -> None:
        async with memory.open_blocking() as blocking:
            while len(seen) < count:
                reply: Any = None
                with anyio.move_on_after(random.choice((0, 0.0001, 0.001))):
                    reply = await blocking.execute(["XREADGROUP", "GROUP", "group", who, *READ[4:]])
                for found in (reply, blocking.take_leftover()):
                    seen.extend(words[0] for _, entries in found or () for words in entries)

    async with anyio.create_task_group() as group:
        for who in range(3):
            group.start_soon(consume, who)
        for number in range(1, count + 1):
            await add(memory, number)
            for _ in range(random.randrange(3)):
                await checkpoint()
    assert sorted(seen) == sorted(b"%d-0" % number for number in range(1, count + 1))


async def test_blocking_where_nothing_may_block(memory: Transport) -> None:
    assert await memory.execute_all([READ, ["MULTI"], READ, ["EXEC"]]) == [None, b"OK", b"QUEUED", [None]]
    with pytest.raises(ResponseError, match="XREADGROUP command is not allowed with BLOCK option from scripts"):
        await memory.execute(["EVAL", "return redis.call(unpack(ARGV))", 0, *READ])


async def test_a_blocking_command_beside_others_holds_up_nobody(memory: Transport) -> None:
    replies: list[Any] = []

    async def read() -> None:
        replies.append(await memory.execute(READ))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert await memory.execute(["PING"]) == b"PONG"
        await add(memory, 1)
    assert replies == [[[b"stream", [entry(1)]]]]


def test_an_hour_of_blocking_takes_no_time() -> None:
    async def block() -> None:
        memory, watch = open_memory_transport("memory://"), Stopwatch()
        async with memory.open_blocking() as blocking:
            reply = await blocking.execute(["XREAD", "BLOCK", 3_600_000, "STREAMS", "stream", "$"])
        assert reply is None
        assert watch.seconds() == pytest.approx(3600)
        assert watch.real_seconds() < 1

    in_virtual_time(block)


def test_a_reader_is_woken_in_the_same_instant() -> None:
    async def main() -> None:
        memory, watch = open_memory_transport("memory://"), Stopwatch()
        woken: list[float] = []

        async def read() -> None:
            async with memory.open_blocking() as blocking:
                await blocking.execute(["XREAD", "BLOCK", 3_600_000, "STREAMS", "stream", "$"])
                woken.append(watch.seconds())

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.sleep(60)
            await memory.execute(["XADD", "stream", "*", "field", "value"])
        assert woken == [60]

    in_virtual_time(main)


def test_expiry_and_time_go_by_the_loop() -> None:
    async def main() -> None:
        memory = open_memory_transport("memory://")
        began = memory.clock.timestamp()
        time: Any = await memory.execute(["TIME"])
        assert int(time[0]) + int(time[1]) / 1e6 == pytest.approx(began, abs=1e-5)
        await memory.execute_all(
            [["SET", "short", "x", "EX", 10], ["SET", "long", "x", "PX", 20_000], ["SET", "ever", "x"]]
        )
        await memory.execute_all([["SET", "moved", "x", "EX", 1], ["PERSIST", "moved"], ["EXPIRE", "moved", 9]])
        await anyio.sleep(8.9)
        assert await memory.execute(["PTTL", "moved"]) == pytest.approx(100, abs=2)
        await anyio.sleep(1)
        assert await memory.execute(["EXISTS", "short", "long", "ever"]) == 3
        assert await memory.execute(["PTTL", "short"]) == pytest.approx(100, abs=2)
        await anyio.sleep(0.2)
        assert await memory.execute_all([["KEYS", "*"], ["DBSIZE"], ["TTL", "short"]]) == [[b"long", b"ever"], 2, -2]
        assert await memory.execute(["SCAN", 0]) == [b"0", [b"long", b"ever"]]
        await anyio.sleep(3600)
        assert await memory.execute(["KEYS", "*"]) == [b"ever"]
        later: Any = await memory.execute(["TIME"])
        assert int(later[0]) - int(time[0]) == pytest.approx(3610, abs=1)
        assert memory.clock.timestamp() == pytest.approx(began + 3610.1)

    in_virtual_time(main)


def test_a_lease_renewed_for_days_leaves_nothing_behind() -> None:
    async def main() -> None:
        memory = open_memory_transport("memory://")
        for _ in range(2000):
            await memory.execute(["SET", "lease", "me", "EX", 86_400])
            await anyio.sleep(20)
        assert len(memory._server.keyspace._next_to_expire) < 100

    in_virtual_time(main)


def test_measuring_the_clock_does_not_move_the_servers_time() -> None:
    async def main() -> None:
        memory = open_memory_transport("memory://")
        before: Any = await memory.execute(["TIME"])
        memory.clock.measured(0, asked_at=anyio.current_time(), answered_at=anyio.current_time())
        assert await memory.execute(["TIME"]) == before

    in_virtual_time(main)
