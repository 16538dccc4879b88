"""A docket that is paused: what runs ends, and nothing begins on any worker until it is resumed."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio
import pytest

from docket_anyio import ConcurrencyLimit, Docket, ExecutionState, Retry, Worker
from docket_anyio.abc import DropReason
from docket_anyio.exceptions import ExecutionExpired, NotHonoured
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import leaks, open_docket, run_all, running
from tests.worker.instruments import Drops

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


async def give(value: str) -> str:
    return value


def now(docket: Docket) -> datetime:
    return docket.broker.clock.now()


async def settled(docket: Docket) -> None:
    """Wait until a worker has had its chance to do something wrong."""
    await anyio.sleep(0.05)
    with anyio.fail_after(2):
        while (await docket.snapshot()).running:  # noqa: ASYNC110 - on its way back, of which nobody is told
            await anyio.sleep(0.01)


async def test_nothing_begins_until_it_is_resumed(docket: Docket) -> None:
    await docket.pause()
    execution = await docket.add(give)("value")
    async with running(docket, name="A"), running(docket, name="B"):
        await settled(docket)
        await execution.sync()
        assert execution.state is ExecutionState.QUEUED
        await docket.resume()
        with anyio.fail_after(2):
            assert await execution.get_result() == "value"


async def test_a_worker_that_waits_for_tasks_is_paused_too(docket: Docket) -> None:
    drops = Drops()
    async with running(docket, instruments=[drops]):
        first = await docket.add(give)("first")
        assert await first.get_result() == "first"
        await docket.pause()
        executions = [await docket.add(give)(str(number)) for number in range(20)]
        await settled(docket)
        snapshot = await docket.snapshot()
        assert snapshot.paused
        assert len(snapshot.future) == 20
        # What had been claimed in that moment went back, once: nobody claims again and again.
        assert set(drops.reasons) <= {DropReason.HANDED_BACK}
        assert len(drops.reasons) <= 20
        await docket.resume()
        for number, each in enumerate(executions):
            assert await each.get_result(timeout=2 * SECOND) == str(number)
    assert not (await docket.snapshot()).paused


async def test_what_runs_goes_on_and_its_retry_waits(docket: Docket) -> None:
    begun, may_end = anyio.Event(), anyio.Event()

    async def flaky(retry: Retry = Retry(attempts=2)) -> int:
        begun.set()
        await may_end.wait()
        if retry.attempt == 1:
            raise ValueError("not yet")
        return retry.attempt

    async with running(docket):
        execution = await docket.add(flaky)()
        await begun.wait()
        await docket.pause()
        may_end.set()
        await settled(docket)
        await execution.sync()
        assert execution.state is ExecutionState.QUEUED
        await docket.resume()
        with anyio.fail_after(2):
            assert await execution.get_result() == 2


async def test_a_task_that_was_handed_back_has_all_its_attempts(docket: Docket) -> None:
    async def tell(retry: Retry = Retry(attempts=2)) -> int:
        return retry.attempt

    async with running(docket):
        await docket.pause()
        execution = await docket.add(tell)()
        await settled(docket)
        await docket.resume()
        assert await execution.get_result() == 1


@virtual_time
async def test_future_tasks_come_due_meanwhile(docket: Docket) -> None:
    async with running(docket):
        await docket.pause()
        execution = await docket.add(give, now(docket) + 10 * MINUTE)("value")
        await anyio.sleep(700)
        await execution.sync()
        assert execution.state is ExecutionState.QUEUED
        await docket.resume()
        with anyio.fail_after(0.1):
            assert await execution.get_result() == "value"


@virtual_time
async def test_the_time_goes_on_for_what_expires(docket: Docket) -> None:
    async with running(docket):
        await docket.pause()
        execution = await docket.add(give, expires=MINUTE)("value")
        await anyio.sleep(61)
        await docket.resume()
        with pytest.raises(ExecutionExpired):
            await execution.get_result()


@virtual_time
async def test_a_resume_that_nobody_heard_of_is_noticed(docket: Docket) -> None:
    await docket.pause()
    execution = await docket.add(give)("value")
    async with running(docket):
        async with docket.redis() as redis:
            await redis.delete(docket.key("anyio:paused"))
        with anyio.fail_after(6):
            assert await execution.get_result() == "value"


@virtual_time
async def test_a_pause_that_nobody_heard_of_is_noticed_at_the_first_task(docket: Docket) -> None:
    drops = Drops()
    async with running(docket, instruments=[drops]):
        async with docket.redis() as redis:
            await redis.set(docket.key("anyio:paused"), "since now")
        execution = await docket.add(give)("value")
        await anyio.sleep(60)
        # Once more by the claim that waited already when it went back.
        assert drops.reasons == [DropReason.HANDED_BACK] * 2
        await docket.resume()
        assert await execution.get_result() == "value"


@virtual_time
async def test_a_line_goes_on_where_it_stood(docket: Docket) -> None:
    order: list[str] = []

    async def work(value: str, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=1)) -> None:
        order.append(value)
        await anyio.sleep(60)

    async with running(docket):
        executions = []
        for value in "abc":
            executions.append(await docket.add(work)(value))
            await anyio.sleep(1)
        await docket.pause()
        await anyio.sleep(600)
        assert order == ["a"]
        await docket.resume()
        with anyio.fail_after(121):
            for each in executions:
                await each.get_result()
    assert order == ["a", "b", "c"]


async def test_a_worker_that_stops_meanwhile_leaves_nothing_behind(docket: Docket) -> None:
    await docket.pause()
    execution = await docket.add(give)("value")
    async with running(docket):
        await settled(docket)
    async with docket.redis() as redis:
        assert (await redis.xpending(docket.stream_key, docket.worker_group_name))["pending"] == 0
    assert (await docket.snapshot()).workers == []
    await docket.resume()
    await run_all(docket)
    assert await execution.get_result() == "value"


async def test_a_worker_that_is_to_empty_the_docket_waits(docket: Docket) -> None:
    await docket.pause()
    execution = await docket.add(give)("value")
    async with Worker(docket) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.run_until_finished)
        await settled(docket)
        await docket.resume()
        with anyio.fail_after(2):
            assert await execution.get_result() == "value"


async def test_waiting_tasks_can_be_cancelled_and_cleared(docket: Docket) -> None:
    await docket.pause()
    one, two = await docket.add(give)("one"), await docket.add(give)("two")
    async with running(docket):
        await docket.cancel(one.key)
        assert await docket.clear() == 1
        for each in (one, two):
            await each.sync()
            assert each.state is ExecutionState.CANCELLED
    await docket.resume()


async def test_pausing_and_resuming_twice_is_no_mistake(docket: Docket) -> None:
    assert not await docket.is_paused()
    await docket.resume()
    for _ in range(2):
        await docket.pause()
        assert await docket.is_paused()
    for _ in range(2):
        await docket.resume()
        assert not await docket.is_paused()
    assert await leaks(docket) == []


async def test_a_pause_is_about_one_docket(docket: Docket, store: Store) -> None:
    async with Docket(f"{store.docket_name}-other", store.url) as other, running(other):
        await docket.pause()
        execution = await other.add(give)("value")
        assert await execution.get_result() == "value"
        assert not await other.is_paused()


async def test_a_docket_stays_paused_while_nobody_has_it_open(store: Store, anyio_backend: object) -> None:
    async with open_docket(store) as keeper:  # memory:// is there as long as somebody has it open
        async with open_docket(store) as docket:
            await docket.pause()
        async with open_docket(store) as docket:
            assert await docket.is_paused()
        await keeper.resume()


async def test_a_pause_is_refused_where_a_worker_would_go_on(docket: Docket) -> None:
    async with running(docket):
        async with docket.redis() as redis:
            await redis.zadd(docket.workers_set, {"theirs": now(docket).timestamp()})
            with pytest.raises(NotHonoured, match="'theirs' is not one of docket-anyio's"):
                await docket.pause()
            assert not await docket.is_paused()
            await redis.zrem(docket.workers_set, "theirs")
        await docket.pause()
        await docket.resume()
