"""A cancelled operation leaves every connection in step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from random import Random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.script import Script
from docket_anyio._redis.url import parse_url
from tests.redis.cancelling import cancel_at_every_await
from tests.redis.proxy import Proxy
from tests.servers import RedisServer

TASKS, CANCELLATIONS = 50, 200


@pytest.fixture
async def tcp(anyio_backend: object, redis_server: RedisServer) -> AsyncGenerator[Redis]:
    async with connect(parse_url(redis_server.url)) as client:
        await client.ping()
        yield client


class InStep:
    """Check that the next reply is the one to the next command, and that others can still talk."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.number = 0

    async def __call__(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(self.echo)

    async def echo(self) -> None:
        self.number += 1
        word = f"echo {self.number}"
        with anyio.fail_after(5):
            assert await self.client.echo(word) == word.encode()


async def test_ten_thousand_random_cancellations(tcp: Redis) -> None:
    random = Random(7)
    cancelled = answered = 0

    async def ask(who: int) -> None:
        nonlocal cancelled, answered
        for number in range(CANCELLATIONS):
            word = f"{who}/{number}"
            with anyio.move_on_after(random.choice((0, 0, 0.0002, 0.001, 0.005))) as scope:
                assert await tcp.echo(word) == word.encode()
                answered += 1
            cancelled += scope.cancelled_caught

    async with anyio.create_task_group() as group:
        for who in range(TASKS):
            group.start_soon(ask, who)
    await InStep(tcp)()
    assert cancelled + answered == TASKS * CANCELLATIONS
    assert cancelled > 1000
    assert answered > 500


async def test_ten_thousand_cancellations_by_others(tcp: Redis) -> None:
    random = Random(11)
    scopes: list[anyio.CancelScope] = []
    left = 0

    async def ask(who: int) -> None:
        nonlocal left
        for number in range(CANCELLATIONS):
            word = f"{who}/{number}"
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                assert await tcp.echo(word) == word.encode()
                random.choice(scopes[-TASKS:]).cancel()
        left += 1

    async with anyio.create_task_group() as group:
        for who in range(TASKS):
            group.start_soon(ask, who)
    assert left == TASKS
    await InStep(tcp)()
    assert sum(scope.cancelled_caught for scope in scopes) > 1000


@pytest.mark.parametrize("warm", [True, False])
async def test_a_command_can_be_cancelled_at_every_await(redis_server: RedisServer, *, warm: bool) -> None:
    async with connect(parse_url(redis_server.url)) as witness:
        clients: list[Redis] = []

        async def ping() -> None:
            if warm and clients:
                await clients[0].ping()
                return
            clients.append(connect(parse_url(redis_server.url)))
            await clients[-1].ping()

        async def check() -> None:
            await InStep(clients[-1])()
            await InStep(witness)()

        assert await cancel_at_every_await(ping, check) >= 1
        for client in clients:
            await client.aclose()


async def test_one_that_is_cancelled_in_company_harms_nobody(tcp: Redis) -> None:
    in_step = InStep(tcp)

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(in_step.echo)

    async def ping() -> None:
        await crowd()  # afterwards callers gather before they write
        await tcp.ping()

    async with anyio.create_task_group() as group:
        stop = anyio.Event()

        async def chat() -> None:
            while not stop.is_set():
                await in_step.echo()

        for _ in range(3):
            group.start_soon(chat)
        await cancel_at_every_await(ping, in_step)
        stop.set()


@pytest.mark.parametrize("writing", [True, False])
async def test_large_values_can_be_cancelled_at_every_await(
    tcp: Redis, redis: Redis, unique: str, *, writing: bool
) -> None:
    large = b"x" * 6_000_000
    await tcp.set(unique, large)

    async def write() -> None:
        await tcp.set(unique, large)

    async def read() -> None:
        assert len(await tcp.get(unique)) == len(large)

    assert await cancel_at_every_await(write if writing else read, InStep(tcp)) >= 1
    assert await redis.get(unique) == large
    await redis.delete(unique)


async def test_bundles_and_scripts_can_be_cancelled_at_every_await(tcp: Redis, unique: str) -> None:
    async def run() -> None:
        await tcp.script_flush()
        await tcp.run_script(Script("return redis.call('INCR', KEYS[1])"), [unique], [])
        results = await tcp.pipeline().incr(unique + "a").decr(unique + "b").execute()
        assert sum(results) == 0

    async def check() -> None:
        await InStep(tcp)()
        a, b = await tcp.mget([unique + "a", unique + "b"])
        assert int(a or 0) + int(b or 0) == 0

    assert await cancel_at_every_await(run, check) >= 4


async def test_blocking_commands_can_be_cancelled_at_every_await(tcp: Redis, redis: Redis, unique: str) -> None:
    taken = pushed = 0
    await redis.ping()
    async with tcp.transport.open_blocking() as blocking:

        async def pop() -> None:
            nonlocal taken, pushed
            pushed += 1
            await redis.rpush(unique, pushed)
            taken += await blocking.execute(("BLPOP", unique, 0)) is not None
            taken += await blocking.execute(("BLPOP", unique, 0.02)) is not None

        async def check() -> None:
            nonlocal taken
            while blocking.take_leftover() is not None:
                taken += 1
            assert await blocking.execute(("ECHO", "x")) == b"x"
            await InStep(tcp)()

        assert await cancel_at_every_await(pop, check) >= 2
        assert taken + await redis.llen(unique) == pushed


async def test_opening_and_closing_can_be_cancelled_at_every_await(tcp: Redis, redis: Redis, unique: str) -> None:
    async def block() -> None:
        async with tcp.transport.open_blocking() as blocking:
            await blocking.execute(("ECHO", "x"))

    async def listen() -> None:
        async with tcp.transport.open_subscription(channels=[unique], patterns=[unique + "*"]) as subscription:
            await redis.publish(unique, "hello")
            assert (await subscription.receive()).data == b"hello"

    for operation in (block, listen):
        assert await cancel_at_every_await(operation, InStep(tcp)) >= 2
    assert await redis.pubsub_numsub(unique) == [(unique.encode(), 0)]


async def test_one_subscriber_that_is_cancelled_harms_no_other(tcp: Redis, redis: Redis, unique: str) -> None:
    async with tcp.transport.open_subscription(channels=[unique]) as witness:
        count = 0

        async def listen() -> None:
            async with tcp.transport.open_subscription(channels=[unique, unique + "x"]) as subscription:
                await redis.publish(unique + "x", "hello")
                assert (await subscription.receive()).data == b"hello"

        async def check() -> None:
            nonlocal count
            count += 1
            async with tcp.transport.open_subscription(channels=[unique + "y"]) as other:
                await redis.publish(unique, count)
                await redis.publish(unique + "y", count)
                with anyio.fail_after(5):
                    assert (await witness.receive()).data == str(count).encode()
                    assert (await other.receive()).data == str(count).encode()

        assert await cancel_at_every_await(listen, check) >= 2


async def test_in_a_cancelled_scope_everything_ends_at_once(tcp: Redis, unique: str) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await tcp.ping()
        await anyio.sleep(1)
        raise AssertionError("not cancelled")
    with anyio.fail_after(2):
        async with tcp.transport.open_blocking() as blocking:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await blocking.execute(("BLPOP", unique, 0))
            assert await blocking.execute(("ECHO", "x")) == b"x"


async def test_replies_that_nobody_reads_do_not_make_the_server_look_silent(proxy: Proxy) -> None:
    async with connect(parse_url(f"{proxy.url}?socket_timeout=0.1")) as client:
        await client.ping()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.ping()
        await anyio.sleep(0.2)
        assert await client.echo("x") == b"x"
        assert proxy.connections == 1


async def test_a_native_cancellation_of_a_blocking_command(
    anyio_backend: tuple[str, object], tcp: Redis, unique: str
) -> None:
    if anyio_backend[0] != "asyncio":
        pytest.skip("trio has none")
    async with tcp.transport.open_blocking() as blocking:
        for times in (1, 2, 3):
            task = asyncio.ensure_future(blocking.execute(("BLPOP", unique, 0)))
            await anyio.wait_all_tasks_blocked()
            for _ in range(times):
                task.cancel()
                await checkpoint()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await blocking.execute(("ECHO", "x")) == b"x"
