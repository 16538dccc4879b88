"""Priorities: what is more urgent begins first, and what is less so begins all the same."""

from __future__ import annotations

import itertools
from datetime import timedelta

import anyio
import pytest

from docket_anyio import (
    ConcurrencyLimit,
    CurrentExecution,
    Disposition,
    Docket,
    Execution,
    ExecutionCancelled,
    Perpetual,
    Priority,
    Retry,
    Worker,
)
from docket_anyio.exceptions import InvalidSetting, NotHonoured
from tests.clocks import virtual_time
from tests.dockets import contents, running

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NOT_NORMAL = pytest.mark.parametrize("priority", [Priority.HIGH, Priority.LOW])


async def run_all(docket: Docket, **options: object) -> None:
    async with Worker(docket, **{"concurrency": 1, **options}) as worker:
        await worker.run_until_finished()


def now(docket: Docket) -> object:
    return docket.broker.clock.now()


async def test_what_is_more_urgent_begins_first(docket: Docket) -> None:
    begun: list[str] = []

    async def note(name: str) -> None:
        begun.append(name)

    await docket.add(note, priority=Priority.LOW)("low")
    await docket.add(note)("normal")
    await docket.add(note, priority=Priority.HIGH)("high")
    await docket.add(note, priority=Priority.HIGH)("high as well")
    await run_all(docket)
    assert begun == ["high", "high as well", "normal", "low"]


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_what_is_less_urgent_is_not_forgotten(docket: Docket, concurrency: int) -> None:
    begun: list[Priority] = []

    async def note(execution: Execution[None] = CurrentExecution()) -> None:
        begun.append(execution.priority)

    async def note_and_add_another(execution: Execution[None] = CurrentExecution()) -> None:
        begun.append(execution.priority)
        if Priority.LOW not in begun:
            await docket.add(note_and_add_another, priority=Priority.HIGH)()

    for _ in range(2 * concurrency):
        await docket.add(note_and_add_another, priority=Priority.HIGH)()
    await docket.add(note, priority=Priority.LOW)()
    await docket.add(note)()
    await run_all(docket, concurrency=concurrency)
    assert begun.index(Priority.NORMAL) < 4 + concurrency
    assert begun.index(Priority.LOW) < 16 + concurrency


async def test_it_is_asked_for_wherever_a_task_is(docket: Docket) -> None:
    begun: list[str] = []

    async def note(name: str) -> None:
        begun.append(name)

    await docket.add(note, key="replaced")("old")
    await docket.add(note, priority=Priority.HIGH)("add")
    await docket.replace(note, now(docket), "replaced", priority=Priority.HIGH)("replace")
    calls = [docket.call(note, priority=each)(f"many, {each.value}") for each in reversed(Priority)]
    executions = await docket.add_many(calls)
    assert [each.priority for each in executions] == [Priority.LOW, Priority.NORMAL, Priority.HIGH]
    await run_all(docket)
    assert begun == ["add", "replace", "many, high", "many, normal", "many, low"]


@virtual_time
@NOT_NORMAL
async def test_it_stays_with_a_task_that_begins_again(docket: Docket, priority: Priority) -> None:
    begun: list[tuple[str, Priority]] = []

    def note(execution: Execution[None]) -> None:
        begun.append((execution.key, execution.priority))

    async def fail(
        execution: Execution[None] = CurrentExecution(), retry: Retry = Retry(attempts=3, delay=SECOND)
    ) -> None:
        note(execution)
        raise ValueError

    async def repeat(
        execution: Execution[None] = CurrentExecution(), perpetual: Perpetual = Perpetual(every=MINUTE)
    ) -> None:
        note(execution)
        if len([key for key, _ in begun if key == "repeat"]) == 3:
            perpetual.cancel()

    async def wait_in_line(
        execution: Execution[None] = CurrentExecution(), limit: ConcurrencyLimit = ConcurrencyLimit(1)
    ) -> None:
        note(execution)
        await anyio.sleep(1)

    await docket.add(fail, key="fail", priority=priority)()
    await docket.add(repeat, key="repeat", priority=priority)()
    await docket.add(wait_in_line, key="first", priority=priority)()
    await docket.add(wait_in_line, key="second", priority=priority)()
    await docket.add(wait_in_line, now(docket) + HOUR, "later", priority=priority)()
    await run_all(docket, concurrency=10)
    expected = ["fail"] * 3 + ["repeat"] * 3 + ["first", "second", "later"]
    assert sorted(begun, key=str) == sorted([(key, priority) for key in expected], key=str)


