"""The rights that the documentation says a user of Redis needs, held to a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
import redis

from docket_anyio import (
    ConcurrencyLimit,
    Cooldown,
    Debounce,
    Docket,
    Perpetual,
    Progress,
    RateLimit,
    Retry,
    Worker,
)
from docket_anyio.exceptions import RedisRefused
from tests.clusters import open_cluster
from tests.conftest import StartRedis
from tests.servers import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "redis-setups.md"
USERS = dict(re.findall(r"^```acl\nuser (\w+) (.*?)\n```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
(ON_A_CLUSTER,) = re.findall(r"^```acl\ncluster (.*?)\n```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def grant(server: RedisServer, more: str = "") -> None:
    """Give the users of the documentation the rights that stand there, and no others."""
    with redis.Redis.from_url(server.unix_url) as client:
        for name, rules in USERS.items():
            client.execute_command("ACL", "SETUSER", name, "reset", *rules.split(), *more.split())


@contextmanager
def no_refusals(server: RedisServer) -> Iterator[None]:
    with redis.Redis.from_url(server.unix_url) as client:
        client.acl_log_reset()
        yield
        refused = {(each["username"], each["reason"], each["object"]) for each in client.acl_log()}
        # What the library is called may not be said. Redis 6.2 does not tell what of CLIENT it has refused.
        assert {each for each in refused if each[2] not in {"client|setinfo", "client"}} == set()


async def plain(number: int) -> int:
    return number * 2


async def fails_once(retry: Retry = Retry(attempts=2)) -> None:
    if retry.attempt == 1:
        raise ValueError


async def limited(where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where", 1)) -> None:
    await anyio.sleep(0.02)


async def rated(limit: RateLimit = RateLimit(1, per=timedelta(milliseconds=50))) -> None: ...


async def cooled(cooldown: Cooldown = Cooldown(timedelta(milliseconds=20))) -> None: ...


async def settled(debounce: Debounce = Debounce(timedelta(milliseconds=20))) -> None: ...


async def stays(progress: Progress = Progress()) -> None:
    await progress.set_total(10)
    await progress.increment()
    await progress.set_message("here")
    await anyio.sleep_forever()


async def repeats(perpetual: Perpetual = Perpetual(every=timedelta(milliseconds=10), automatic=True)) -> None: ...


TASKS = [plain, fails_once, limited, rated, cooled, settled, stays, repeats]


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(milliseconds=50)


async def use_everything(docket: Docket) -> None:
    """What a client can do, while a worker works."""
    results = [await docket.add(plain)(number) for number in range(3)]
    results.append(await docket.add(plain, soon())(3))
    results.append(await docket.replace(plain, soon(), "replaced")(4))
    results += await docket.add_many([docket.call(plain)(5), docket.call(plain, expires=timedelta(minutes=1))(6)])
    assert [await each.get_result() for each in results] == [0, 2, 4, 6, 8, 10, 12]
    for task in (fails_once, rated, rated, cooled, cooled, settled, settled):
        await docket.add(task)()
    for _ in range(3):
        await docket.add(limited)("here")
    staying = await docket.add(stays, key="stays")()
    async with staying.events() as events:
        while (event := await anext(events))["type"] != "progress" or event["message"] != "here":
            pass
    await anyio.sleep(0.3)  # longer than it takes to renew the lease
    await docket.cancel("stays")
    await docket.add(plain, datetime.now(UTC) + timedelta(hours=1), "later")(1)
    await docket.cancel("later")
    await docket.strike("plain", "number", "==", 7)
    await docket.restore("plain", "number", "==", 7)
    await docket.snapshot()
    assert [each.name for each in await docket.workers()] == ["W"]
    await docket.task_workers("plain")
    assert await docket.get_execution("stays") is not None
    await docket.pause()
    assert await docket.is_paused()
    await docket.clear()
    await docket.resume()


async def work(client_url: str, worker_url: str) -> None:
    """Everything that a client and a worker do."""
    heartbeats = timedelta(milliseconds=50)
    async with Docket("orders", client_url) as docket, Docket("orders", worker_url, heartbeats) as workers:
        for each in (docket, workers):
            for task in TASKS:
                each.register(task)
        timing = {
            "redelivery_timeout": timedelta(milliseconds=400),
            "minimum_check_interval": timedelta(milliseconds=20),
        }
        async with Worker(workers, name="W", **timing) as worker, anyio.create_task_group() as group:
            await group.start(worker.run_forever)
            await use_everything(docket)
            await anyio.sleep(0.5)
            worker.stop()
        await docket.clear()
        await docket.add(plain)(1)
        async with Worker(workers, name="W", schedule_automatic_tasks=False) as worker:
            await worker.run_until_finished()


async def test_the_rights_suffice(anyio_backend: object, start_redis: StartRedis) -> None:
    with start_redis() as server:
        grant(server)
        with no_refusals(server):
            await work(*(f"redis://{each}:secret@127.0.0.1:{server.port}/0" for each in ("client", "worker")))


async def test_the_rights_suffice_on_a_cluster(anyio_backend: object, redis_server_binary: str) -> None:
    with open_cluster(redis_server_binary, masters=1, replicas=0) as cluster:
        (node,) = cluster.members
        grant(node.server, ON_A_CLUSTER)
        with no_refusals(node.server):
            await work(
                *(f"redis+cluster://{each}:secret@127.0.0.1:{node.server.port}" for each in ("client", "worker"))
            )


async def test_a_client_may_not_work(anyio_backend: object, start_redis: StartRedis) -> None:
    """The rules tell the two apart."""
    with start_redis() as server:
        grant(server)
        async with (
            Docket("orders", f"redis://client:secret@127.0.0.1:{server.port}/0") as docket,
            Worker(docket) as worker,
        ):
            with pytest.raises(RedisRefused, match="no permissions"):
                await worker.run_until_finished()
