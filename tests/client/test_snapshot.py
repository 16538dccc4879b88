"""A look at a whole docket, and at who works on it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from attrs import frozen
from attrs.exceptions import FrozenInstanceError

from docket_anyio import Docket, ExecutionState, Retry
from docket_anyio.exceptions import CorruptMessage, NotOpen, UnknownTask
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import contents, keys_of, open_docket, running

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
unpickled: list[int] = []


@frozen
class Marked:
    """Tells when it is unpickled."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickle, (self.number,))


def _unpickle(number: int) -> Marked:
    unpickled.append(number)
    return Marked(number)


async def send(to: object, *, urgent: bool = False) -> None: ...


def later(delay: timedelta = HOUR) -> datetime:
    return datetime.now(UTC) + delay


async def test_what_waits_is_listed(docket: Docket) -> None:
    second = await docket.add(send, when=later(2 * HOUR), key="second")("bob")
    first = await docket.add(send, when=later(), key="first")("ann", urgent=True)
    ready = await docket.add(send, key="ready")("eve")
    before = docket.broker.clock.now()
    snapshot = await docket.snapshot()
    assert before <= snapshot.taken <= docket.broker.clock.now()
    assert [each.key for each in snapshot.future] == ["ready", "first", "second"]
    assert [each.state for each in snapshot.future] == [ExecutionState.QUEUED, *[ExecutionState.SCHEDULED] * 2]
    for listed, added in zip(snapshot.future, (ready, first, second), strict=True):
        assert (listed.args, listed.kwargs, listed.when) == (added.args, added.kwargs, added.when)
        assert (listed.function, listed.function_name, listed.generation) == (send, "send", 1)
    assert (snapshot.total_tasks, snapshot.running, snapshot.workers) == (3, [], [])


async def test_an_empty_docket(docket: Docket) -> None:
    snapshot = await docket.snapshot()
    assert (snapshot.total_tasks, snapshot.future, snapshot.running, snapshot.workers) == (0, [], [], [])
    assert await docket.workers() == await docket.task_workers("send") == []


async def test_looking_changes_nothing(docket: Docket) -> None:
    """pydocket creates the consumer group, and with it the stream, of a docket that it only looks at."""
    await docket.snapshot()
    assert await keys_of(docket) == []
    await docket.add(send)("ann")
    await docket.add(send, when=later())("bob")
    before = await contents(docket)
    await docket.snapshot()
    assert await contents(docket) == before
    async with docket.redis() as redis:
        assert await redis.xinfo_groups(docket.stream_key) == []


async def test_what_runs_is_listed(docket: Docket) -> None:
    started, go_on = anyio.Event(), anyio.Event()

    async def wait(*args: object, **kwargs: object) -> None:
        started.set()
        await go_on.wait()

    async with running(docket, name="W"):
        await docket.add(wait, key="one")("a", b=2)
        await started.wait()
        snapshot = await docket.snapshot()
        (execution,) = snapshot.running
        assert (execution.key, execution.worker, execution.state) == ("one", "W", ExecutionState.RUNNING)
        assert (execution.args, execution.kwargs, execution.function) == (("a",), {"b": 2}, wait)
        assert snapshot.taken - 5 * SECOND <= execution.started <= docket.broker.clock.now()
        assert execution.started == execution.started_at
        assert (snapshot.total_tasks, snapshot.future) == (1, [])
        assert [each.name for each in snapshot.workers] == ["W"]
        go_on.set()
        assert await execution.get_result() is None  # a handle like any other


@virtual_time
async def test_a_run_has_started_when_it_began_and_not_when_its_lease_was_renewed(docket: Docket) -> None:
    """pydocket's ``started`` moves on with every renewal."""
    started = anyio.Event()

    async def wait() -> None:
        started.set()
        await anyio.sleep(600)

    async with running(docket, redelivery_timeout=4 * SECOND):
        await docket.add(wait)()
        await started.wait()
        await anyio.sleep(60)
        snapshot = await docket.snapshot()
        assert timedelta(seconds=59) < snapshot.taken - snapshot.running[0].started < timedelta(seconds=61)


