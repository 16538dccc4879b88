from __future__ import annotations

import anyio
import pytest
from redis.exceptions import NoPermissionError

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.transport import Message
from docket_anyio._redis.url import parse_url
from tests.conftest import StartRedis
from tests.redis.proxy import Proxy
from tests.servers import RedisServer


async def listeners(redis: Redis, channel: str) -> int:
    [(_, count)] = await redis.pubsub_numsub(channel)
    return int(count)


async def test_is_entered_when_the_server_listens(redis: Redis, unique: str) -> None:
    async with redis.transport.open_subscription(channels=[unique], patterns=[f"{unique}:*"]) as subscription:
        assert await redis.publish(unique, "to the channel") == 1
        assert await redis.publish(f"{unique}:x", "to the pattern") == 1
        assert await subscription.receive() == Message(unique.encode(), b"to the channel")
        pattern = f"{unique}:*".encode()
        assert await subscription.receive() == Message(f"{unique}:x".encode(), b"to the pattern", pattern)
    while await listeners(redis, unique):  # noqa: ASYNC110 - only the server knows
        await anyio.sleep(0.001)


async def test_all_subscriptions_share_one_connection(through_proxy: Redis, proxy: Proxy, unique: str) -> None:
    await through_proxy.ping()
    open_subscription = through_proxy.transport.open_subscription
    async with open_subscription(channels=[unique]), open_subscription(channels=[unique]), open_subscription():
        assert proxy.connections == 2
        assert proxy.requests.count(b"SUBSCRIBE") == 1
    async with open_subscription(channels=[unique]):
        assert proxy.connections == 3


async def test_many_may_open_at_once(redis: Redis, unique: str) -> None:
    received = 0
    ready = 0
    all_ready = anyio.Event()

    async def listen(number: int) -> None:
        nonlocal received, ready
        channels = [unique, f"{unique}{number % 3}"]
        async with redis.transport.open_subscription(channels=channels) as subscription:
            ready += 1
            if ready == 30:
                all_ready.set()
            while (await subscription.receive()).channel != unique.encode():
                pass
            received += 1

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(listen, number)
            await all_ready.wait()
            await redis.publish(f"{unique}1", "not for all")
            assert await redis.publish(unique, "for all") == 1
    assert received == 30


async def test_subscribes_while_another_one_reads(redis: Redis, unique: str) -> None:
    async with redis.transport.open_subscription(channels=[unique]) as first, anyio.create_task_group() as group:
        got: list[Message] = []

        async def receive() -> None:
            got.append(await first.receive())

        group.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        async with redis.transport.open_subscription(channels=[unique + "x"]) as second:
            await redis.publish(unique + "x", 2)
            await redis.publish(unique, 1)
            assert (await second.receive()).data == b"2"
    assert [message.data for message in got] == [b"1"]


async def test_the_one_who_reads_for_all_may_be_cancelled(redis: Redis, unique: str) -> None:
    open_subscription = redis.transport.open_subscription
    async with open_subscription(channels=[unique]) as first, open_subscription(channels=[unique]) as second:
        got: list[Message] = []

        async def receive() -> None:
            got.append(await second.receive())

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as readers:
                    readers.start_soon(first.receive)
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(receive)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            await redis.publish(unique, "hello")
        assert [message.data for message in got] == [b"hello"]
        assert (await first.receive()).data == b"hello"


async def test_leaving_does_not_end_what_others_listen_to(redis: Redis, unique: str) -> None:
    async with redis.transport.open_subscription(channels=[unique, unique + "x"]) as stays:
        for _ in range(10):
            async with redis.transport.open_subscription(channels=[unique], patterns=[unique + "*"]):
                pass
            await redis.publish(unique, "hello")
            assert (await stays.receive()).data == b"hello"
        assert await listeners(redis, unique) == 1


async def test_subscribing_again_at_once_works(redis: Redis, unique: str) -> None:
    async with redis.transport.open_subscription(channels=[unique + "keep"]):
        for number in range(50):
            async with redis.transport.open_subscription(channels=[unique]) as subscription:
                assert await redis.publish(unique, number) == 1
                assert (await subscription.receive()).data == str(number).encode()


async def test_leaving_while_cancelled(redis: Redis, unique: str) -> None:
    async with redis.transport.open_subscription(channels=[unique + "keep"]) as keep:
        with anyio.CancelScope() as scope:
            async with redis.transport.open_subscription(channels=[unique]):
                scope.cancel()
                await anyio.sleep(1)
        await redis.publish(unique + "keep", "x")
        await keep.receive()
        assert await listeners(redis, unique) == 0


