"""What a lost connection does to the commands under way."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.script import Script
from docket_anyio._redis.url import parse_url
from tests.redis.proxy import Proxy

INCREASE = Script("return redis.call('INCR', KEYS[1])")


async def test_a_command_whose_reply_was_lost_is_not_sent_again(
    through_proxy: Redis, proxy: Proxy, redis: Redis, unique: str
) -> None:
    proxy.cut_after = unique.encode()
    with pytest.raises(Disconnected) as caught:
        await through_proxy.incr(unique)
    assert caught.value.maybe_executed
    assert await redis.get(unique) == b"1"
    assert await through_proxy.incr(unique) == 2


async def test_a_repeatable_command_is(through_proxy: Redis, proxy: Proxy, unique: str) -> None:
    proxy.cut_after = unique.encode()
    assert await through_proxy.transport.execute(("INCR", unique), repeatable=True) == 2


async def test_a_command_that_only_reads_is(through_proxy: Redis, proxy: Proxy, unique: str) -> None:
    proxy.cut_after = unique.encode()
    assert await through_proxy.get(unique) is None
    assert proxy.requests.count(unique.encode()) == 2


@pytest.mark.parametrize("repeatable", [False, True])
async def test_scripts_and_bundles_are_as_their_caller_says(
    through_proxy: Redis, proxy: Proxy, unique: str, *, repeatable: bool
) -> None:
    await through_proxy.script_load(INCREASE.text)
    proxy.cut_after = b"EVALSHA"
    if repeatable:
        assert await through_proxy.run_script(INCREASE, [unique], [], repeatable=True) == 2
    else:
        with pytest.raises(Disconnected):
            await through_proxy.run_script(INCREASE, [unique], [])
    proxy.cut_after = b"MGET"
    bundle = [("MGET", unique), ("INCR", unique)]
    if repeatable:
        assert await through_proxy.transport.execute_all(bundle, repeatable=True) == [[b"3"], 4]
    else:
        with pytest.raises(Disconnected):
            await through_proxy.transport.execute_all(bundle)


async def test_sending_again_comes_to_an_end(through_proxy: Redis, proxy: Proxy, unique: str) -> None:
    await through_proxy.ping()

    async def cut_again() -> None:
        while True:
            proxy.cut_after = unique.encode()
            await checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(cut_again)
        with pytest.raises(Disconnected) as caught:
            await through_proxy.transport.execute(("INCR", unique), repeatable=True)
        group.cancel_scope.cancel()
    assert caught.value.maybe_executed


async def test_everyone_in_line_is_told(through_proxy: Redis, proxy: Proxy, unique: str) -> None:
    await through_proxy.ping()
    proxy.mute = True
    told: list[bool] = []

    async def increase() -> None:
        with pytest.raises(Disconnected) as caught:
            await through_proxy.incr(unique)
        told.append(caught.value.maybe_executed)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(increase)
        await anyio.wait_all_tasks_blocked()
        await proxy.cut()
    assert told == [True] * 5


async def test_a_server_that_falls_silent_is_given_up(proxy: Proxy, unique: str) -> None:
    async with connect(parse_url(f"{proxy.url}?socket_timeout=0.2")) as client:
        await client.ping()
        proxy.mute = True
        with pytest.raises(Disconnected, match="did not answer within 0\\.2 seconds") as caught:
            await client.incr(unique)
        assert caught.value.maybe_executed
        proxy.mute = False
        assert await client.incr(unique) == 2


async def test_what_is_not_redis_is_given_up() -> None:
    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, greet)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with connect(parse_url(f"redis://127.0.0.1:{port}")) as client:
            with pytest.raises(Disconnected, match="does not speak the protocol"):
                await client.ping()
        group.cancel_scope.cancel()


async def test_pubsub_and_blocking_connections_are_told_too(
    through_proxy: Redis, proxy: Proxy, redis: Redis, unique: str
) -> None:
    transport = through_proxy.transport
    async with transport.open_subscription(channels=[unique]) as subscription, transport.open_blocking() as blocking:

        async def wait_for_item() -> None:
            with pytest.raises(Disconnected) as caught:
                await blocking.execute(("BLPOP", unique, 0))
            assert caught.value.maybe_executed

        async def wait_for_message() -> None:
            with pytest.raises(Disconnected):
                await subscription.receive()

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_item)
            group.start_soon(wait_for_message)
            await anyio.wait_all_tasks_blocked()
            await proxy.cut()
        await redis.rpush(unique, "item")
        assert await blocking.execute(("BLPOP", unique, 0)) == [unique.encode(), b"item"]
        with pytest.raises(Disconnected):
            await subscription.receive()
    async with transport.open_subscription(channels=[unique]) as subscription:
        await redis.publish(unique, "hello")
        assert (await subscription.receive()).data == b"hello"
