"""Clearing a docket: what waits goes, what runs stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from docket_anyio import Disposition, Docket, ExecutionCancelled, ExecutionState
from tests.conftest import Store
from tests.dockets import contents, keys_of, leaks, open_docket, run_all, running
from tests.stage import Stage

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


async def send(number: int = 0) -> int:
    await anyio.lowlevel.checkpoint()
    return number


def later(delay: timedelta = HOUR) -> datetime:
    return datetime.now(UTC) + delay


async def test_what_waits_is_cancelled(docket: Docket) -> None:
    ready = [await docket.add(send, key=f"ready-{number}")(number) for number in range(3)]
    future = [await docket.add(send, when=later(), key=f"future-{number}")(number) for number in range(2)]
    assert await docket.clear() == 5
    for each in (*ready, *future):
        await each.sync()
        assert each.state is ExecutionState.CANCELLED
        assert each.completed_at is not None
        with pytest.raises(ExecutionCancelled):
            await each.get_result()
    assert (await docket.snapshot()).total_tasks == 0
    assert await leaks(docket) == []


async def test_an_empty_docket_is_clear(docket: Docket) -> None:
    assert await docket.clear() == 0
    assert await keys_of(docket) == []


async def test_clearing_again_finds_nothing(docket: Docket) -> None:
    await docket.add(send)()
    assert [await docket.clear(), await docket.clear()] == [1, 0]


async def test_the_keys_are_free_again(docket: Docket) -> None:
    await docket.add(send, key="now")(1)
    await docket.add(send, when=later(), key="later")(2)
    await docket.clear()
    again = [await docket.add(send, key=key)(3) for key in ("now", "later")]
    assert {each.disposition for each in again} == {Disposition.SCHEDULED}
    assert [each.generation for each in again] == [2, 2]
    await run_all(docket)
    assert [await each.get_result() for each in again] == [3, 3]


async def test_what_runs_goes_on_and_keeps_its_message(docket: Docket) -> None:
    stage = Stage()
    async with running(docket, concurrency=1):
        execution = await docket.add(stage.perform, key="runs")()
        await stage.started.wait()
        waiting = await docket.add(send, key="waits")()
        before = (await contents(docket))[docket.stream_key]
        assert await docket.clear() == 1
        after = (await contents(docket))[docket.stream_key]
        assert after == before[:1]
        async with docket.redis() as redis:
            assert (await redis.xpending(docket.stream_key, docket.worker_group_name))["pending"] == 1
        stage.go_on.set()
        assert await execution.get_result() == "finished"
        with pytest.raises(ExecutionCancelled):
            await waiting.get_result()


async def test_what_runs_is_taken_over_when_its_worker_dies_after_a_clear(docket: Docket) -> None:
    """pydocket takes the message of a running task off the stream, and a dead worker's task is lost."""
    broker = docket.broker
    docket.register(send)
    execution = await docket.add(send, key="one")(7)
    async with broker.open_intake("dead") as intake:
        (delivery,) = await intake.claim(1, wait=SECOND)
        await broker.queue.start(delivery, "dead", broker.clock.now())
    assert await docket.clear() == 0
    await run_all(docket, redelivery_timeout=timedelta(milliseconds=100))
    assert await execution.get_result() == 7


async def test_what_was_claimed_and_not_started_is_not_started(docket: Docket) -> None:
    broker = docket.broker
    execution = await docket.add(send, key="one")()
    async with broker.open_intake("W") as intake:
        (delivery,) = await intake.claim(1, wait=SECOND)
        assert await docket.clear() == 1
        assert (await broker.queue.start(delivery, "W", broker.clock.now())).name == "CANCELLED"
    await execution.sync()
    assert execution.state is ExecutionState.CANCELLED
    assert (await docket.snapshot()).total_tasks == 0


async def test_what_was_replaced_while_it_ran_keeps_running(docket: Docket) -> None:
    stage = Stage()
    async with running(docket):
        await docket.add(stage.perform, key="one")()
        await stage.started.wait()
        successor = await docket.replace(stage.perform, later(), "one")()
        assert await docket.clear() == 1
        await successor.sync()
        assert successor.state is ExecutionState.CANCELLED
        stage.go_on.set()
        await stage.ended.wait()


async def test_strikes_stay(docket: Docket) -> None:
    await docket.strike(send, "number", "==", 13)
    await docket.add(send)(1)
    assert await docket.clear() == 1
    assert (await docket.add(send)(13)).disposition is Disposition.STRUCK


