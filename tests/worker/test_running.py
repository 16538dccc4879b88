"""A worker at work: slots, times, and when it is done."""

from __future__ import annotations

import random
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from docket_anyio import Docket, Execution, ExecutionState, Worker
from docket_anyio.exceptions import NotOpen
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import keys_of, open_docket, running
from tests.stage import Stage

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def echo(value: object) -> object:
    return value


async def redis_now(docket: Docket) -> datetime:
    async with docket.redis() as redis:
        seconds, microseconds = await redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


# --- beginning ----------------------------------------------------------------------------------------------------


async def test_a_started_worker_can_claim(docket: Docket) -> None:
    """What others need is there: the group, the listener for cancellations, the first heartbeat."""
    async with Worker(docket, name="W") as worker, anyio.create_task_group() as group:
        await group.start(worker.run_forever)
        async with docket.redis() as redis:
            (found,) = await redis.xinfo_groups(f"{docket.name}:stream")
            assert found["name"] == b"docket-workers"
            assert await redis.zrange(f"{docket.name}:workers", 0, -1) == [b"W"]
            assert await redis.smembers(f"{docket.name}:worker-tasks:W") == {b"fail", b"sleep", b"trace"}
            assert await redis.publish(f"{docket.name}:cancel:nothing", b"nothing") == 1
        worker.stop()


async def test_a_worker_that_has_ended_leaves_nothing_of_itself(docket: Docket) -> None:
    async with running(docket, name="W"):
        pass
    permanent = ("stream", "anyio:stream:high", "anyio:stream:low", "leases:redelivery-sweep")
    assert set(await keys_of(docket)) <= {f"{docket.name}:{each}" for each in permanent}


async def test_a_worker_can_run_again(docket: Docket) -> None:
    async with Worker(docket) as worker:
        for number in range(3):
            execution = await docket.add(echo)(number)
            await worker.run_until_finished()
            assert await execution.get_result() == number
    async with worker:
        await worker.run_until_finished()


async def test_a_worker_runs_once_at_a_time(docket: Docket) -> None:
    async with running(docket) as worker:
        with pytest.raises(NotOpen, match="runs already; open another one"):
            await worker.run_until_finished()


async def test_a_worker_outside_its_block(docket: Docket) -> None:
    worker = Worker(docket)
    with pytest.raises(NotOpen, match="use it inside `async with worker:`"):
        await worker.run_forever()
    with pytest.raises(NotOpen, match="use it inside `async with worker:`"):
        worker.stop()
    async with worker:
        with pytest.raises(NotOpen, match="is open already"):
            async with worker:
                pass


async def test_a_worker_on_a_docket_that_is_not_open(anyio_backend: object, store: Store) -> None:
    docket = Docket(store.docket_name, store.url)
    with pytest.raises(NotOpen, match="use it inside `async with docket:`"):
        async with Worker(docket):
            pass


async def test_a_task_that_is_registered_while_the_worker_runs(docket: Docket) -> None:
    async with running(docket):
        assert await (await docket.add(echo)(1)).get_result() == 1