@NOT_NORMAL
async def test_it_is_told_of_whoever_asks(docket: Docket, priority: Priority) -> None:
    async def wait() -> None:
        await go_on.wait()

    async def priority_of(key: str) -> Priority:
        execution = await docket.get_execution(key)
        assert execution is not None
        return execution.priority

    go_on = anyio.Event()
    execution = await docket.add(wait, key="K", priority=priority)()
    await docket.add(wait, now(docket) + HOUR, "later", priority=priority)()
    assert {await priority_of("K"), await priority_of("later"), execution.priority} == {priority}
    snapshot = await docket.snapshot()
    assert [(each.key, each.priority) for each in snapshot.future] == [("K", priority), ("later", priority)]
    async with running(docket):
        with anyio.fail_after(5):
            while not (snapshot := await docket.snapshot()).running:
                await anyio.lowlevel.checkpoint()
        assert [each.priority for each in snapshot.running] == [priority]
        assert await priority_of("K") is priority
        go_on.set()
        await execution.get_result()
    assert await docket.clear() == 1
    await docket.add(wait, key="K")()
    assert await priority_of("K") is Priority.NORMAL
    await docket.cancel("K")


@NOT_NORMAL
async def test_what_waits_can_be_cancelled(docket: Docket, priority: Priority) -> None:
    async def never() -> None:
        raise AssertionError

    cancelled = await docket.add(never, priority=priority)()
    cleared = await docket.add(never, priority=priority)()
    await docket.cancel(cancelled.key)
    assert await docket.clear() == 1
    await run_all(docket)
    for each in (cancelled, cleared):
        with pytest.raises(ExecutionCancelled):
            await each.get_result()


@NOT_NORMAL
async def test_what_runs_can_be_cancelled(docket: Docket, priority: Priority) -> None:
    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    begun = anyio.Event()
    execution = await docket.add(wait, priority=priority)()
    async with running(docket):
        await begun.wait()
        await docket.cancel(execution.key)
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()


async def test_a_worker_that_never_heard_of_priorities_runs_no_more_than_it_may(docket: Docket) -> None:
    now = most = 0
    begun: list[str] = []

    async def count(name: str) -> None:
        nonlocal now, most
        begun.append(name)
        now += 1
        most = max(most, now)
        await anyio.sleep(0.01)
        now -= 1

    async def hold() -> None:
        held.set()
        await go_on.wait()

    held, go_on = anyio.Event(), anyio.Event()
    async with Worker(docket, concurrency=1) as worker, anyio.create_task_group() as group:
        await docket.add(hold)()
        group.start_soon(worker.run_until_finished)
        await held.wait()
        for priority, number in itertools.product(reversed(Priority), range(3)):
            await docket.add(count, priority=priority)(f"{priority.value} {number}")
        go_on.set()
    assert most == 1
    assert sorted(begun) == sorted(f"{each.value} {number}" for each in Priority for number in range(3))
    assert begun[:3] == ["high 0", "high 1", "high 2"]


@virtual_time
@NOT_NORMAL
async def test_what_a_dead_worker_had_is_run_by_another(docket: Docket, priority: Priority) -> None:
    async def give(value: str) -> str:
        return value

    execution = await docket.add(give, priority=priority)("value")
    async with docket.broker.open_intake("dead") as intake:
        assert len(await intake.claim(1, wait=SECOND)) == 1
    async with docket.redis() as redis:
        # A worker of pydocket's that looks after its own stream only.
        await redis.set(docket.redelivery_sweep_key, "theirs", ex=3600)
    await run_all(docket, redelivery_timeout=MINUTE)
    assert await execution.get_result() == "value"


async def test_what_is_no_priority(docket: Docket) -> None:
    async def give() -> None: ...

    with pytest.raises(InvalidSetting, match=r"priority is 'high', and is to be one of Priority.HIGH, Priority.NORMAL"):
        docket.add(give, priority="high")  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting):
        docket.replace(give, now(docket), "K", priority=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting):
        docket.call(give, priority=None)  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting):
        await docket.schedule(Execution(docket, give, (), {}, "K", now(docket), priority="high"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'urgency'"):
        docket.add(give, urgency=1)  # type: ignore[call-arg]


async def test_it_is_refused_where_a_worker_would_not_honour_it(docket: Docket) -> None:
    async def give() -> None: ...

    docket.register(give)
    async with docket.redis() as redis:
        await redis.zadd(docket.workers_set, {"theirs": docket.broker.clock.now().timestamp()})
        before = await contents(docket)
        with pytest.raises(
            NotHonoured, match="'theirs' is not one of docket-anyio's and would not honour the priority"
        ):
            await docket.add(give, priority=Priority.LOW)()
        with pytest.raises(NotHonoured, match="the expiry"):
            await docket.add(give, priority=Priority.LOW, expires=HOUR)()
        assert await contents(docket) == before
        urgent, plain = await docket.add_many([docket.call(give, priority=Priority.HIGH)(), docket.call(give)()])
        await redis.zrem(docket.workers_set, "theirs")
    assert (urgent.disposition, plain.disposition) == (Disposition.FAILED, Disposition.SCHEDULED)
    assert isinstance(urgent.schedule_exception, NotHonoured)
    async with running(docket):
        execution = await docket.add(give, priority=Priority.HIGH)()
        await execution.get_result()