async def test_a_lost_connection_is_told_to_every_subscription(
    redis_server: RedisServer, redis: Redis, unique: str
) -> None:
    async with connect(parse_url(f"{redis_server.url}?client_name={unique}")) as client:
        open_subscription = client.transport.open_subscription
        async with open_subscription(channels=[unique]) as first, open_subscription(channels=[unique]) as second:
            lost = 0

            async def receive(which: int) -> None:
                nonlocal lost
                with pytest.raises(Disconnected):
                    await (first, second)[which].receive()
                lost += 1

            async with anyio.create_task_group() as group:
                group.start_soon(receive, 0)
                group.start_soon(receive, 1)
                await anyio.wait_all_tasks_blocked()
                await redis.client_kill_filter(_type="pubsub")
            assert lost == 2
            # A new subscription does not wait for the lost ones to leave.
            async with open_subscription(channels=[unique]) as third:
                await redis.publish(unique, "hello")
                assert (await third.receive()).data == b"hello"


async def test_a_connection_lost_unnoticed_is_not_joined(redis: Redis, unique: str) -> None:
    async with redis.transport.open_subscription(channels=[unique]) as first:
        await redis.client_kill_filter(_type="pubsub")
        async with redis.transport.open_subscription(channels=[unique]) as second:
            await redis.publish(unique, "hello")
            assert (await second.receive()).data == b"hello"
        with pytest.raises(Disconnected):
            await first.receive()


async def test_who_does_not_read_loses_its_subscription_and_nobody_elses(redis: Redis, unique: str) -> None:
    open_subscription = redis.transport.open_subscription
    async with open_subscription(channels=[unique]) as reads, open_subscription(channels=[unique]) as sleeps:
        for start in range(0, 11_000, 500):
            pipe = redis.pipeline(transaction=False)
            for number in range(start, start + 500):
                pipe.publish(unique, number)
            await pipe.execute()
            for number in range(start, start + 500):
                assert (await reads.receive()).data == str(number).encode()
        for number in range(10_000):
            assert (await sleeps.receive()).data == str(number).encode()
        with pytest.raises(Disconnected, match="too slowly"):
            await sleeps.receive()


async def test_one_task_reads_a_subscription(redis: Redis, unique: str) -> None:
    open_subscription = redis.transport.open_subscription
    async with open_subscription(channels=[unique]) as subscription, anyio.create_task_group() as group:
        group.start_soon(subscription.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await subscription.receive()
        group.cancel_scope.cancel()


async def test_a_refused_subscription_is_its_own_affair(start_redis: StartRedis) -> None:
    with start_redis("--user", "limited", "on", ">pw", "~*", "resetchannels", "&allowed*", "+@all") as server:
        client = connect(parse_url(f"redis://limited:pw@127.0.0.1:{server.port}"))
        async with client, client.transport.open_subscription(channels=["allowed"]) as subscription:
            with pytest.raises(NoPermissionError):
                async with client.transport.open_subscription(channels=["forbidden"]):
                    raise AssertionError("entered")
            await client.publish("allowed", "hello")
            assert (await subscription.receive()).data == b"hello"


async def test_a_silent_channel_is_not_a_lost_connection(proxy: Proxy, redis: Redis, unique: str) -> None:
    client = connect(parse_url(f"{proxy.url}?socket_timeout=0.1"))
    async with client, client.transport.open_subscription(channels=[unique]) as subscription:
        with anyio.move_on_after(0.25):
            await subscription.receive()
        assert proxy.requests.count(b"PING") >= 2
        await redis.publish(unique, "hello")
        assert (await subscription.receive()).data == b"hello"
        proxy.mute = True
        with anyio.fail_after(2), pytest.raises(Disconnected, match="did not answer in time"):
            await subscription.receive()


async def test_closing_the_client_ends_subscriptions(redis_server: RedisServer, unique: str) -> None:
    client = connect(parse_url(redis_server.url))
    async with client.transport.open_subscription(channels=[unique]) as subscription:
        await client.aclose()
        with pytest.raises(Disconnected, match="the client was closed"):
            await subscription.receive()
    with pytest.raises(Disconnected, match="the client was closed"):
        async with client.transport.open_subscription(channels=[unique]):
            raise AssertionError("entered")
