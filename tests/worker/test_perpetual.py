"""Tasks that run again and again."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from docket_anyio import Cron, Docket, Execution, ExecutionState, Perpetual, Retry
from docket_anyio.exceptions import InvalidKey, InvalidSetting, InvalidTask, NotSerializable
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, run_all, running

SECOND = timedelta(seconds=1)


@virtual_time
async def test_from_start_to_start(docket: Docket) -> None:
    starts: list[float] = []

    async def poll(perpetual: Perpetual = Perpetual(every=60 * SECOND)) -> None:
        starts.append(anyio.current_time())
        await anyio.sleep(10)
        if len(starts) == 4:
            perpetual.cancel()

    await docket.add(poll)()
    await run_all(docket)
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps == pytest.approx([60, 60, 60], abs=0.01)


@virtual_time
async def test_a_run_that_takes_longer_is_followed_at_once(docket: Docket) -> None:
    starts: list[float] = []

    async def poll(perpetual: Perpetual = Perpetual(every=SECOND)) -> None:
        starts.append(anyio.current_time())
        await anyio.sleep(5)
        if len(starts) == 2:
            perpetual.cancel()

    await docket.add(poll)()
    await run_all(docket)
    assert starts[1] - starts[0] == pytest.approx(5, abs=0.01)


async def test_the_body_chooses_the_next_arguments_and_the_next_time(docket: Docket) -> None:
    seen: list[tuple[int, str]] = []

    async def count(n: int, *, word: str = "go", perpetual: Perpetual = Perpetual()) -> int:
        seen.append((n, word))
        if n == 1:
            perpetual.perpetuate(n + 1, word="on")
            perpetual.after(timedelta(milliseconds=20))
        elif n == 2:
            perpetual.perpetuate(n + 1)
            perpetual.at(datetime.now(UTC))
        else:
            perpetual.cancel()
        return n

    execution = await docket.add(count)(1)
    await run_all(docket)
    assert seen == [(1, "go"), (2, "on"), (3, "go")]
    assert await execution.get_result() == 3


async def test_a_failure_is_followed_by_the_next_run(docket: Docket) -> None:
    runs: list[int] = []

    async def poll(perpetual: Perpetual = Perpetual()) -> str:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("not this time")
        perpetual.cancel()
        return "done"

    execution = await docket.add(poll)()
    await run_all(docket)
    assert await execution.get_result() == "done"


async def test_a_retry_is_asked_first_and_the_chain_goes_on_from_the_first_attempt(docket: Docket) -> None:
    attempts: list[int] = []

    async def poll(perpetual: Perpetual = Perpetual(), retry: Retry = Retry(attempts=2)) -> None:
        attempts.append(retry.attempt)
        if len(attempts) < 3:
            raise ValueError("no")
        perpetual.cancel()

    await docket.add(poll)()
    await run_all(docket)
    assert attempts == [1, 2, 1]


async def test_cancelling_a_running_one_ends_the_chain(docket: Docket) -> None:
    running_now = anyio.Event()
    runs: list[int] = []

    async def poll(perpetual: Perpetual = Perpetual()) -> None:
        runs.append(1)
        running_now.set()
        await anyio.sleep(30)

    async with running(docket):
        execution = await docket.add(poll)()
        await running_now.wait()
        await docket.cancel(execution.key)
        await docket_is_empty(docket)
    assert runs == [1]
    await execution.sync()
    assert execution.state is ExecutionState.CANCELLED


async def test_a_replacement_made_while_it_runs_survives_its_end(docket: Docket) -> None:
    running_now, go_on = anyio.Event(), anyio.Event()
    seen: list[str] = []

    async def poll(who: str, perpetual: Perpetual = Perpetual(every=30 * SECOND)) -> None:
        seen.append(who)
        if who == "old":
            running_now.set()
            await go_on.wait()
        perpetual.cancel()

    async with running(docket):
        await docket.add(poll, key="K")("old")
        await running_now.wait()
        replacement = await docket.replace(poll, datetime.now(UTC) + timedelta(milliseconds=200), "K")("new")
        go_on.set()
        await replacement.get_result(timeout=5 * SECOND)
    assert seen == ["old", "new"]


async def test_two_runs_do_not_share_what_they_ask_for(docket: Docket) -> None:
    """pydocket's marker in the signature was shared by every run that did not pass one."""
    both = anyio.Event()
    inside: list[str] = []

    async def poll(who: str, perpetual: Perpetual = Perpetual(every=60 * SECOND)) -> None:
        inside.append(who)
        if who == "first":
            perpetual.cancel()
        if len(inside) == 2:
            both.set()
        await both.wait()

    first, second = await docket.add(poll)("first"), await docket.add(poll)("second")
    async with running(docket):
        await first.get_result(timeout=5 * SECOND)
        await wait_state(second, ExecutionState.SCHEDULED)
        await docket.cancel(second.key)


