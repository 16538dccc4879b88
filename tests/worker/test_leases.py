"""What a worker holds stays its own while it lives, and goes to another when it died."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from docket_anyio import Docket, Worker
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import run_all, running
from tests.stage import Crowd, Stage

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


async def echo(value: object) -> object:
    return value


async def claim_as(docket: Docket, consumer: str, count: int = 1) -> list[bytes]:
    """Claim as a worker does that dies at once."""
    stream = f"{docket.name}:stream"
    async with docket.redis() as redis:
        await redis.xgroup_create(stream, "docket-workers", "0-0", mkstream=True)
        ((_, entries),) = await redis.xreadgroup("docket-workers", consumer, {stream: ">"}, count=count)
    return [receipt for receipt, _ in entries]


async def pending_of(docket: Docket) -> list[tuple[bytes, int]]:
    async with docket.redis() as redis:
        entries = await redis.xpending_range(f"{docket.name}:stream", "docket-workers", "-", "+", 100)
    return [(entry["consumer"], entry["time_since_delivered"]) for entry in entries]


@virtual_time
async def test_what_a_dead_worker_held_is_delivered_again_after_its_lease(docket: Docket) -> None:
    executions = [await docket.add(echo)(number) for number in range(5)]
    await claim_as(docket, "dead", 5)
    watch = Stopwatch()
    await run_all(docket, redelivery_timeout=MINUTE)
    assert 60 <= watch.seconds() <= 60 + 15 * 1.25 + 1
    assert [await execution.get_result() for execution in executions] == list(range(5))


async def test_what_a_dead_worker_held_is_delivered_again_for_real(docket: Docket) -> None:
    execution = await docket.add(echo)("value")
    await claim_as(docket, "dead")
    async with Worker(docket, redelivery_timeout=timedelta(milliseconds=100)) as worker:
        with anyio.fail_after(3):
            await worker.run_until_finished()
    assert await execution.get_result() == "value"


@virtual_time
async def test_a_run_of_a_dead_worker_is_started_anew(docket: Docket) -> None:
    """Its record says that it runs."""
    execution = await docket.add(echo, key="one")("value")
    await claim_as(docket, "dead")
    async with docket.redis() as redis:
        await redis.hset(f"{docket.name}:runs:one", mapping={"state": "running", "worker": "dead"})
        await redis.hdel(f"{docket.name}:runs:one", "known", "stream_id")
    await run_all(docket, name="alive", redelivery_timeout=MINUTE)
    assert await execution.get_result() == "value"
    assert execution.worker == "alive"


@virtual_time
async def test_redeliveries_take_no_more_slots_than_there_are(docket: Docket) -> None:
    crowd = Crowd()
    for _ in range(7):
        await docket.add(crowd.stay)(1)
    await claim_as(docket, "dead", 7)
    await run_all(docket, concurrency=2, redelivery_timeout=MINUTE)
    assert crowd.most == 2


@virtual_time
async def test_a_long_run_is_started_once(docket: Docket) -> None:
    runs: list[str] = []

    async def long() -> None:
        runs.append("run")
        await anyio.sleep(600)

    await docket.add(long)()
    async with (
        running(docket, name="A", redelivery_timeout=MINUTE, concurrency=1),
        Worker(docket, name="B", redelivery_timeout=MINUTE) as other,
    ):
        await other.run_until_finished()
    assert runs == ["run"]


async def test_a_lease_is_renewed_while_its_run_lasts(docket: Docket) -> None:
    go_on = anyio.Event()

    async def wait() -> None:
        await go_on.wait()

    execution = await docket.add(wait)()
    async with running(docket, name="A", redelivery_timeout=timedelta(milliseconds=200)):
        for _ in range(8):
            await anyio.sleep(0.05)
            for consumer, idle in await pending_of(docket):
                assert consumer == b"A"
                assert idle < 180
        assert len(await pending_of(docket)) == 1
        go_on.set()
        await execution.get_result()


@virtual_time
async def test_a_draining_worker_keeps_what_it_runs_from_others(docket: Docket) -> None:
    started = anyio.Event()
    workers: list[str] = []

    async def long() -> None:
        workers.append("run")
        started.set()
        await anyio.sleep(600)

    await docket.add(long)()
    async with running(docket, name="A", redelivery_timeout=MINUTE, grace=timedelta(hours=1)) as draining:
        await started.wait()
        async with running(docket, name="B", redelivery_timeout=MINUTE):
            draining.stop()
            for _ in range(20):
                await anyio.sleep(25)
                ((consumer, idle),) = await pending_of(docket)
                assert consumer == b"A"
                assert idle <= 15_000
    assert workers == ["run"]


async def test_a_draining_worker_keeps_what_it_runs_for_real(docket: Docket) -> None:
    started = anyio.Event()
    runs: list[str] = []

    async def long() -> None:
        runs.append("run")
        started.set()
        await anyio.sleep(0.6)

    execution = await docket.add(long)()
    short = {"redelivery_timeout": timedelta(milliseconds=200)}
    async with running(docket, name="A", grace=SECOND * 5, **short) as draining:
        await started.wait()
        async with running(docket, name="B", **short):
            draining.stop()
            await execution.get_result(timeout=SECOND * 5)
    assert runs == ["run"]
    assert execution.worker == "A"


@virtual_time
async def test_a_run_whose_lease_is_lost_is_stopped_and_left_to_its_new_owner(docket: Docket) -> None:
    stage = Stage()
    await docket.add(stage.hang, key="one")()
    async with running(docket, name="A", redelivery_timeout=MINUTE):
        await stage.started.wait()
        stream = f"{docket.name}:stream"
        async with docket.redis() as redis:
            ((receipt, _),) = await redis.xrange(stream)
            await redis.xclaim(stream, "docket-workers", "B", 0, [receipt])
            with anyio.fail_after(16):
                await stage.ended.wait()
            await anyio.wait_all_tasks_blocked()
            ((consumer, _),) = await pending_of(docket)
            assert consumer == b"B"
            assert await redis.hget(f"{docket.name}:runs:one", "state") == b"running"
            await redis.delete(f"{docket.name}:runs:one")
            await redis.xtrim(stream, maxlen=0)
            await redis.delete(f"{docket.name}:progress:one")


@virtual_time
async def test_one_worker_of_many_looks_for_abandoned_deliveries(docket: Docket) -> None:
    async with (
        running(docket, name="A", redelivery_timeout=MINUTE),
        running(docket, name="B", redelivery_timeout=MINUTE),
        docket.redis() as redis,
    ):
        lease = f"{docket.name}:leases:redelivery-sweep"
        await anyio.sleep(1)
        assert await redis.get(lease) in {b"A", b"B"}
        assert 0 < await redis.pttl(lease) <= 15_000


async def test_a_worker_under_the_name_of_a_dead_one_keeps_to_its_slots(docket: Docket, store: Store) -> None:
    """After an outage it looks for what is pending under its name, which may be more than it has slots for."""
    crowd = Crowd()
    if store.kind == "memory":
        pytest.skip("memory:// has no outages")
    for _ in range(6):
        await docket.add(crowd.stay)(0.02)
    await claim_as(docket, "W", 6)
    options = {"name": "W", "concurrency": 2, "redelivery_timeout": timedelta(milliseconds=400)}
    async with running(docket, **options), docket.redis() as redis:
        for client in await redis.client_list():
            if client["cmd"].startswith("xreadgroup"):
                await redis.client_kill_filter(_id=client["id"])
        with anyio.fail_after(4):
            while await redis.xlen(f"{docket.name}:stream"):  # noqa: ASYNC110 - only Redis knows
                await anyio.sleep(0.01)
    assert crowd.most == 2
