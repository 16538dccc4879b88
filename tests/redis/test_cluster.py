"""A client of a cluster, while its slots move and its masters die."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from uuid import uuid4

import anyio
import pytest
from redis.exceptions import AuthenticationError, ClusterCrossSlotError, ResponseError

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.script import Script
from docket_anyio._redis.url import parse_url
from tests.clusters import Cluster, ask, open_cluster, wait_for
from tests.conftest import StartRedis
from tests.servers import RedisServer

TWO = Script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])")


@pytest.fixture(scope="module")
def cluster(redis_server_binary: str) -> Iterator[Cluster]:
    with open_cluster(redis_server_binary) as cluster:
        yield cluster


@pytest.fixture
def home() -> str:
    """The hash tag of keys that no other test has."""
    return f"{{{uuid4().hex}}}"


@pytest.fixture
async def client(anyio_backend: object, cluster: Cluster, home: str) -> AsyncGenerator[Redis]:
    async with connect(parse_url(cluster.url), home=home) as client:
        yield client
    await anyio.to_thread.run_sync(cluster.revive)


async def test_each_key_is_on_its_master(client: Redis, cluster: Cluster) -> None:
    names = [uuid4().hex for _ in range(20)]
    for name in names:
        await client.set(name, name)
    assert [await client.get(name) for name in names] == [name.encode() for name in names]
    assert {cluster.master_of(name) for name in names} == set(cluster.masters())


async def test_one_node_of_the_url_is_enough(cluster: Cluster, home: str) -> None:
    hosts = cluster.url.removeprefix("redis+cluster://").split(",")
    async with connect(parse_url(f"redis+cluster://localhost:1,{hosts[-1]}"), home=home) as client:
        await client.set(home, "x")
        assert await client.get(home) == b"x"


async def test_a_pipeline_may_have_keys_of_every_slot(client: Redis) -> None:
    names = [uuid4().hex for _ in range(20)]
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.set(name, name)
        pipeline.ping()
        pipeline.get(name)
    assert await pipeline.execute() == [each for name in names for each in (True, True, name.encode())]


async def test_a_transaction_has_keys_of_one_slot(client: Redis, home: str) -> None:
    pipeline = client.pipeline()
    pipeline.set(home, 1)
    pipeline.incr(home)
    assert await pipeline.execute() == [True, 2]
    pipeline.set(uuid4().hex, 1)
    pipeline.set(uuid4().hex, 1)
    with pytest.raises(ClusterCrossSlotError):
        await pipeline.execute()


async def test_what_is_about_no_key_goes_home(client: Redis, cluster: Cluster, home: str) -> None:
    for number in range(20):
        await client.set(f"{home}:{number}", number)
    assert len([each async for each in client.scan_iter(f"{home}*")]) == 20
    assert str((await client.info("server"))["tcp_port"]) == str(cluster.master_of(home).server.port)


async def test_who_blocks_is_served(client: Redis, home: str) -> None:
    async with anyio.create_task_group() as group:

        async def push() -> None:
            await anyio.sleep(0.05)
            await client.rpush(home, "x")

        group.start_soon(push)
        assert await client.blpop([home], timeout=10) == (home.encode(), b"x")


async def test_what_is_published_is_heard(client: Redis, home: str) -> None:
    async with client.transport.open_subscription(channels=[home], patterns=[f"{home}:*"]) as subscription:
        await client.publish(home, "one")
        await client.publish(f"{home}:x", "two")
        assert [(await subscription.receive()).data for _ in range(2)] == [b"one", b"two"]


async def test_a_slot_that_has_moved_is_followed(client: Redis, cluster: Cluster, home: str) -> None:
    """MOVED, for every kind of command, and no script is lost on the way."""
    source = cluster.master_of(home)
    target = cluster.another_master(source)
    async with (
        client.transport.open_blocking() as blocking,
        client.transport.open_subscription(channels=[home]) as subscription,
    ):
        assert await client.run_script(TWO, [f"{home}a", f"{home}b"], ["x"]) == 1
        assert await blocking.execute(("BLPOP", f"{home}list", "0.01")) is None
        cluster.move_slot(home, target)
        assert await client.run_scripts(TWO, [([f"{home}a", f"{home}b"], ["x"])] * 3) == [2, 3, 4]
        assert await client.pipeline().set(f"{home}a", "y").get(f"{home}a").execute() == [True, b"y"]
        assert await client.run_script(TWO, [f"{home}a", f"{home}b"], ["x"]) == 5
        await client.rpush(f"{home}list", "z")
        assert await blocking.execute(("BLPOP", f"{home}list", "1")) == [f"{home}list".encode(), b"z"]
        await client.publish(home, "still there")
        assert (await subscription.receive()).data == b"still there"
    assert cluster.master_of(home) is target
    cluster.move_slot(home, source)


async def test_a_slot_that_is_moving_is_asked_for(client: Redis, cluster: Cluster, home: str) -> None:
    """ASK for what has moved already; a script may need more than its keys, and waits until the slot has moved."""
    source = cluster.master_of(home)
    target = cluster.another_master(source)
    await client.mset({f"{home}a": "1", f"{home}b": "2"})
    finished = anyio.Event()

    async def use_both() -> None:
        assert await client.run_script(TWO, [f"{home}a", f"{home}b"], ["x"]) == 3
        finished.set()

    async with anyio.create_task_group() as group:
        with cluster.moving_slot(home, target):
            assert await client.get(f"{home}a") == b"1"
            cluster.move_keys(source, target, f"{home}a")
            assert await client.get(f"{home}a") == b"1"
            assert await client.pipeline().incr(f"{home}a").get(f"{home}a").execute() == [2, b"2"]
            assert await client.pipeline(transaction=False).get(f"{home}a").get(f"{home}b").execute() == [b"2", b"2"]
            group.start_soon(use_both)
            await anyio.sleep(0.1)
            assert not finished.is_set()
            cluster.move_keys(source, target, f"{home}b")
            await anyio.sleep(0.1)
            assert not finished.is_set()
    assert await client.get(f"{home}b") == b"3"
    cluster.move_slot(home, source)


async def test_a_dead_master_is_replaced(client: Redis, cluster: Cluster, home: str) -> None:
    """What waits for a command's reply waits for the failover; who blocks or listens is told, and comes back."""
    await client.set(home, "x")
    with anyio.fail_after(20):
        async with client.transport.open_blocking() as blocking:
            async with client.transport.open_subscription(channels=[home]) as subscription:
                master = cluster.master_of(home)
                await client.execute_command("WAIT", 1, 1000)
                master.kill()
                with pytest.raises(Disconnected):
                    await subscription.receive()
            assert await client.get(home) == b"x"
            assert await client.run_script(TWO, [home, f"{home}n"], ["y"]) == 1
            assert await blocking.execute(("BLPOP", f"{home}list", "0.01")) is None
            async with client.transport.open_subscription(channels=[home]) as subscription:
                await client.publish(home, "back")
                assert (await subscription.receive()).data == b"back"