async def test_arguments_that_cannot_be_pickled_fail_the_call_that_gave_them(docket: Docket) -> None:
    async def poll(what: object = None, perpetual: Perpetual = Perpetual()) -> str:
        try:
            perpetual.perpetuate(threading.Lock())
        except NotSerializable:
            perpetual.cancel()
            return "told"
        return "not told"

    execution = await docket.add(poll)()
    await run_all(docket)
    assert await execution.get_result() == "told"


# --- automatic ----------------------------------------------------------------------------------------------------


async def test_an_automatic_task_is_added_by_the_worker_and_once_per_fleet(store: Store, anyio_backend: object) -> None:
    ran = anyio.Event()

    async def sweep(perpetual: Perpetual = Perpetual(every=30 * SECOND, automatic=True)) -> None:
        ran.set()

    async with open_docket(store) as docket:
        docket.register(sweep)
        async with running(docket, name="A"), running(docket, name="B"):
            await ran.wait()
            execution = await docket.get_execution("sweep")
            assert execution is not None
            await wait_state(execution, ExecutionState.SCHEDULED)
            async with docket.redis() as redis:
                assert await redis.zcard(f"{docket.name}:queue") == 1
                assert await redis.exists(f"{docket.name}:perpetual:lock") == 0
        await docket.cancel("sweep")


@virtual_time
async def test_a_severed_chain_is_healed(docket: Docket) -> None:
    runs: list[float] = []

    async def sweep(perpetual: Perpetual = Perpetual(every=3600 * SECOND, automatic=True)) -> None:
        runs.append(anyio.current_time())

    docket.register(sweep)
    async with running(docket):
        await anyio.sleep(1)
        assert len(runs) == 1
        await docket.cancel("sweep")
        await anyio.sleep(61)
        assert len(runs) == 2
        await docket.cancel("sweep")


@virtual_time
async def test_a_cron_task_runs_when_it_matches(docket: Docket) -> None:
    seen: list[datetime] = []

    async def report(cron: Cron = Cron("0 * * * *")) -> None:
        seen.append(await now(docket))

    docket.register(report)
    async with running(docket):
        await anyio.sleep(3 * 3600)
    assert len(seen) == 3
    assert all(each.minute == 0 and each.second == 0 for each in seen)
    await docket.cancel("report")


async def test_automatic_tasks_are_left_alone_if_the_worker_is_told_so(docket: Docket) -> None:
    async def sweep(perpetual: Perpetual = Perpetual(automatic=True)) -> None: ...

    docket.register(sweep)
    await run_all(docket, schedule_automatic_tasks=False)
    assert await docket.get_execution("sweep") is None


# --- mistakes -----------------------------------------------------------------------------------------------------


async def test_an_automatic_task_that_needs_arguments(docket: Docket) -> None:
    async def sweep(what: str, perpetual: Perpetual = Perpetual(automatic=True)) -> None: ...

    with pytest.raises(InvalidTask, match="automatic"):
        docket.register(sweep)


async def test_an_automatic_task_whose_name_is_no_key(docket: Docket) -> None:
    async def queue(perpetual: Perpetual = Perpetual(automatic=True)) -> None: ...

    with pytest.raises(InvalidKey, match="collide"):
        docket.register(queue)


def test_intervals_and_expressions() -> None:
    with pytest.raises(InvalidSetting, match="must not be negative"):
        Perpetual(every=-SECOND)
    with pytest.raises(InvalidSetting, match="crontab"):
        Cron("every day")


async def test_one_of_them_is_enough(docket: Docket) -> None:
    async def both(perpetual: Perpetual = Perpetual(), cron: Cron = Cron("@daily")) -> None: ...

    with pytest.raises(InvalidTask, match="more than one"):
        docket.register(both)


async def now(docket: Docket) -> datetime:
    async with docket.redis() as redis:
        seconds, microseconds = await redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


async def wait_state(execution: Execution[object], state: ExecutionState) -> None:
    with anyio.fail_after(5):
        while True:
            await execution.sync()
            if execution.state is state:
                return
            await anyio.sleep(0.005)


async def docket_is_empty(docket: Docket) -> None:
    async with docket.redis() as redis:
        with anyio.fail_after(5):
            while await redis.xlen(f"{docket.name}:stream"):  # noqa: ASYNC110 - only Redis knows
                await anyio.sleep(0.005)