# --- slots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_never_more_run_than_there_are_slots(docket: Docket, concurrency: int) -> None:
    now = most = 0

    async def count(checkpoints: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        now -= 1

    for _ in range(60):
        await docket.add(count)(random.randrange(20))
    async with Worker(docket, concurrency=concurrency) as worker:
        await worker.run_until_finished()
    assert 1 <= most <= concurrency


async def test_a_slot_is_free_as_soon_as_a_run_ends(docket: Docket) -> None:
    """The third begins although the second still runs."""
    began: list[int] = []
    go_on = [anyio.Event() for _ in range(3)]
    second, third = anyio.Event(), anyio.Event()

    async def wait(number: int) -> None:
        began.append(number)
        if len(began) == 2:
            second.set()
        if number == 2:
            third.set()
        await go_on[number].wait()

    for number in range(3):
        await docket.add(wait)(number)
    async with running(docket, concurrency=2):
        with anyio.fail_after(2):
            await second.wait()
        assert sorted(began) == [0, 1]
        go_on[0].set()
        with anyio.fail_after(2):
            await third.wait()
        for event in go_on:
            event.set()


@virtual_time
async def test_no_time_passes_between_runs(docket: Docket) -> None:
    async def work() -> None:
        await anyio.sleep(1)

    for _ in range(10):
        await docket.add(work)()
    watch = Stopwatch()
    async with Worker(docket, concurrency=2) as worker:
        await worker.run_until_finished()
    assert watch.seconds() == pytest.approx(5, abs=0.01)


async def test_two_workers_share_the_work(docket: Docket) -> None:
    """Each task waits for all others to run, so that neither worker can do it alone."""
    arrived = 0
    all_there = anyio.Event()

    async def meet() -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 4:
            all_there.set()
        await all_there.wait()

    executions = [await docket.add(meet)() for _ in range(4)]
    async with running(docket, name="A", concurrency=2), running(docket, name="B", concurrency=2):
        with anyio.fail_after(5):
            for execution in executions:
                await execution.get_result()
    assert {execution.worker for execution in executions} == {"A", "B"}


async def test_a_thousand_tasks(docket: Docket) -> None:
    executions = [await docket.add(echo)(number) for number in range(300)]
    async with Worker(docket, concurrency=100, message_batch=7) as worker:
        await worker.run_until_finished()
    assert [await execution.get_result() for execution in executions] == list(range(300))


async def test_tasks_begin_in_the_order_they_were_added(docket: Docket) -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    for number in range(20):
        await docket.add(note)(number)
    async with Worker(docket, concurrency=1) as worker:
        await worker.run_until_finished()
    assert order == list(range(20))


# --- until finished -----------------------------------------------------------------------------------------------


async def test_an_empty_docket_is_finished(docket: Docket) -> None:
    async with Worker(docket) as worker:
        with anyio.fail_after(2):
            await worker.run_until_finished()


async def test_what_tasks_add_is_waited_for(docket: Docket) -> None:
    done: list[int] = []

    async def countdown(number: int) -> None:
        done.append(number)
        if number:
            await docket.add(countdown, when=datetime.now(UTC) + timedelta(milliseconds=number))(number - 1)

    await docket.add(countdown)(5)
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert done == [5, 4, 3, 2, 1, 0]


@virtual_time
async def test_what_is_due_later_is_waited_for(docket: Docket) -> None:
    execution = await docket.add(echo, when=await redis_now(docket) + timedelta(minutes=5))("late")
    watch = Stopwatch()
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert watch.seconds() == pytest.approx(300, abs=0.01)
    assert await execution.get_result() == "late"


async def test_what_another_worker_runs_is_waited_for(docket: Docket) -> None:
    stage, finished = Stage(), anyio.Event()

    async def until_finished() -> None:
        async with Worker(docket, name="B", minimum_check_interval=timedelta(milliseconds=10)) as worker:
            await worker.run_until_finished()
        finished.set()

    await docket.add(stage.perform)()
    async with running(docket, name="A"), anyio.create_task_group() as group:
        await stage.started.wait()
        group.start_soon(until_finished)
        await anyio.sleep(0.05)
        assert not finished.is_set()
        stage.go_on.set()
        with anyio.fail_after(2):
            await finished.wait()


# --- at its time --------------------------------------------------------------------------------------------------


@virtual_time
@pytest.mark.parametrize("seconds", [0.001, 0.1, 1, 59.999, 120])
async def test_a_task_starts_at_its_time(docket: Docket, seconds: float) -> None:
    execution = await docket.add(echo, when=await redis_now(docket) + timedelta(seconds=seconds))(1)
    async with running(docket):
        await execution.get_result()
    assert execution.started_at is not None
    assert timedelta(0) <= execution.started_at - execution.when < timedelta(milliseconds=1)


async def test_a_task_starts_at_its_time_for_real(docket: Docket) -> None:
    executions: list[Execution[object]] = []
    async with running(docket):
        for milliseconds in (150, 30, 90):
            when = await redis_now(docket) + timedelta(milliseconds=milliseconds)
            executions.append(await docket.add(echo, when=when)(milliseconds))
        for execution in executions:
            await execution.get_result()
            assert execution.started_at is not None
            assert timedelta(0) <= execution.started_at - execution.when < timedelta(milliseconds=200)
    starts = [execution.started_at for execution in executions if execution.started_at]
    assert starts[1] < starts[2] < starts[0]


@virtual_time
async def test_an_earlier_task_wakes_the_promoter(docket: Docket) -> None:
    """It sleeps for a minute at most, and is told of what comes before."""
    now = await redis_now(docket)
    async with running(docket, scheduling_resolution=timedelta(minutes=1)):
        late = await docket.add(echo, when=now + timedelta(seconds=50))("late")
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(1)
        early = await docket.add(echo, when=now + timedelta(seconds=3))("early")
        await early.get_result()
        assert early.started_at is not None
        assert early.started_at - early.when < timedelta(milliseconds=1)
        await late.get_result()
        assert late.started_at is not None
        assert late.started_at - late.when < timedelta(milliseconds=1)


@virtual_time
async def test_many_tasks_due_at_once(docket: Docket) -> None:
    when = await redis_now(docket) + timedelta(seconds=10)
    executions = [await docket.add(echo, when=when)(number) for number in range(450)]
    async with Worker(docket, concurrency=500) as worker:
        await worker.run_until_finished()
    assert [await execution.get_result() for execution in executions] == list(range(450))


async def test_a_parked_task_of_somebody_who_wakes_nobody(docket: Docket, store: Store) -> None:
    """pydocket parks without waking: the backstop finds it."""
    if store.kind == "memory":
        pytest.skip("nobody else can park anything in memory://")
    execution = await docket.add(echo, when=datetime.now(UTC) + timedelta(hours=1), key="one")(1)
    async with running(docket, scheduling_resolution=timedelta(milliseconds=20)):
        async with docket.redis() as redis:
            await redis.zadd(f"{docket.name}:queue", {"one": 1.0})
        with anyio.fail_after(2):
            assert await execution.get_result() == 1


# --- surroundings -------------------------------------------------------------------------------------------------


async def test_each_run_has_its_own_context(docket: Docket) -> None:
    async def take_and_leave(value: str) -> str:
        before = variable.get()
        variable.set(value)
        await anyio.lowlevel.checkpoint()
        return before

    executions = [await docket.add(take_and_leave)(str(number)) for number in range(5)]
    async with Worker(docket, concurrency=1) as worker:
        await worker.run_until_finished()
    assert [await execution.get_result() for execution in executions] == ["unset"] * 5
    assert variable.get() == "unset"


async def test_a_body_may_have_nurseries_scopes_and_threads(docket: Docket) -> None:
    async def busy() -> list[int]:
        found: list[int] = []

        async def child(number: int) -> None:
            found.append(await anyio.to_thread.run_sync(lambda: number * 2))

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(child, number)
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()
        return sorted(found)

    execution = await docket.add(busy)()
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert await execution.get_result() == [0, 2, 4]


async def test_a_body_may_use_the_docket(docket: Docket) -> None:
    async def ask() -> object:
        inner = await docket.add(echo)("inner")
        return await inner.get_result()

    execution = await docket.add(ask)()
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert await execution.get_result() == "inner"


async def test_a_failing_task_does_not_end_the_worker(docket: Docket) -> None:
    async def fail_with(error: Exception) -> None:
        raise error

    bad = [await docket.add(fail_with)(error) for error in (ValueError(), OSError(), ExceptionGroup("g", [KeyError()]))]
    good = await docket.add(echo)(1)
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert await good.get_result() == 1
    for execution in bad:
        await execution.sync()
        assert execution.state is ExecutionState.FAILED


# --- messages of others -------------------------------------------------------------------------------------------


async def test_a_task_that_is_not_known_here_counts_as_completed(
    docket: Docket, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    execution = await docket.add(echo, key="one")(1)
    async with open_docket(store) as other, Worker(other) as worker:
        await worker.run_until_finished()
    assert "Unknown task echo{one}" in caplog.text
    assert await execution.get_result() is None
    assert execution.state is ExecutionState.COMPLETED


async def test_an_entry_that_is_no_message_is_taken_off_the_stream(
    docket: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    async with docket.redis() as redis:
        for number in range(5):
            await redis.xadd(f"{docket.name}:stream", {"odd": number})
        execution = await docket.add(echo)(1)
        async with Worker(docket, concurrency=1) as worker:
            with anyio.fail_after(5):
                await worker.run_until_finished()
        assert await redis.xlen(f"{docket.name}:stream") == 0
    assert await execution.get_result() == 1
    assert caplog.text.count("Discarded the stream entry") == 5


async def test_arguments_that_cannot_be_read_fail_the_task(docket: Docket) -> None:
    execution = await docket.add(echo, when=datetime.now(UTC) + timedelta(hours=1), key="one")(1)
    async with docket.redis() as redis:
        await redis.hset(f"{docket.name}:one", "args", b"garbage")
        await redis.zadd(f"{docket.name}:queue", {"one": 1.0})
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    with pytest.raises(Exception, match="the arguments of task 'echo' cannot be unpickled"):
        await execution.get_result()


async def test_arguments_that_do_not_fit_any_more_fail_the_task(docket: Docket, store: Store) -> None:
    execution = await docket.add(echo, key="one")(1)
    async with open_docket(store) as newer:

        async def changed(first: object, second: object) -> None: ...

        newer.register(changed, names=["echo"])
        async with Worker(newer) as worker:
            await worker.run_until_finished()
    with pytest.raises(
        TypeError, match="task 'echo' cannot be called like that: missing a required argument: 'second'"
    ):
        await execution.get_result()


async def test_a_message_without_a_generation_runs(docket: Docket) -> None:
    """As dockets of old wrote them."""
    done: list[int] = []

    async def note(number: int) -> None:
        done.append(number)

    docket.register(note)
    message: dict[str, bytes | str] = {
        "key": "old",
        "when": "2026-11-22T03:50:03+00:00",
        "function": "note",
        "args": b"\x80\x05K\x05\x85\x94.",
        "kwargs": b"\x80\x05}\x94.",
        "attempt": "1",
    }
    async with docket.redis() as redis:
        await redis.xadd(f"{docket.name}:stream", message)
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert done == [5]