async def test_a_master_that_was_deposed_is_left(client: Redis, cluster: Cluster, home: str) -> None:
    """A planned failover: no command fails, and nobody goes on to listen where it is a replica's."""
    await client.set(home, 0)
    (replica,) = cluster.replicas_of(home)
    async with client.transport.open_subscription(channels=[home]) as subscription:
        ask(replica, "CLUSTER", "FAILOVER")
        numbers = [await client.incr(home)]
        while cluster.master_of(home) is not replica or len(numbers) < 50:
            numbers.append(await client.incr(home))
        assert numbers == list(range(1, len(numbers) + 1))
        with anyio.fail_after(10), pytest.raises(Disconnected, match="not a master any more"):
            await subscription.receive()


async def test_without_any_node_it_is_said_soon() -> None:
    begun = anyio.current_time()
    async with connect(parse_url("redis+cluster://:secret@127.0.0.1:1,127.0.0.1:2")) as client:
        with pytest.raises(Disconnected, match=r"no node of redis\+cluster://:\*\*\*@127.0.0.1:1,") as caught:
            await client.ping()
    assert not caught.value.maybe_executed
    assert anyio.current_time() - begun < 3


async def test_a_slot_without_a_master_is_given_up_in_time(cluster: Cluster, home: str) -> None:
    """The replica is dead as well: there will be no failover."""
    async with connect(parse_url(f"{cluster.url}?socket_timeout=0.5"), home=home) as client:
        await client.set(home, "x")
        for each in (*cluster.replicas_of(home), cluster.master_of(home)):
            each.kill()
        begun = anyio.current_time()
        with pytest.raises(Disconnected) as caught:
            await client.set(home, "y", nx=True)
        assert anyio.current_time() - begun < 5
        assert not caught.value.maybe_executed
        await anyio.to_thread.run_sync(cluster.revive)
        wait_for(lambda: cluster.master_of(home).alive, "a master")


async def test_a_server_of_its_own_is_no_cluster(redis_server: RedisServer) -> None:
    async with connect(parse_url(f"redis+cluster://127.0.0.1:{redis_server.port}")) as client:
        with pytest.raises(ResponseError, match="cluster support disabled"):
            await client.ping()


async def test_a_wrong_password_is_not_tried_again(start_redis: StartRedis) -> None:
    with start_redis("--cluster-enabled", "yes", password="right") as server:
        async with connect(parse_url(f"redis+cluster://:wrong@127.0.0.1:{server.port}")) as client:
            with pytest.raises(AuthenticationError):
                await client.ping()


async def test_a_closed_client_says_so(client: Redis, home: str) -> None:
    async with client.transport.open_blocking() as blocking:
        await client.ping()
        await client.aclose()
        for call in (client.ping, lambda: blocking.execute(("BLPOP", home, "1"))):
            with pytest.raises(Disconnected, match="the client was closed"):
                await call()
