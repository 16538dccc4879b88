"""How a run ends that was told to stop, took too long, failed, or went astray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState, Retry, Timeout
from docket_anyio.exceptions import InvalidTask, NotOpen, StrayCancellation, TaskTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, running
from tests.stage import Stage

SHORT, LONG, HOUR = timedelta(milliseconds=20), timedelta(minutes=1), timedelta(hours=1)


async def cancelled(execution: Execution[Any]) -> bool:
    with anyio.fail_after(3):
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    return execution.state is ExecutionState.CANCELLED


@asynccontextmanager
async def told_to_stop(
    docket: Docket, body: Callable[..., Awaitable[Any]], stage: Stage
) -> AsyncGenerator[Execution[Any]]:
    """The run of a body that has begun when it is told to stop; its worker runs on for as long as the block."""
    execution: Execution[Any] = await docket.add(body, key="one")()
    async with running(docket):
        await stage.started.wait()
        await docket.cancel("one")
        yield execution


# --- docket.cancel ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [None, HOUR, SHORT], ids=["queued", "scheduled", "promoted"])
async def test_a_waiting_task_that_is_cancelled_never_starts(docket: Docket, when: timedelta | None) -> None:
    stage = Stage()

    async def body() -> None:
        stage.runs += 1

    due = None if when is None else datetime.now(UTC) + when
    execution = await docket.add(body, when=due, key="one")()
    if when is SHORT:
        await anyio.sleep(0.03)
        await docket.broker.queue.promote(docket.broker.clock.now(), limit=1)
    await docket.cancel("one")
    async with running(docket):
        assert await cancelled(execution)
    assert stage.runs == 0


async def test_a_running_task_is_cancelled_in_its_scope(docket: Docket) -> None:
    stage = Stage()
    caught: list[BaseException] = []

    async def body() -> None:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            caught.append(error)
            raise

    async with told_to_stop(docket, body, stage) as execution:
        assert await cancelled(execution)
    assert [type(error) for error in caught] == [anyio.get_cancelled_exc_class()]


async def test_a_cancelled_task_stays_cancelled_in_its_clean_up(docket: Docket) -> None:
    """Scopes cancel by level: every wait of the clean-up is cancelled too, unless it is shielded."""
    stage, steps = Stage(), list[str]()

    async def body() -> None:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(2, shield=True):
                await anyio.sleep(0.01)
                steps.append("shielded")
            try:
                await anyio.sleep(1)
                steps.append("not reached")
            finally:
                steps.append("done")

    async with told_to_stop(docket, body, stage) as execution:
        assert await cancelled(execution)
    assert steps == ["shielded", "done"]


async def test_a_cancel_reaches_the_worker_from_another_docket(docket: Docket, store: Store) -> None:
    stage = Stage()
    execution = await docket.add(stage.hang, key="one")()
    async with running(docket), open_docket(store) as other:
        await stage.started.wait()
        await other.cancel("one")
        assert await cancelled(execution)


async def test_a_cancel_stops_only_its_own_key(docket: Docket) -> None:
    stages = {key: Stage() for key in ("one", "one:two", "on")}

    async def body(key: str) -> str:
        stages[key].started.set()
        await stages[key].go_on.wait()
        return key

    executions = {key: await docket.add(body, key=key)(key) for key in stages}
    async with running(docket):
        for stage in stages.values():
            await stage.started.wait()
        await docket.cancel("one")
        assert await cancelled(executions["one"])
        for key in ("one:two", "on"):
            stages[key].go_on.set()
            assert await executions[key].get_result() == key


async def test_a_body_that_finishes_all_the_same_has_completed(docket: Docket) -> None:
    stage = Stage()

    async def body() -> str:
        stage.started.set()
        with anyio.CancelScope(shield=True):
            await stage.go_on.wait()
        return "finished"

    async with told_to_stop(docket, body, stage) as execution:
        stage.go_on.set()
        with anyio.fail_after(3):
            assert await execution.get_result() == "finished"
        assert execution.state is ExecutionState.COMPLETED


async def test_a_body_that_swallows_the_cancellation_has_completed(docket: Docket) -> None:
    stage = Stage()

    async def body() -> str:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            stage.go_on.set()
        return "swallowed"

    async with told_to_stop(docket, body, stage) as execution:
        await stage.go_on.wait()
    assert await execution.get_result() == "swallowed"
    assert execution.state is ExecutionState.COMPLETED


async def test_a_body_that_raises_in_its_clean_up_has_failed(docket: Docket) -> None:
    stage = Stage()

    async def body() -> None:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            stage.go_on.set()
            raise ValueError("in the clean-up")

    async with told_to_stop(docket, body, stage) as execution:
        await stage.go_on.wait()
    with pytest.raises(ValueError, match="in the clean-up"):
        await execution.get_result()


async def test_cancelling_twice_or_after_the_end_is_no_error(docket: Docket) -> None:
    async def body() -> int:
        return 1

    await docket.cancel("one")
    await docket.cancel("one")
    async with running(docket):
        execution = await docket.add(body, key="one")()
        assert await execution.get_result() == 1
        await docket.cancel("one")
        assert await execution.get_result() == 1


async def test_a_key_that_was_cancelled_can_be_added_again_at_once(docket: Docket) -> None:
    """The request to stop is for the run that was there, not for the next one."""

    async def body(number: int) -> int:
        await anyio.sleep(0.01)
        return number

    async with running(docket):
        for number in range(15):
            await docket.add(body, key="one")(-1)
            for _ in range(2 * number):
                await anyio.lowlevel.checkpoint()
            await docket.cancel("one")
            execution = await docket.add(body, key="one")(number)
            with anyio.fail_after(5):
                assert await execution.get_result() == number


async def test_a_slot_is_kept_until_the_clean_up_is_over(docket: Docket) -> None:
    stage, second = Stage(), Stage()

    async def other() -> None:
        assert stage.go_on.is_set()
        second.started.set()

    await docket.add(stage.hang_and_clean_up, key="one")()
    execution = await docket.add(other)()
    async with running(docket, concurrency=1):
        await stage.started.wait()
        await docket.cancel("one")
        await anyio.sleep(0.02)
        assert not second.started.is_set()
        stage.go_on.set()
        await execution.get_result()


# --- Timeout ------------------------------------------------------------------------------------------------------


@virtual_time
async def test_a_body_that_takes_too_long_has_failed(docket: Docket) -> None:
    async def body(timeout: Timeout = Timeout(LONG)) -> None:
        await anyio.sleep_forever()

    watch = Stopwatch()
    execution = await docket.add(body, key="one")()
    async with running(docket):
        with pytest.raises(TaskTimeout, match=r"^Docket task one exceeded timeout of 60s$"):
            await execution.get_result()
    assert watch.seconds() == pytest.approx(60, abs=0.01)
    assert execution.state is ExecutionState.FAILED
    assert execution.error == "TaskTimeout: Docket task one exceeded timeout of 60s"


async def test_a_timeout_for_real(docket: Docket) -> None:
    async def body(timeout: Timeout = Timeout(SHORT)) -> None:
        await anyio.sleep_forever()

    execution = await docket.add(body)()
    async with running(docket):
        with pytest.raises(TimeoutError):
            await execution.get_result()


@virtual_time
async def test_a_body_asks_for_more_time(docket: Docket) -> None:
    async def body(timeout: Timeout = Timeout(LONG)) -> list[timedelta]:
        found = [timeout.remaining()]
        await anyio.sleep(50)
        timeout.extend()
        timeout.extend(timedelta(seconds=5))
        assert not timeout.expired()
        await anyio.sleep(70)
        return [*found, timeout.remaining()]

    async with running(docket):
        first, last = await (await docket.add(body)()).get_result()
    assert first == pytest.approx(LONG, abs=SHORT)
    assert last == pytest.approx(timedelta(seconds=5), abs=SHORT)


@virtual_time
async def test_a_body_that_finishes_after_its_time_has_completed(docket: Docket) -> None:
    async def body(timeout: Timeout = Timeout(LONG)) -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(100)
        assert timeout.expired()
        return "late"

    async with running(docket):
        assert await (await docket.add(body)()).get_result() == "late"


async def test_a_timeout_of_the_bodys_own_is_its_own(docket: Docket) -> None:
    async def body(timeout: Timeout = Timeout(LONG)) -> None:
        with anyio.fail_after(0.001):
            await anyio.sleep_forever()

    async with running(docket):
        with pytest.raises(TimeoutError) as caught:
            await (await docket.add(body)()).get_result()
    assert type(caught.value) is TimeoutError


@virtual_time
async def test_a_cancel_before_the_timeout_and_after_it(docket: Docket) -> None:
    """Who comes first decides, as long as the body only unwinds."""
    stage = Stage()

    async def body(timeout: Timeout = Timeout(LONG)) -> None:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100)

    execution = await docket.add(body, key="one")()
    async with running(docket, grace=timedelta(minutes=5)):
        await stage.started.wait()
        await anyio.sleep(30)
        await docket.cancel("one")
        await anyio.sleep(150)
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()


def test_the_marker_of_a_timeout_has_no_time() -> None:
    with pytest.raises(NotOpen, match="only in the body of a task that was given it"):
        Timeout(LONG).remaining()


async def test_a_signature_has_one_of_each(docket: Docket) -> None:
    async def body(a: Timeout = Timeout(LONG), b: Timeout = Timeout(SHORT)) -> None: ...

    with pytest.raises(InvalidTask, match="Only one Timeout dependency is allowed, and task 'body' has"):
        docket.add(body)


# --- Retry --------------------------------------------------------------------------------------------------------


@virtual_time
async def test_a_failed_task_is_tried_again(docket: Docket) -> None:
    tries: list[tuple[int, float]] = []
    watch = Stopwatch()

    async def body(retry: Retry = Retry(attempts=3, delay=LONG)) -> str:
        tries.append((retry.attempt, round(watch.seconds(), 1)))
        if retry.attempt < 3:
            raise ValueError(retry.attempt)
        return "third"

    async with running(docket):
        assert await (await docket.add(body)()).get_result() == "third"
    assert tries == [(1, 0.0), (2, 60.0), (3, 120.0)]


async def test_the_last_failure_is_the_result(docket: Docket) -> None:
    async def body(retry: Retry = Retry(attempts=3)) -> None:
        raise ValueError(f"attempt {retry.attempt}")

    execution = await docket.add(body)()
    async with running(docket):
        with pytest.raises(ValueError, match="attempt 3"):
            await execution.get_result()


@virtual_time
async def test_a_retry_after_a_timeout(docket: Docket) -> None:
    stage = Stage()

    async def body(retry: Retry = Retry(attempts=3), timeout: Timeout = Timeout(LONG)) -> int:
        stage.runs += 1
        await anyio.sleep(100 if retry.attempt < 3 else 1)
        return retry.attempt

    watch = Stopwatch()
    async with running(docket):
        assert await (await docket.add(body)()).get_result() == 3
    assert stage.runs == 3
    assert watch.seconds() == pytest.approx(121, abs=0.1)


async def test_no_retry_after_a_cancel(docket: Docket) -> None:
    stage = Stage()

    async def body(retry: Retry = Retry.forever()) -> None:
        stage.runs += 1
        stage.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    async with told_to_stop(docket, body, stage) as execution:
        await anyio.sleep(0.05)
        await execution.sync()
        assert execution.state is ExecutionState.FAILED
    assert stage.runs == 1


async def test_a_cancel_between_two_tries(docket: Docket) -> None:
    stage = Stage()

    async def body(retry: Retry = Retry.forever(delay=HOUR)) -> None:
        stage.runs += 1
        stage.started.set()
        raise ValueError

    execution = await docket.add(body, key="one")()
    async with running(docket):
        with anyio.fail_after(3):
            while stage.runs == 0 or execution.state is not ExecutionState.SCHEDULED:
                await anyio.sleep(0.002)
                await execution.sync()
        await docket.cancel("one")
        assert await cancelled(execution)
    assert stage.runs == 1


async def test_an_argument_takes_the_place_of_a_marker(docket: Docket) -> None:
    async def body(retry: Retry = Retry(attempts=3)) -> int | None:
        return retry.attempts

    async with running(docket):
        assert await (await docket.add(body)(Retry(attempts=7))).get_result() == 7


# --- cancellations that nobody asked for --------------------------------------------------------------------------


async def test_a_stray_cancellation_is_a_failure(docket: Docket, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no cancellation without a scope")

    async def body() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    execution = await docket.add(body)()
    async with running(docket):
        with pytest.raises(StrayCancellation, match="the body was cancelled from outside its scopes"):
            await execution.get_result()
    assert execution.state is ExecutionState.FAILED


async def test_a_raised_cancelled_error_is_a_failure(docket: Docket, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no cancellation without a scope")
    stage = Stage()

    async def body(retry: Retry = Retry(attempts=2)) -> None:
        stage.runs += 1
        raise asyncio.CancelledError("by hand")

    execution = await docket.add(body)()
    async with running(docket):
        with pytest.raises(StrayCancellation):
            await execution.get_result()
        assert await (await docket.add(quiet)()).get_result() is None  # the worker goes on
    assert stage.runs == 2


async def quiet() -> None:
    await anyio.lowlevel.checkpoint()


async def test_a_scope_that_a_body_cancels_is_its_own_affair(docket: Docket) -> None:
    async def body() -> str:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        return "went on"

    async with running(docket):
        assert await (await docket.add(body)()).get_result() == "went on"


async def test_timeouts_of_asyncio_in_a_body(docket: Docket, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("for asyncio")

    async def body() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 0.001)
        return "went on"

    async with running(docket):
        assert await (await docket.add(body)()).get_result() == "went on"
