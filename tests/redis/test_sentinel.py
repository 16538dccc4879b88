"""A client of the master that sentinels watch over, while that changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import anyio
import pytest
import redis
from redis.exceptions import AuthenticationError, ResponseError

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.url import parse_url
from tests.clusters import SERVICE, Watched, ask, open_sentinels, open_watchers
from tests.conftest import StartRedis


@pytest.fixture(scope="module")
def watched(redis_server_binary: str) -> Iterator[Watched]:
    with open_sentinels(redis_server_binary) as watched:
        yield watched


@pytest.fixture
async def client(anyio_backend: object, watched: Watched) -> AsyncGenerator[Redis]:
    async with connect(parse_url(watched.url)) as client:
        yield client
    await anyio.to_thread.run_sync(watched.revive)


async def test_finds_the_master(client: Redis, watched: Watched, unique: str) -> None:
    await client.set(unique, "x")
    assert str((await client.info("server"))["tcp_port"]) == str(watched.master().server.port)


async def test_one_sentinel_of_the_url_is_enough(watched: Watched, unique: str) -> None:
    last = watched.sentinels[-1].server.port
    async with connect(parse_url(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{last}/{SERVICE}/3")) as client:
        await client.set(unique, "x")
        assert str((await client.client_info())["db"]) == "3"


async def test_a_dead_master_is_replaced(client: Redis, watched: Watched, unique: str) -> None:
    """Who waits for a reply waits for the failover; who blocks or listens is told, and comes back."""
    await client.set(unique, "x")
    await client.execute_command("WAIT", 1, 1000)
    master = watched.master()
    with anyio.fail_after(20):
        async with client.transport.open_blocking() as blocking:
            async with client.transport.open_subscription(channels=[unique]) as subscription:
                master.kill()
                with pytest.raises(Disconnected):
                    await subscription.receive()
            assert await client.get(unique) == b"x"
            assert await client.incr(f"{unique}n") == 1
            assert await blocking.execute(("BLPOP", f"{unique}list", "0.01")) is None
            async with client.transport.open_subscription(channels=[unique]) as subscription:
                await client.publish(unique, "back")
                assert (await subscription.receive()).data == b"back"
    assert watched.master() is not master


@pytest.mark.parametrize("told", ["told", "not told"])
async def test_a_master_that_was_deposed_is_left_at_once(watched: Watched, unique: str, told: str) -> None:
    """A planned failover: the old master goes on for seconds, and all that it is told then is lost.

    Nobody is told of it by a sentinel that has left. Another one is asked after a while.
    """
    master = watched.master()
    hosts = [f"127.0.0.1:{each.server.port}" for each in watched.sentinels]
    async with connect(parse_url(f"redis+sentinel://{','.join(hosts[::-1])}/{SERVICE}")) as client:
        await client.set(unique, 0)
        if told == "not told":
            watched.sentinels[-1].kill()
        async with client.transport.open_subscription(channels=[unique]) as subscription:
            ask(watched.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
            with anyio.fail_after(20):
                while watched.master() is master:
                    await client.incr(unique)
                    await anyio.sleep(0.01)
                await anyio.sleep(1.1)
                await client.set(f"{unique}after", "x")
                with pytest.raises(Disconnected):
                    await subscription.receive()
    async with connect(parse_url(watched.master().server.unix_url)) as new:
        assert await new.get(f"{unique}after") == b"x"
    if told == "not told":
        watched.sentinels[-1].revive()
    await anyio.to_thread.run_sync(watched.wait_whole)


async def test_a_replica_that_was_the_master_is_left_at_the_first_refusal(start_redis: StartRedis, unique: str) -> None:
    """Also with nobody but a name to find it by, such as one that a balancer or DNS gives to the master."""
    with start_redis() as old, start_redis() as new:
        async with connect(parse_url(old.url)) as client, connect(parse_url(old.unix_url)) as other:
            await client.set(unique, "x")
            await other.execute_command("REPLICAOF", "127.0.0.1", new.port)
            for call in (
                lambda: client.set(unique, "y"),
                lambda: client.execute_command("EVAL", "return redis.call('SET', KEYS[1], 'y')", 1, unique),
                client.pipeline().set(unique, "y").execute,
                client.pipeline(transaction=False).set(unique, "y").execute,
                lambda: client.execute_command("XREADGROUP", "GROUP", "g", "c", "BLOCK", 1, "STREAMS", unique, ">"),
            ):
                with pytest.raises(Disconnected, match="is a replica now") as caught:
                    await call()
                assert not caught.value.maybe_executed
            assert await client.ping()
            await other.execute_command("REPLICAOF", "NO", "ONE")
            assert await client.set(unique, "z")


async def test_who_blocks_is_told_that_the_master_is_a_replica_now(start_redis: StartRedis, unique: str) -> None:
    with start_redis() as old, start_redis() as new:
        async with connect(parse_url(old.url)) as client, anyio.create_task_group() as group:

            async def depose() -> None:
                await anyio.sleep(0.05)
                await client.execute_command("REPLICAOF", "127.0.0.1", new.port)

            group.start_soon(depose)
            async with client.transport.open_blocking() as blocking:
                with anyio.fail_after(10), pytest.raises(Disconnected):
                    await blocking.execute(("BLPOP", unique, "60"))


async def test_a_master_that_is_a_replica_still_is_waited_for(
    start_redis: StartRedis, redis_server_binary: str, unique: str
) -> None:
    """The sentinels may be ahead of the server that they have chosen."""
    with start_redis() as server, start_redis() as other, open_watchers(redis_server_binary, server.port) as sentinels:
        url = f"redis+sentinel://127.0.0.1:{sentinels[0].server.port}/{SERVICE}"
        async with connect(parse_url(server.unix_url)) as chosen, connect(parse_url(url)) as client:
            await chosen.execute_command("REPLICAOF", "127.0.0.1", other.port)
            async with anyio.create_task_group() as group:
                done = anyio.Event()

                async def write() -> None:
                    await client.set(unique, "x")
                    done.set()

                group.start_soon(write)
                await anyio.sleep(0.3)
                assert not done.is_set()
                await chosen.execute_command("REPLICAOF", "NO", "ONE")
            assert await chosen.get(unique) == b"x"


async def test_sentinels_have_credentials_of_their_own(
    start_redis: StartRedis, redis_server_binary: str, unique: str
) -> None:
    with (
        start_redis(password="of-the-master") as server,
        open_watchers(redis_server_binary, server.port, "--requirepass", "of-the-sentinel") as sentinels,
    ):
        url = f"redis+sentinel://:of-the-master@127.0.0.1:{sentinels[0].server.port}/{SERVICE}"
        async with connect(parse_url(f"{url}?sentinel_password=of-the-sentinel")) as client:
            await client.set(unique, "x")
        rules = "on >secret resetchannels -@all &+switch-master +sentinel|get-master-addr-by-name +subscribe"
        with redis.Redis.from_url(f"redis://:of-the-sentinel@127.0.0.1:{sentinels[0].server.port}") as sentinel:
            sentinel.execute_command("ACL", "SETUSER", "asker", *rules.split())
        async with connect(parse_url(f"{url}?sentinel_username=asker&sentinel_password=secret")) as client:
            await client.set(unique, "y")
        for wrong in ("", "?sentinel_password=of-the-master"):
            async with connect(parse_url(f"{url}{wrong}")) as client:
                with pytest.raises(AuthenticationError):
                    await client.ping()


async def test_without_any_sentinel_it_is_said_soon() -> None:
    begun = anyio.current_time()
    url = "redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/m"
    async with connect(parse_url(url)) as client:
        with pytest.raises(Disconnected, match="no sentinel answers") as caught:
            await client.ping()
    assert "secret" not in str(caught.value)
    assert not caught.value.maybe_executed
    assert anyio.current_time() - begun < 3


async def test_an_unknown_service_is_said_at_once(watched: Watched) -> None:
    async with connect(parse_url(watched.url.replace(SERVICE, "another"))) as client:
        with pytest.raises(ResponseError, match="do not know a service 'another'"):
            await client.ping()


async def test_a_master_that_does_not_come_is_given_up_in_time(watched: Watched, unique: str) -> None:
    """The replica is dead as well: there will be no failover."""
    async with connect(parse_url(f"{watched.url}?socket_timeout=0.5")) as client:
        await client.set(unique, "x")
        dead = [*watched.members]
        for each in dead:
            each.kill()
        begun = anyio.current_time()
        with pytest.raises(Disconnected, match="could not connect"):
            await client.set(unique, "y")
        assert anyio.current_time() - begun < 5
    for each in dead:
        each.revive()
    await anyio.to_thread.run_sync(watched.wait_whole)
