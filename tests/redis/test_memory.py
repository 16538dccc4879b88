"""memory:// as a transport: whose server it is, how long it lives, what it answers in which form."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from redis.exceptions import DataError, NoScriptError, RedisError, ResponseError

from docket_anyio._redis.client import connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.memory.transport import open_memory_transport
from docket_anyio._redis.transport import Transport
from docket_anyio._redis.url import parse_url
from tests.redis.cancelling import cancel_at_every_await


@pytest.fixture
async def memory(anyio_backend: object, unique: str) -> AsyncGenerator[Transport]:
    transport = open_memory_transport(f"memory://{unique}")
    yield transport
    await transport.aclose()


async def test_one_server_for_each_url(memory: Transport, unique: str) -> None:
    await memory.execute(["SET", "key", "value"])
    assert await open_memory_transport(f"memory://{unique}").execute(["GET", "key"]) == b"value"
    assert await open_memory_transport(f"memory://{unique}-2").execute(["GET", "key"]) is None


async def test_closing_one_client_leaves_the_data_to_the_others(memory: Transport, unique: str) -> None:
    other = open_memory_transport(f"memory://{unique}")
    await other.execute(["SET", "key", "value"])
    await other.aclose()
    await other.aclose()
    assert await memory.execute(["GET", "key"]) == b"value"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_server_for_each_loop_freed_with_it(backend: str) -> None:
    servers: list[weakref.ref[Any]] = []

    async def use() -> None:
        transport = open_memory_transport("memory://")
        assert await transport.execute(["INCR", "key"]) == 1
        assert await transport.execute(["EVAL", "return redis.call('INCR', 'key')", 0]) == 2
        async with transport.open_blocking() as blocking:
            with anyio.move_on_after(0.001):
                await blocking.execute(["XREAD", "BLOCK", 0, "STREAMS", "stream", "$"])
        async with transport.open_subscription(channels=["channel"]):
            await transport.execute(["PUBLISH", "channel", "text"])
        servers.extend(weakref.ref(each) for each in (transport._server, transport._server.scripts._lua))

    anyio.run(use, backend=backend)
    anyio.run(use, backend=backend)
    gc.collect()
    assert [server() for server in servers] == [None] * 4


async def test_arguments_are_encoded_as_on_the_wire(memory: Transport) -> None:
    values = [1, -2, 1.5, 1e22, 0.1, "café", b"\x00\xff", bytearray(b"array"), memoryview(b"view")]
    await memory.execute(["RPUSH", "list", *values])  # type: ignore[list-item]
    assert await memory.execute(["LRANGE", "list", 0, -1]) == [
        *(b"1", b"-2", b"1.5", b"1e+22", b"0.1", "café".encode(), b"\x00\xff", b"array", b"view")
    ]


@pytest.mark.parametrize("value", [True, None, object()], ids=["bool", "None", "object"])
async def test_what_has_no_encoding_is_refused(memory: Transport, value: Any) -> None:
    with pytest.raises(DataError, match="Convert to a bytes, string, int or float first"):
        await memory.execute(["SET", "key", value])


async def test_replies_are_raw(memory: Transport) -> None:
    reply = await memory.execute(["SET", "key", 1])
    assert (reply, type(reply)) == (b"OK", bytes)
    status = await memory.execute(["EVAL", "return redis.call('SET', 'key', 2)", 0])
    assert (status, type(status)) == (b"OK", bytes)
    assert await memory.execute(["HGETALL", "missing"]) == []


async def test_errors_are_those_of_redis_py(memory: Transport) -> None:
    await memory.execute(["SET", "key", "text"])
    with pytest.raises(ResponseError, match="WRONGTYPE Operation against a key"):
        await memory.execute(["HGET", "key", "field"])
    with pytest.raises(NoScriptError):
        await memory.execute(["EVALSHA", "0" * 40, 0])
    with pytest.raises(ResponseError, match=r"^unknown command 'NOSUCH', with args beginning with: 'a' $"):
        await memory.execute(["NOSUCH", "a"])


async def test_a_cancelled_command_was_not_executed(memory: Transport) -> None:
    executed = 0

    async def check() -> None:
        nonlocal executed
        reply = await memory.execute(["GETDEL", "key"])
        executed += reply == b"1"

    assert await cancel_at_every_await(lambda: memory.execute(["INCR", "key"]), check) == 1
    assert executed == 1


async def test_a_cancelled_pipeline_was_not_executed(memory: Transport) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await memory.execute_all([["SET", "key", 1], ["SET", "key", 2]])
    assert await memory.execute(["EXISTS", "key"]) == 0


async def test_a_transaction_is_in_one_piece(memory: Transport) -> None:
    replies = await memory.execute_all([["MULTI"], ["SET", "n", 1], ["LPUSH", "n", 1], ["INCR", "n"], ["EXEC"]])
    assert replies[:4] == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED"]
    done = replies[4]
    assert isinstance(done, list)
    assert (done[0], type(done[1]), done[2]) == (b"OK", ResponseError, 2)


async def test_a_transaction_with_a_command_that_is_none_does_nothing(memory: Transport) -> None:
    replies = await memory.execute_all([["MULTI"], ["SET", "n", 1], ["NOSUCH"], ["EXEC"]])
    assert "Transaction discarded" in str(replies[3])
    assert await memory.execute(["EXISTS", "n"]) == 0


async def test_a_transaction_that_was_not_finished_does_not_reach_into_the_next(memory: Transport) -> None:
    assert await memory.execute_all([["MULTI"], ["SET", "n", 1]]) == [b"OK", b"QUEUED"]
    assert await memory.execute_all([["SET", "n", 2], ["GET", "n"]]) == [b"OK", b"2"]


async def test_transactions_do_not_nest(memory: Transport) -> None:
    replies = await memory.execute_all([["EXEC"], ["DISCARD"], ["MULTI"], ["MULTI"], ["SET", "n", 1], ["DISCARD"]])
    assert [str(reply) if isinstance(reply, ResponseError) else reply for reply in replies] == [
        *("EXEC without MULTI", "DISCARD without MULTI", b"OK", "MULTI calls can not be nested", b"QUEUED", b"OK")
    ]
    assert await memory.execute(["EXISTS", "n"]) == 0


async def test_ids_of_the_servers_own(memory: Transport) -> None:
    first, second = await memory.execute_all([["XADD", "s", "*", "f", 1], ["XADD", "s", "MAXLEN", 1, "*", "f", 2]])
    assert await memory.execute(["XRANGE", "s", "-", "+"]) == [[second, [b"f", b"2"]]]
    assert isinstance(first, bytes)
    assert int(first.partition(b"-")[0]) == pytest.approx(memory.clock.timestamp() * 1000, abs=5000)


async def test_closed(memory: Transport) -> None:
    blocked: list[bool] = []

    async def block() -> None:
        async with memory.open_blocking() as blocking:
            with pytest.raises(Disconnected) as raised:
                await blocking.execute(["XREAD", "BLOCK", 0, "STREAMS", "stream", "$"])
            blocked.append(raised.value.maybe_executed)

    async def listen() -> None:
        async with memory.open_subscription(channels=["channel"]) as subscription:
            with pytest.raises(Disconnected):
                await subscription.receive()

    async with anyio.create_task_group() as group:
        group.start_soon(block)
        group.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        await memory.aclose()
    assert blocked == [True]
    for call in (memory.execute(["PING"]), memory.execute_all([["PING"]])):
        with pytest.raises(Disconnected) as raised:
            await call
        assert not raised.value.maybe_executed
    with pytest.raises(Disconnected):
        async with memory.open_blocking():
            pass
    with pytest.raises(Disconnected):
        async with memory.open_subscription(channels=["channel"]):
            pass


async def test_a_blocking_connection_that_was_left(memory: Transport) -> None:
    async with memory.open_blocking() as blocking:
        assert await blocking.execute(["SET", "key", 1]) == b"OK"
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await blocking.execute(["HGET", "key", "field"])
    with pytest.raises(Disconnected):
        await blocking.execute(["PING"])


async def test_redis_pys_methods_and_callbacks(anyio_backend: object, unique: str) -> None:
    async with connect(parse_url(f"memory://{unique}")) as client:
        assert await client.set("key", "value", ex=100) is True
        await client.hset("hash", mapping={"a": 1, "b": 2.5})
        assert await client.hgetall("hash") == {b"a": b"1", b"b": b"2.5"}
        await client.zadd("zset", {"one": 1})
        assert await client.zrange("zset", 0, -1, withscores=True) == [(b"one", 1.0)]
        entry = await client.xadd("stream", {"field": "value"})
        await client.xgroup_create("stream", "group", "0")
        assert await client.xreadgroup("group", "me", {"stream": ">"}) == [[b"stream", [(entry, {b"field": b"value"})]]]
        assert (await client.xpending("stream", "group"))["consumers"] == [{"name": b"me", "pending": 1}]
        assert (await client.xinfo_stream("stream"))["length"] == 1
        assert (await client.info())["redis_version"] == "7.0.15"
        async with client.pipeline() as pipeline:
            pipeline.incr("number").expire("number", 10).ttl("number")
            assert await pipeline.execute() == [1, True, 10]


async def test_clients_have_names_and_numbers(memory: Transport) -> None:
    assert await memory.execute(["CLIENT", "GETNAME"]) is None
    await memory.execute(["CLIENT", "SETNAME", "me"])
    assert await memory.execute(["CLIENT", "GETNAME"]) == b"me"
    assert isinstance(await memory.execute(["CLIENT ID"]), int)
    assert await memory.execute(["PING", "text"]) == await memory.execute(["ECHO", "text"]) == b"text"
    assert await memory.execute(["SELECT", 0]) == await memory.execute(["CLIENT", "SETINFO", "LIB-NAME", "x"]) == b"OK"
    hello = await memory.execute(["HELLO", 2])
    assert isinstance(hello, list)
    assert hello[:2] == [b"server", b"redis"]
    for words in (["SELECT", 1], ["HELLO", 3], ["AUTH", "password"]):
        with pytest.raises(RedisError):
            await memory.execute(words)