async def test_a_task_in_the_hands_of_a_worker_that_has_not_started_it(docket: Docket) -> None:
    await docket.add(send, key="one")("ann")
    async with docket.broker.open_intake("W") as intake:
        (delivery,) = await intake.claim(1, wait=SECOND)
        snapshot = await docket.snapshot()
        assert [(each.key, each.worker) for each in snapshot.running] == [("one", "W")]
        assert abs(snapshot.taken - snapshot.running[0].started) < 5 * SECOND
        await docket.broker.queue.hand_back(delivery, "W", docket.broker.clock.now())
    assert [each.key for each in (await docket.snapshot()).future] == ["one"]


async def test_listing_does_not_unpickle(docket: Docket) -> None:
    unpickled.clear()
    await docket.add(send, key="ready")(Marked(1))
    await docket.add(send, when=later(), key="future")(Marked(2))
    snapshot = await docket.snapshot()
    assert unpickled == []
    assert snapshot.future[0].args == snapshot.future[0].args == (Marked(1),)
    assert unpickled == [1]
    assert snapshot.future[1].args == (Marked(2),)


async def test_arguments_that_cannot_be_unpickled_harm_only_who_looks_at_them(docket: Docket) -> None:
    await docket.add(send, key="ready")("ann")
    await docket.add(send, when=later(), key="future")("bob")
    async with docket.redis() as redis:
        await redis.hset(docket.parked_task_key("future"), "args", b"no pickle")
    ready, future = (await docket.snapshot()).future
    assert ready.args == ("ann",)
    with pytest.raises(CorruptMessage, match="send"):
        assert future.args
    assert future.key == "future"


async def test_a_task_that_is_not_known_here(docket: Docket, store: Store) -> None:
    await docket.add(send, key="one")("ann")
    async with Docket(store.docket_name, store.url) as other:
        (execution,) = (await other.snapshot()).future
        assert execution.function.__name__ == execution.function_name == "send"
        assert execution.args == ("ann",)
        with pytest.raises(UnknownTask, match="send"):
            await execution.function()


async def test_entries_that_are_no_messages_are_counted_and_not_listed(docket: Docket) -> None:
    await docket.add(send, key="one")("ann")
    async with docket.redis() as redis:
        await redis.xadd(docket.stream_key, {"what": "is this"})
        await redis.zadd(docket.queue_key, {"nothing": 1e10})
        snapshot = await docket.snapshot()
        assert (snapshot.total_tasks, [each.key for each in snapshot.future]) == (3, ["one"])
        await redis.zrem(docket.queue_key, "nothing")


async def test_a_record_that_cannot_be_read_harms_no_other_task(docket: Docket) -> None:
    await docket.add(send, key="one")("ann")
    await docket.add(send, key="two")("bob")
    async with docket.redis() as redis:
        await redis.hset(docket.runs_key("one"), "state", "bewildered")
    assert [each.key for each in (await docket.snapshot()).future] == ["two"]


async def test_messages_that_will_not_run_are_not_listed(docket: Docket) -> None:
    broker = docket.broker
    for key in ("cancelled", "replaced"):
        await docket.add(send, when=later(), key=key)("ann")
    await broker.queue.promote(later(2 * HOUR), limit=10)  # nobody notes the ids of their entries
    await docket.cancel("cancelled")
    await docket.replace(send, later(), "replaced")("bob")
    assert [(each.key, each.args) for each in (await docket.snapshot()).future] == [("replaced", ("bob",))]


async def test_a_retry_is_listed_with_its_attempt(docket: Docket) -> None:
    failed = anyio.Event()

    async def fail(retry: Retry = Retry(attempts=2, delay=HOUR)) -> None:
        failed.set()
        raise ValueError

    async with running(docket):
        execution = await docket.add(fail)()
        await failed.wait()
        while execution.state is not ExecutionState.SCHEDULED or execution.worker:
            await execution.sync()
    (waiting,) = (await docket.snapshot()).future
    assert (waiting.key, waiting.attempt) == (execution.key, 2)
    assert waiting.generation == 2


async def test_many_are_listed_in_part(docket: Docket) -> None:
    await docket.add_many([docket.call(send)(n) for n in range(1005)])
    calls = [docket.call(send, when=later(timedelta(seconds=60 + n)))(n) for n in range(1010)]
    await docket.add_many(calls)
    snapshot = await docket.snapshot()
    assert snapshot.total_tasks == 2015
    assert [each.key for each in snapshot.future[1000:]] == [each.key for each in calls]
    await docket.clear()


