"""Many callers on one connection."""

from __future__ import annotations

import socket

import anyio
import pytest
from anyio.lowlevel import checkpoint

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.url import parse_url
from tests.conftest import StartRedis
from tests.redis.proxy import Proxy
from tests.servers import RedisServer


async def test_everyone_gets_the_reply_to_what_was_asked(redis: Redis) -> None:
    replies = 0

    async def ask(who: int) -> None:
        nonlocal replies
        for number in range(40):
            assert await redis.echo(f"{who}/{number}") == f"{who}/{number}".encode()
            replies += 1
            if number % 7 == who % 7:
                await checkpoint()

    async with anyio.create_task_group() as group:
        for who in range(50):
            group.start_soon(ask, who)
    assert replies == 2000


async def test_everyone_shares_one_connection(through_proxy: Redis, proxy: Proxy, unique: str) -> None:
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(through_proxy.set, f"{unique}{number}", number)
    assert proxy.connections == 1


async def test_what_is_sent_in_one_turn_goes_out_in_few_pieces(through_proxy: Redis, proxy: Proxy) -> None:
    async def ask() -> None:
        for _ in range(3):
            await through_proxy.ping()

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask)
    assert proxy.requests.count(b"PING") == 150


async def test_errors_reach_the_one_who_caused_them(redis: Redis, unique: str) -> None:
    await redis.set(unique, "text")
    outcomes: list[str] = []

    async def increase() -> None:
        with pytest.raises(Exception, match="not an integer"):
            await redis.incr(unique)
        outcomes.append("error")

    async def read() -> None:
        assert await redis.get(unique) == b"text"
        outcomes.append("reply")

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(increase)
            group.start_soon(read)
    assert sorted(outcomes) == ["error"] * 10 + ["reply"] * 10


async def test_large_values_pass_while_others_talk(redis: Redis, unique: str) -> None:
    large = b"0123456789abcdef" * 524_288  # 8 MB
    done = anyio.Event()

    async def chat() -> None:
        number = 0
        while not done.is_set():
            number += 1
            assert await redis.echo(number) == str(number).encode()

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(chat)
        for _ in range(3):
            await redis.set(unique, large)
            assert await redis.get(unique) == large
        done.set()
    await redis.delete(unique)


async def test_is_opened_in_one_task_and_closed_in_another(redis_server: RedisServer) -> None:
    opened: list[Redis] = []

    async def enter() -> None:
        opened.append(await connect(parse_url(redis_server.url)).__aenter__())
        await opened[0].ping()

    async def leave() -> None:
        await opened[0].__aexit__(None, None, None)

    for step in (enter, leave):
        async with anyio.create_task_group() as group:  # noqa: ASYNC112 - a task of its own is what is tested
            group.start_soon(step)
    with pytest.raises(Disconnected, match="the client was closed") as caught:
        await opened[0].ping()
    assert not caught.value.maybe_executed


async def test_closing_ends_calls_under_way(proxy: Proxy) -> None:
    client = connect(parse_url(proxy.url))
    await client.ping()
    proxy.mute = True
    failed: list[Disconnected] = []

    async def ask() -> None:
        with pytest.raises(Disconnected, match="the client was closed") as caught:
            await client.ping()
        failed.append(caught.value)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()
    await client.aclose()
    assert [error.maybe_executed for error in failed] == [True] * 3


def test_event_loops_may_follow_each_other(
    anyio_backend: tuple[str, dict[str, object]], redis_server: RedisServer
) -> None:
    async def main() -> None:
        async with connect(parse_url(redis_server.url)) as client:
            assert await client.ping()

    for _ in range(2):
        anyio.run(main, backend=anyio_backend[0], backend_options=anyio_backend[1])


class TestReconnecting:
    @pytest.fixture
    def port(self) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        return port

    async def test_a_connection_that_was_killed_while_idle_goes_unnoticed(
        self, redis: Redis, redis_server: RedisServer, unique: str
    ) -> None:
        async with connect(parse_url(redis_server.url)) as client:
            for number in range(3):
                assert await client.incr(unique) == number + 1  # not repeatable: it must not be sent in vain
                await redis.client_kill_filter(_id=str(await client.client_id()))

    async def test_a_server_that_comes_back_is_found(self, start_redis: StartRedis, port: int) -> None:
        async with connect(parse_url(f"redis://127.0.0.1:{port}")) as client:
            for _ in range(2):
                with start_redis("--port", str(port)):
                    assert await client.incr("n") == 1
                with pytest.raises(Disconnected) as caught:
                    await client.incr("n")
                assert not caught.value.maybe_executed

    async def test_only_one_caller_dials(self, through_proxy: Redis, proxy: Proxy) -> None:
        await through_proxy.ping()
        await proxy.cut()
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(through_proxy.echo, number)
        assert proxy.connections == 2

    async def test_a_cancelled_dialer_hands_on(self, proxy: Proxy) -> None:
        proxy.mute = True
        async with connect(parse_url(proxy.url)) as client, anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(self._cancel_when_dialling, proxy, scope)  # noqa: ASYNC111 - cancelled on purpose
                group.start_soon(client.ping)
                await client.ping()

    async def _cancel_when_dialling(self, proxy: Proxy, scope: anyio.CancelScope) -> None:
        await proxy.asked.wait()
        proxy.mute = False
        scope.cancel()

    async def test_gives_up_when_the_server_keeps_hanging_up(self, through_proxy: Redis, proxy: Proxy) -> None:
        proxy.refuse = True
        with pytest.raises(Disconnected, match="could not connect") as caught:
            await through_proxy.ping()
        assert not caught.value.maybe_executed
        assert proxy.connections == 4