async def test_who_waits_for_a_result_is_told(docket: Docket) -> None:
    execution = await docket.add(send, when=later())()
    async with anyio.create_task_group() as group:

        async def clear() -> None:
            await anyio.wait_all_tasks_blocked()
            await docket.clear()

        group.start_soon(clear)
        with pytest.raises(ExecutionCancelled), anyio.fail_after(4):
            await execution.get_result()


async def test_without_a_time_to_live_no_record_is_kept(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        await docket.add(send, key="now")()
        await docket.add(send, when=later(), key="later")()
        assert await docket.clear() == 2
        assert set(await keys_of(docket)) <= {docket.stream_key}


async def test_records_live_as_long_as_those_of_other_cancelled_tasks(docket: Docket) -> None:
    await docket.add(send, key="one")()
    await docket.clear()
    async with docket.redis() as redis:
        assert 890 <= await redis.ttl(docket.runs_key("one")) <= 900


async def test_many_tasks_are_cleared_in_steps(docket: Docket) -> None:
    await docket.add_many([docket.call(send, key=f"ready-{n}")(n) for n in range(1050)])
    await docket.add_many([docket.call(send, when=later(), key=f"future-{n}")(n) for n in range(1010)])
    assert await docket.clear() == 2060
    assert (await docket.snapshot()).total_tasks == 0


@pytest.mark.parametrize("in_hand", range(5))
async def test_steps_pass_what_stays(docket: Docket, in_hand: int) -> None:
    broker = docket.broker
    await docket.add_many([docket.call(send, key=f"{n}")(n) for n in range(5)])
    async with broker.open_intake("W") as intake:
        if in_hand:
            for delivery in await intake.claim(in_hand, wait=SECOND):
                await broker.queue.start(delivery, "W", broker.clock.now())
        await docket.add_many([docket.call(send, when=later(), key=f"later {n}")(n) for n in range(3)])
        assert await broker.backlog.clear(broker.clock.now(), at_once=2) == 8 - in_hand
        assert len((await docket.snapshot()).running) == in_hand
        assert await broker.queue.is_empty() is (in_hand == 0)
        for delivery in await intake.own_pending():
            await broker.queue.discard(delivery.receipt)
    for number in range(in_hand):
        await docket.cancel(f"{number}")


async def test_what_is_no_message_any_more_is_swept_and_not_counted(docket: Docket) -> None:
    broker = docket.broker
    soon = await docket.add(send, when=later(), key="one")()
    await broker.queue.promote(soon.when + SECOND, limit=1)
    async with docket.redis() as redis:
        await redis.hdel(broker.keys.runs("one"), "stream_id")  # pydocket's scheduler does not tell the id
    await docket.cancel("one")
    assert len((await contents(docket))[docket.stream_key]) == 1
    assert await docket.clear() == 0
    assert await broker.queue.is_empty()


async def test_a_key_is_counted_once_wherever_something_of_it_is(docket: Docket) -> None:
    broker = docket.broker
    await docket.add(send, key="runs")()
    async with broker.open_intake("W") as intake:
        (delivery,) = await intake.claim(1, wait=SECOND)
        await broker.queue.start(delivery, "W", broker.clock.now())
    await docket.add(send, when=later(), key="first")()
    await docket.replace(send, when=later(2 * HOUR), key="runs")()  # the run goes on, superseded
    assert await broker.backlog.clear(broker.clock.now(), at_once=1) == 2
    await broker.queue.discard(delivery.receipt)


async def test_a_message_from_before_generations_is_counted(docket: Docket) -> None:
    async with docket.redis() as redis:
        await redis.xadd(docket.stream_key, {"key": "old", "function": "send", "attempt": "1"})
    assert await docket.clear() == 1


async def test_an_entry_that_is_no_message_is_swept(docket: Docket) -> None:
    async with docket.redis() as redis:
        await redis.xadd(docket.stream_key, {"what": "is this"})
    assert await docket.clear() == 1
    assert await docket.broker.queue.is_empty()


async def test_keys_with_anything_in_them(docket: Docket) -> None:
    keys = ['"quoted"', "new\nline", "clé", "back\\slash", "a:b", "%d", "tab\t\x01"]
    executions = [await docket.add(send, when=later(), key=key)() for key in keys]
    async with docket.broker.events.watch(keys[1]) as changes:
        assert await docket.clear() == len(keys)
        change = await changes.next()
    assert (change.key, change.state) == (keys[1], ExecutionState.CANCELLED)
    for each in executions:
        await each.sync()
        assert each.state is ExecutionState.CANCELLED