async def test_workers_are_listed_with_their_tasks(docket: Docket) -> None:
    docket.register(send)
    async with running(docket, name="A"), running(docket, name="B"):
        workers = sorted(await docket.workers(), key=lambda each: each.name)
        assert [each.name for each in workers] == ["A", "B"]
        for each in workers:
            assert {"send", "trace", "fail", "sleep"} <= each.tasks
            assert abs(each.last_seen - docket.broker.clock.now()) < 5 * SECOND
        assert {each.name for each in await docket.task_workers("send")} == {"A", "B"}
        assert await docket.task_workers("unheard of") == []
    assert await docket.workers() == await docket.task_workers("send") == []


async def test_workers_are_forgotten_by_the_dockets_own_window(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, heartbeat_interval=SECOND, missed_heartbeats=3) as docket:
        broker = docket.broker
        for name, age in (("fresh", 2), ("stale", 4)):
            seen = broker.clock.now() - timedelta(seconds=age)
            await broker.presence.heartbeat(name, ["send"], now=seen, window=60 * SECOND)
        assert [each.name for each in await docket.workers()] == ["fresh"]
        assert [each.name for each in await docket.task_workers("send")] == ["fresh"]
        assert [each.name for each in (await docket.snapshot()).workers] == ["fresh"]
        async with docket.redis() as redis:
            assert await redis.zcard(docket.workers_set) == await redis.zcard(docket.task_workers_set("send")) == 1
        await broker.presence.depart("stale", ["send"])


async def test_a_snapshot_is_a_value(docket: Docket) -> None:
    snapshot = await docket.snapshot()
    with pytest.raises(FrozenInstanceError):
        snapshot.total_tasks = 7


@pytest.mark.parametrize("name", ["snapshot", "workers", "clear"])
async def test_the_docket_must_be_open(anyio_backend: object, name: str) -> None:
    with pytest.raises(NotOpen):
        await getattr(Docket("closed", "memory://closed"), name)()


async def test_pydocket_sees_the_same(docket: Docket, store: Store, anyio_backend: tuple[str, object]) -> None:
    pydocket: Any = pytest.importorskip("docket")
    if store.kind == "memory" or anyio_backend[0] != "asyncio":
        pytest.skip("pydocket shares a real Redis, and runs on asyncio")
    await docket.add(send, key="ready")("ann")
    await docket.add(send, when=later(), key="future")("bob", urgent=True)
    await docket.add(send, key="runs")("eve")
    broker = docket.broker
    async with broker.open_intake(f"W{os.getpid()}") as intake:
        deliveries = [each for each in await intake.claim(2, wait=SECOND) if hasattr(each, "message")]
        await broker.queue.start(deliveries[1], f"W{os.getpid()}", broker.clock.now())
        await broker.queue.hand_back(deliveries[0], f"W{os.getpid()}", broker.clock.now())
        async with pydocket.Docket(store.docket_name, store.url) as other:
            other.register(send)
            theirs, ours = await other.snapshot(), await docket.snapshot()
            assert theirs.total_tasks == ours.total_tasks == 3
            for their, our in ((theirs.future, ours.future), (theirs.running, ours.running)):
                assert [(each.key, each.args, each.kwargs, each.when, each.function_name) for each in their] == [
                    (each.key, each.args, each.kwargs, each.when, each.function_name) for each in our
                ]
            assert theirs.running[0].worker == ours.running[0].worker
            assert await docket.clear() == 2
            cleared = await other.get_execution("future")
            assert cleared.state is pydocket.ExecutionState.CANCELLED
            with pytest.raises(pydocket.ExecutionCancelled):
                await cleared.get_result()
            assert (await other.add("send", key="ready")("again")).disposition is pydocket.Disposition.SCHEDULED
            # Theirs takes the message of the running task, too, and counts it.
            assert await other.clear() == 2
            assert await docket.clear() == 0
            assert (await docket.snapshot()).total_tasks == 0
        await docket.cancel("runs")
