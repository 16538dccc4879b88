"""No more runs at once than a ConcurrencyLimit says; the others wait in line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
import redis
from attrs import define, field

from docket_anyio import (
    ConcurrencyLimit,
    Disposition,
    Docket,
    Execution,
    ExecutionState,
    Perpetual,
    Retry,
    Timeout,
    Worker,
)
from docket_anyio.exceptions import ExecutionCancelled, InvalidSetting, InvalidTask, NotOpen, TaskTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import leaks, open_docket, run_all, running
from tests.servers import RedisServer

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@define(eq=False)
class Meter:
    """Counts who is inside at once."""

    inside: Counter[object] = field(factory=Counter)
    most: Counter[object] = field(factory=Counter)
    began: list[object] = field(factory=list)

    async def stay(self, what: object, seconds: float, *, subject: object = None) -> None:
        self.began.append(what)
        self.inside[subject] += 1
        self.most[subject] = max(self.most[subject], self.inside[subject])
        try:
            await anyio.sleep(seconds)
        finally:
            self.inside[subject] -= 1


async def drained(docket: Docket) -> None:
    with anyio.fail_after(10_000):
        while not await docket.broker.queue.is_empty():  # noqa: ASYNC110 - only Redis knows
            await anyio.sleep(1)


async def in_turn(docket: Docket, task: Callable[..., Awaitable[Any]], count: int) -> list[Execution[Any]]:
    """Add a task so many times, each so late after the one before that its run comes after it."""
    executions = []
    for number in range(count):
        executions.append(await docket.add(task)(number))
        await anyio.sleep(0.1)
    return executions


async def until_waiting(docket: Docket, count: int) -> None:
    """Until so many wait for a slot."""
    async with docket.redis() as redis:
        for _ in range(2000):
            streams = [key async for key in redis.scan_iter(match=f"{docket.name}:*:waiters")]
            if sum([await redis.xlen(key) for key in streams]) == count:
                return
            await anyio.sleep(0.001)
    pytest.fail(f"not {count} wait for a slot")


async def slots_of(docket: Docket, name: str) -> list[bytes]:
    async with docket.redis() as redis:
        return await redis.zrange(f"{docket.name}:concurrency:{name}", 0, -1)


@virtual_time
async def test_of_a_task(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=3)) -> None:
        await meter.stay(number, 10)

    for number in range(10):
        await docket.add(work)(number)
    watch = Stopwatch()
    await run_all(docket, concurrency=20)
    assert meter.most[None] == 3
    assert watch.seconds() == pytest.approx(40, abs=0.1)
    assert watch.real_seconds() < 2


async def test_of_a_task_for_real(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=2)) -> int:
        await meter.stay(number, 0.01)
        return number

    executions = [await docket.add(work)(number) for number in range(8)]
    async with Worker(docket, name="A", concurrency=5) as one, Worker(docket, name="B", concurrency=5) as other:
        with anyio.fail_after(4):
            async with anyio.create_task_group() as group:
                group.start_soon(one.run_until_finished)
                group.start_soon(other.run_until_finished)
    assert meter.most[None] == 2
    assert [await each.get_result() for each in executions] == list(range(8))


@virtual_time
async def test_of_each_argument(docket: Docket) -> None:
    meter = Meter()

    async def work(customer: str, limit: ConcurrencyLimit = ConcurrencyLimit("customer", 2)) -> None:
        await meter.stay(customer, 10, subject=customer)

    for customer in "aaaabbbb":
        await docket.add(work)(customer)
    watch = Stopwatch()
    await run_all(docket, concurrency=20)
    assert meter.most == {"a": 2, "b": 2}
    assert watch.seconds() == pytest.approx(20, abs=0.1)


@virtual_time
async def test_a_default_is_an_argument_too(docket: Docket) -> None:
    meter = Meter()

    async def work(customer: str = "a", limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None:
        await meter.stay(customer, 10, subject=customer)

    await docket.add(work)()
    await docket.add(work)("a")
    await docket.add(work)(customer="b")
    await run_all(docket)
    assert meter.most == {"a": 1, "b": 1}


@virtual_time
async def test_tasks_share_the_limits_of_an_argument_within_a_scope(docket: Docket) -> None:
    meter = Meter()

    async def one(customer: str, limit: ConcurrencyLimit = ConcurrencyLimit("customer", scope="db")) -> None:
        await meter.stay("one", 10, subject="db")

    async def other(customer: str, limit: ConcurrencyLimit = ConcurrencyLimit("customer", scope="db")) -> None:
        await meter.stay("other", 10, subject="db")

    async def elsewhere(customer: str, limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None:
        await meter.stay("elsewhere", 10, subject="docket")
        assert limit.concurrency_key == f"{docket.name}:concurrency:customer:a"

    executions = [await docket.add(task)("a") for task in (one, other, elsewhere)]
    watch = Stopwatch()
    await run_all(docket)
    for each in executions:
        await each.get_result()
    assert meter.most == {"db": 1, "docket": 1}
    assert watch.seconds() == pytest.approx(20, abs=0.1)


@virtual_time
async def test_who_waits_goes_on_in_the_order_of_coming(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=2)) -> None:
        await meter.stay(number, 5 + number * 7 % 11 / 4 + number / 1000)

    async with running(docket, name="A", concurrency=50), running(docket, name="B", concurrency=50):
        for number in range(40):
            await docket.add(work)(number)
            await anyio.sleep(1)
        await drained(docket)
    assert meter.began == list(range(40))
    assert meter.most[None] == 2


@virtual_time
async def test_a_waiting_run_goes_on_the_moment_a_slot_is_free(docket: Docket) -> None:
    times: list[float] = []

    async def work(limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        times.append(anyio.current_time())
        await anyio.sleep(7.5)
        times.append(anyio.current_time())

    for _ in range(5):
        await docket.add(work)()
    await run_all(docket)
    starts, ends = times[::2], times[1::2]
    assert [begin - end for end, begin in zip(ends, starts[1:], strict=False)] == pytest.approx([0] * 4, abs=0.001)


@virtual_time
async def test_who_waits_takes_no_slot_of_the_worker(docket: Docket) -> None:
    async def work(limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await anyio.sleep(100)

    async def other() -> float:
        return anyio.current_time()

    for _ in range(5):
        await docket.add(work)()
    begin = anyio.current_time()
    execution = await docket.add(other)()
    await run_all(docket, concurrency=2)
    assert await execution.get_result() - begin < 1


@virtual_time
async def test_a_waiting_run_is_scheduled_and_its_key_is_taken(docket: Docket) -> None:
    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> int:
        await anyio.sleep(10)
        return number

    await docket.add(work)(1)
    async with running(docket):
        await anyio.sleep(1)
        execution = await docket.add(work, key="waits")(2)
        await until_waiting(docket, 1)
        await execution.sync()
        assert (execution.state, execution.worker, execution.started_at) == (ExecutionState.SCHEDULED, None, None)
        again = await docket.add(work, key="waits")(3)
        assert again.disposition is Disposition.ALREADY_SCHEDULED
        snapshot = await docket.snapshot()
        assert [(each.key, each.args) for each in snapshot.future] == [("waits", (2,))]
        assert await execution.get_result() == 2


@virtual_time
async def test_a_cancelled_waiter_never_runs(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await meter.stay(number, 10)

    async with running(docket):
        executions = await in_turn(docket, work, 4)
        await until_waiting(docket, 3)
        await docket.cancel(executions[1].key)
        with pytest.raises(ExecutionCancelled):
            await executions[1].get_result()
        watch = Stopwatch()
        await drained(docket)
        assert watch.seconds() < 31
    assert meter.began == [0, 2, 3]


@virtual_time
async def test_a_replaced_waiter_runs_as_it_is_now(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> int:
        await meter.stay(number, 10)
        return number

    async with running(docket):
        for number in range(3):
            await docket.add(work, key=f"{number}")(number)
            await anyio.sleep(0.1)
        await until_waiting(docket, 2)
        execution = await docket.replace(work, datetime.now(UTC), "1")(10)
        await until_waiting(docket, 2)
        assert await execution.get_result() == 10
        await drained(docket)
    assert meter.began == [0, 2, 10]


@virtual_time
async def test_cleared_waiters_never_run(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await meter.stay(number, 10)

    async with running(docket):
        await in_turn(docket, work, 4)
        await until_waiting(docket, 3)
        assert await docket.clear() == 3
        await drained(docket)
    assert meter.began == [0]


@virtual_time
@pytest.mark.parametrize("how", ["fails", "times out", "is cancelled", "retries", "repeats"])
async def test_however_a_run_ends_the_next_goes_on(docket: Docket, how: str) -> None:
    second = anyio.Event()

    async def first(
        where: str,
        limit: ConcurrencyLimit = ConcurrencyLimit("where"),
        timeout: Timeout = Timeout(10 * SECOND),
        retry: Retry = Retry(attempts=2 if how == "retries" else 1, delay=MINUTE),
    ) -> None:
        if how in {"fails", "retries"} and retry.attempt == 1:
            await anyio.sleep(9)
            raise ValueError("no")
        if how == "retries":
            assert second.is_set()
            return
        await anyio.sleep(5 if how == "repeats" else 1000)

    async def repeats(
        where: str,
        limit: ConcurrencyLimit = ConcurrencyLimit("where"),
        perpetual: Perpetual = Perpetual(every=timedelta(hours=1)),
    ) -> None:
        if second.is_set():
            perpetual.cancel()
        await anyio.sleep(5)

    async def follows(where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where")) -> None:
        second.set()

    async with running(docket):
        execution = await docket.add(repeats if how == "repeats" else first)("here")
        await anyio.sleep(1)
        await docket.add(follows)("here")
        await until_waiting(docket, 1)
        if how == "is cancelled":
            await docket.cancel(execution.key)
        with anyio.fail_after(15):
            await second.wait()
        expected = {"fails": ValueError, "times out": TaskTimeout, "is cancelled": ExecutionCancelled}.get(how)
        if expected is not None:
            with pytest.raises(expected):
                await execution.get_result()
        await drained(docket)
    assert await slots_of(docket, "where:here") == []


@virtual_time
async def test_a_retry_that_is_due_at_once_does_not_wait_for_itself(docket: Docket) -> None:
    attempts: list[int] = []

    async def work(limit: ConcurrencyLimit = ConcurrencyLimit(), retry: Retry = Retry(attempts=5)) -> None:
        attempts.append(retry.attempt)
        if retry.attempt < 5:
            raise ValueError("no")

    watch = Stopwatch()
    await docket.add(work)()
    await run_all(docket)
    assert attempts == [1, 2, 3, 4, 5]
    assert watch.seconds() < 1


@virtual_time
async def test_waiting_does_not_count_as_an_attempt_nor_against_the_timeout(docket: Docket) -> None:
    attempts: list[int] = []

    async def work(
        limit: ConcurrencyLimit = ConcurrencyLimit(),
        timeout: Timeout = Timeout(15 * SECOND),
        retry: Retry = Retry(attempts=2),
    ) -> None:
        attempts.append(retry.attempt)
        await anyio.sleep(10)

    executions = [await docket.add(work)() for _ in range(4)]
    await run_all(docket)
    for each in executions:
        await each.get_result()
    assert attempts == [1, 1, 1, 1]


@virtual_time
async def test_waiting_does_not_count_as_a_run_of_run_at_most(docket: Docket) -> None:
    runs: list[str] = []

    async def work(
        where: str = "x", limit: ConcurrencyLimit = ConcurrencyLimit("where"), perpetual: Perpetual = Perpetual()
    ) -> None:
        runs.append("run")

    async def hold(where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where")) -> None:
        await anyio.sleep(10)

    await docket.add(hold)("x")
    async with Worker(docket) as worker:
        await docket.add(work, key="counted")()
        await worker.run_at_most({"counted": 3})
    assert runs == ["run"] * 3


@virtual_time
async def test_what_is_handed_back_gives_its_slot_back(docket: Docket) -> None:
    workers: list[str] = []

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        workers.append(f"begin {number}")
        await anyio.sleep(100)
        workers.append(f"end {number}")

    async with running(docket, name="A") as leaving:
        await in_turn(docket, work, 2)
        await until_waiting(docket, 1)
        leaving.stop(timedelta(0))
    assert await slots_of(docket, "work") == []
    watch = Stopwatch()
    await run_all(docket, name="B")
    assert watch.seconds() == pytest.approx(200, abs=0.5)
    assert sorted(workers) == ["begin 0", "begin 0", "begin 1", "end 0", "end 1"]


@virtual_time
async def test_a_slot_lasts_as_long_as_its_run(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await meter.stay(number, 600)

    async with running(docket, name="A", redelivery_timeout=MINUTE):
        await in_turn(docket, work, 3)
        await run_all(docket, name="B", redelivery_timeout=MINUTE)
    assert meter.began == [0, 1, 2]
    assert meter.most[None] == 1


async def test_a_slot_that_is_renewed_while_its_run_ends_is_free_afterwards(
    anyio_backend: object, redis_server: RedisServer
) -> None:
    begun, over = anyio.Event(), anyio.Event()

    async def work(limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        begun.set()
        await over.wait()

    async with open_docket(Store("redis", redis_server.url, f"test-{uuid4()}")) as docket:
        async with running(docket, redelivery_timeout=timedelta(seconds=1.2)):
            await docket.add(work)()
            await begun.wait()
            # So it is due to be renewed before anybody hears that it was given back.
            with redis.Redis.from_url(redis_server.url) as client:
                client.client_pause(700)
            over.set()
        assert await slots_of(docket, "work") == []


@virtual_time
async def test_the_slot_of_a_dead_worker_goes_to_its_own_task_and_then_to_the_next(docket: Docket) -> None:
    """It died just after it had taken the slot."""
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await meter.stay(number, 10)

    await docket.add(work, key="dead")(0)
    stream = docket.stream_key
    async with docket.redis() as redis:
        await redis.xgroup_create(stream, "docket-workers", "0-0", mkstream=True)
        await redis.xreadgroup("docket-workers", "dead", {stream: ">"})
        await redis.hset(docket.runs_key("dead"), mapping={"state": "running", "worker": "dead"})
        await redis.hdel(docket.runs_key("dead"), "known", "stream_id")
        seconds, microseconds = await redis.time()
        await redis.zadd(f"{docket.name}:concurrency:work", {"dead": seconds + microseconds / 1e6 + 3})
    await docket.add(work)(1)
    watch = Stopwatch()
    await run_all(docket, redelivery_timeout=MINUTE)
    assert sorted(meter.began) == [0, 1]
    assert meter.most[None] == 1
    assert watch.seconds() < 60 + 15 * 1.25 + 21


@virtual_time
async def test_a_slot_that_nobody_gives_back_comes_back_though_nobody_comes(docket: Docket) -> None:
    """Nor is the first look of the safeguard the last: then whoever has the slot may still live."""
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await meter.stay(number, 10)

    slots = f"{docket.name}:concurrency:work"
    async with docket.redis() as redis, running(docket, redelivery_timeout=MINUTE):
        await redis.zadd(slots, {"elsewhere": (await redis.time())[0]})
        await redis.expire(slots, 600)
        await in_turn(docket, work, 3)
        await until_waiting(docket, 3)
        for _ in range(10):
            await anyio.sleep(15)
            await redis.zadd(slots, {"elsewhere": (await redis.time())[0]})
            assert meter.began == []
        watch = Stopwatch()
        await drained(docket)
        assert watch.seconds() < 120 + 31
    assert meter.began == [0, 1, 2]


@virtual_time
async def test_a_run_whose_slot_another_has_got_is_stopped_and_waits_in_line(docket: Docket) -> None:
    """Its worker was cut off for so long that it was taken for dead."""
    meter = Meter()
    results: list[int] = []

    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await meter.stay(number, 100)
        results.append(number)

    slots = f"{docket.name}:concurrency:work"
    async with docket.redis() as redis, running(docket, redelivery_timeout=MINUTE):
        await docket.add(work)(1)
        await anyio.sleep(1)
        await redis.delete(slots)
        await redis.zadd(slots, {"another": (await redis.time())[0] + 60})
        await redis.expire(slots, 600)
        await anyio.sleep(16)
        assert meter.inside[None] == 0
        await until_waiting(docket, 1)
        await drained(docket)
    assert results == [1]
    assert meter.began == [1, 1]


@virtual_time
async def test_a_limit_that_is_replaced_by_an_argument_limits_nothing(docket: Docket) -> None:
    meter = Meter()

    async def work(number: int, limit: ConcurrencyLimit | None = ConcurrencyLimit()) -> None:
        await meter.stay(number, 10)

    for number in range(3):
        await docket.add(work)(number, limit=None)
    await run_all(docket)
    assert meter.most[None] == 3


def test_what_cannot_be_a_limit() -> None:
    for wrong in (
        lambda: ConcurrencyLimit(0),
        lambda: ConcurrencyLimit("a", 0),
        lambda: ConcurrencyLimit(max_concurrent=-1),
    ):
        with pytest.raises(InvalidSetting, match="max_concurrent"):
            wrong()


def test_the_ways_to_write_it() -> None:
    assert [
        (each.argument_name, each.max_concurrent, each.scope)
        for each in (
            ConcurrencyLimit(),
            ConcurrencyLimit(3),
            ConcurrencyLimit(3, scope="s"),
            ConcurrencyLimit(max_concurrent=4),
            ConcurrencyLimit("a"),
            ConcurrencyLimit("a", 5, "s"),
            ConcurrencyLimit("a", max_concurrent=6),
        )
    ] == [
        (None, 1, None),
        (None, 3, None),
        (None, 3, "s"),
        (None, 4, None),
        ("a", 1, None),
        ("a", 5, "s"),
        ("a", 6, None),
    ]


def test_it_has_a_key_only_in_a_task() -> None:
    with pytest.raises(NotOpen):
        _ = ConcurrencyLimit().concurrency_key
    assert issubclass(NotOpen, RuntimeError)


async def test_a_parameter_that_is_not_there_is_found_at_registration(docket: Docket) -> None:
    async def work(customer: str, limit: ConcurrencyLimit = ConcurrencyLimit("custommer")) -> None: ...

    with pytest.raises(InvalidTask, match="'custommer'"):
        docket.register(work)


async def test_an_argument_that_is_not_given_fails_the_run(docket: Docket) -> None:
    async def work(limit: ConcurrencyLimit = ConcurrencyLimit("customer"), **more: str) -> str:
        return limit.concurrency_key

    good, bad = await docket.add(work)(customer="a"), await docket.add(work)(other="a")
    await run_all(docket)
    assert await good.get_result() == f"{docket.name}:concurrency:customer:a"
    with pytest.raises(ValueError, match="'customer'"):
        await bad.get_result()


async def test_a_value_whose_key_would_be_that_of_a_line_fails_the_run(docket: Docket) -> None:
    async def work(customer: str, limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None: ...

    execution = await docket.add(work)("a:waiters")
    await run_all(docket)
    with pytest.raises(InvalidSetting, match="a:waiters"):
        await execution.get_result()


async def test_nothing_is_left_of_a_limit(docket: Docket) -> None:
    async def work(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await anyio.sleep(0.001)

    for number in range(5):
        await docket.add(work)(number)
    await run_all(docket)
    assert await leaks(docket) == []
    async with docket.redis() as redis:
        assert [key async for key in redis.scan_iter(match=f"{docket.name}:*concurrency*")] == []
        assert [key async for key in redis.scan_iter(match=f"{docket.name}:*safeguard*")] == []
