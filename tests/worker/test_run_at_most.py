"""Running until nothing is left, but some keys only so often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from docket_anyio import Disposition, Docket, ExecutionCancelled, ExecutionState, Perpetual, Retry, Worker
from docket_anyio._model.outcome import Failed, ShutDown, Succeeded
from docket_anyio._model.settlement import Again, Continue, Finish, HandBack, without_successor
from docket_anyio.exceptions import InvalidKey, InvalidSetting
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import leaks, run_all, running

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Broken(Exception):
    """What the tasks here fail with."""


async def test_a_perpetual_task_runs_so_often(docket: Docket) -> None:
    runs: list[int] = []

    async def poll(perpetual: Perpetual = Perpetual()) -> int:
        runs.append(len(runs))
        return len(runs)

    execution = await docket.add(poll)()
    async with Worker(docket) as worker:
        await worker.run_at_most({execution.key: 3})
    assert runs == [0, 1, 2]
    assert await execution.get_result() == 3
    assert execution.state is ExecutionState.COMPLETED
    assert (await docket.snapshot()).total_tasks == 0
    assert await leaks(docket) == []


@virtual_time
async def test_nobody_waits_for_a_run_that_will_not_come(docket: Docket) -> None:
    async def poll(perpetual: Perpetual = Perpetual(every=5 * MINUTE)) -> None: ...

    execution = await docket.add(poll)()
    watch = Stopwatch()
    async with Worker(docket) as worker:
        await worker.run_at_most({execution.key: 3})
    assert 10 * 60 <= watch.seconds() < 11 * 60


async def test_a_failure_in_the_last_run_is_its_end(docket: Docket) -> None:
    async def poll(perpetual: Perpetual = Perpetual()) -> None:
        raise Broken

    execution = await docket.add(poll)()
    async with Worker(docket) as worker:
        await worker.run_at_most({execution.key: 2})
    with pytest.raises(Broken):
        await execution.get_result()
    assert execution.state is ExecutionState.FAILED


async def test_a_retry_that_is_due_is_cancelled(docket: Docket) -> None:
    attempts: list[int] = []

    async def fail(retry: Retry = Retry(attempts=10, delay=timedelta(milliseconds=1))) -> None:
        attempts.append(retry.attempt)
        raise Broken

    execution = await docket.add(fail)()
    async with Worker(docket) as worker:
        await worker.run_at_most({execution.key: 2})
    assert attempts == [1, 2]
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()
    assert await leaks(docket) == []


async def test_a_last_attempt_has_failed_as_ever(docket: Docket) -> None:
    async def fail(retry: Retry = Retry(attempts=2)) -> None:
        raise Broken

    execution = await docket.add(fail)()
    async with Worker(docket) as worker:
        await worker.run_at_most({execution.key: 2})
    with pytest.raises(Broken):
        await execution.get_result()


async def test_other_keys_run_as_often_as_they_are_due(docket: Docket) -> None:
    runs: list[str] = []

    async def poll(name: str, perpetual: Perpetual = Perpetual()) -> None:
        runs.append(name)
        if runs.count(name) == 5:
            perpetual.cancel()

    await docket.add(poll, key="limited")("limited")
    await docket.add(poll, key="free")("free")
    async with Worker(docket) as worker:
        await worker.run_at_most({"limited": 2, "unheard of": 1})
    assert (runs.count("limited"), runs.count("free")) == (2, 5)


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(milliseconds=100)], ids=["queued", "scheduled"])
async def test_a_key_may_not_run_at_all(docket: Docket, delay: timedelta) -> None:
    async def fail() -> None:
        raise Broken

    execution = await docket.add(fail, when=docket.broker.clock.now() + delay, key="never")()
    async with Worker(docket) as worker:
        await worker.run_at_most({"never": 0})
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()
    assert await leaks(docket) == []
    assert (await docket.add(fail, key="never")()).disposition is Disposition.SCHEDULED
    await docket.cancel("never")


async def test_what_the_body_schedules_under_its_key_is_dropped(docket: Docket) -> None:
    runs: list[int] = []

    async def again(n: int) -> None:
        runs.append(n)
        await docket.replace(again, docket.broker.clock.now() + (HOUR if n == 3 else timedelta(0)), "chain")(n + 1)

    execution = await docket.add(again, key="chain")(1)
    with anyio.fail_after(10):
        async with Worker(docket) as worker:
            await worker.run_at_most({"chain": 3})
    assert runs == [1, 2, 3]
    await execution.sync()
    assert execution.state is ExecutionState.CANCELLED


async def test_the_limit_is_that_of_one_session(docket: Docket) -> None:
    runs: list[None] = []

    async def poll(perpetual: Perpetual = Perpetual()) -> None:
        runs.append(None)

    async with Worker(docket) as worker:
        for _ in range(2):
            await docket.add(poll, key="poll")()
            await worker.run_at_most({"poll": 2})
    assert len(runs) == 4


async def test_the_fleet_is_not_told(docket: Docket) -> None:
    async def poll(perpetual: Perpetual = Perpetual()) -> None: ...

    await docket.add(poll, key="poll")()
    async with Worker(docket) as worker:
        await worker.run_at_most({"poll": 1})
    async with docket.redis() as redis:
        assert await redis.exists(docket.key("strikes")) == 0
    ran = anyio.Event()

    async def tell() -> None:
        ran.set()

    async with running(docket):
        assert (await docket.add(tell, key="poll")()).disposition is Disposition.SCHEDULED
        await ran.wait()


@pytest.mark.parametrize(
    ("limits", "error"), [({"one": -1}, InvalidSetting), ({"": 1}, InvalidKey)], ids=["negative", "no key"]
)
async def test_mistakes(docket: Docket, limits: dict[str, int], error: type[Exception]) -> None:
    async with Worker(docket) as worker:
        with pytest.raises(error):
            await worker.run_at_most(limits)


async def test_a_stricken_task_that_was_claimed_is_cancelled(docket: Docket) -> None:
    """It takes the same way: refused by the worker, before it starts."""

    async def fail() -> None:
        raise Broken

    execution = await docket.add(fail, key="one")()
    await docket.strike(fail)
    await run_all(docket)
    with pytest.raises(ExecutionCancelled), anyio.fail_after(5):
        await execution.get_result()
    assert await leaks(docket) == []
    await docket.restore(fail)
    assert (await docket.add(fail, key="one")()).disposition is Disposition.SCHEDULED
    await docket.cancel("one")


def test_what_happens_where_nothing_may_follow() -> None:
    now, error = datetime.now(UTC), Broken()
    again, on = Again(now, 2), Continue(now, ExecutionState.COMPLETED)
    assert without_successor(again, Failed(error)) == Finish(ExecutionState.CANCELLED)
    assert without_successor(on, Succeeded(b"x")) == Finish(ExecutionState.COMPLETED, result=b"x", quiet=True)
    assert without_successor(on, Failed(error)) == Finish(ExecutionState.FAILED, error=error, quiet=True)
    assert without_successor(HandBack(), ShutDown()) == HandBack()
