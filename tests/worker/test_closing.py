"""Dependencies that fail, hang or are cancelled: the run is settled, and what was opened is closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, ExecutionCancelled, ExecutionState, Retry, Worker
from docket_anyio.dependencies import Dependency, Depends
from docket_anyio.exceptions import CleanupTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import run_all, running
from tests.worker.diary import Diary, first, last
from tests.worker.instruments import Reports

# --- opening ------------------------------------------------------------------------------------------------------


async def test_those_that_fail_to_open_are_named_and_the_others_closed(docket: Docket, notes: Diary) -> None:
    """All are tried, so that one look tells all that is wrong."""

    def broken() -> None:
        raise ConnectionError("refused")

    async def broken_too() -> None:
        raise LookupError("no such host")

    async def body(
        before: str = Depends(first),
        a: None = Depends(broken),
        b: None = Depends(broken_too),
        after: str = Depends(last),
    ) -> None:
        raise AssertionError("it must not run")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.RaisesGroup(
        ConnectionError, LookupError, match=r"^Failed to resolve dependencies for parameter\(s\): a, b"
    ):
        await execution.get_result()
    assert notes.entries == ["open first", "open last", "close last", "close first"]
    assert set(notes.seen.values()) == {ExceptionGroup}


async def test_a_worker_wide_one_that_fails_to_open(docket: Docket) -> None:
    def broken() -> None:
        raise ConnectionError("refused")

    async def body() -> None: ...

    execution = await docket.add(body)()
    await run_all(docket, dependencies={"database": Depends(broken)})
    with pytest.RaisesGroup(ConnectionError, match=r"parameter\(s\): database"):
        await execution.get_result()


@pytest.mark.parametrize(("on", "runs"), [(Exception, 3), (ConnectionError, 3), (LookupError, 1)])
async def test_a_run_whose_dependency_fails_to_open_is_retried(docket: Docket, on: type[Exception], runs: int) -> None:
    tries = 0

    def broken() -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError("refused")

    async def body(value: None = Depends(broken), retry: Retry = Retry(attempts=3, on=(on,))) -> None: ...

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.RaisesGroup(ConnectionError):
        await execution.get_result()
    assert tries == runs


async def test_a_run_that_is_cancelled_while_it_opens(docket: Docket, notes: Diary) -> None:
    opening = anyio.Event()

    async def slow() -> None:
        opening.set()
        await anyio.sleep_forever()

    async def body(before: str = Depends(first), value: None = Depends(slow), after: str = Depends(last)) -> None:
        raise AssertionError("it must not run")

    async with running(docket):
        execution = await docket.add(body)()
        await opening.wait()
        await docket.cancel(execution.key)
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    assert notes.entries == ["open first", "close first"]


async def test_a_run_that_is_stopped_between_opening_and_body(docket: Docket, notes: Diary) -> None:
    """What was opened sees that the body did not succeed, although nothing was waited for in between."""

    @asynccontextmanager
    async def stop() -> AsyncGenerator[None]:
        worker.stop(timedelta(0))
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
        with notes.page("it"):
            yield

    async def body(value: None = Depends(stop)) -> None:
        raise AssertionError("it must not run")

    execution = await docket.add(body)()
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert notes.seen == {"it": anyio.get_cancelled_exc_class()}
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED


# --- closing ------------------------------------------------------------------------------------------------------


class Unclosable(Dependency[None]):
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *ended: object) -> None:
        raise OSError("disk full")


async def test_one_that_fails_to_close_after_a_success_fails_the_run(docket: Docket, notes: Diary) -> None:
    """As with ``async with``: the commit failed, so there is nothing to rely on."""
    runs = 0

    async def commit() -> AsyncGenerator[None]:
        yield
        if runs == 1:
            raise OSError("disk full")

    async def body(
        before: str = Depends(first),
        transaction: None = Depends(commit),
        after: str = Depends(last),
        retry: Retry = Retry(attempts=2),
    ) -> int:
        nonlocal runs
        runs += 1
        return runs

    reports = Reports()
    execution = await docket.add(body)()
    await run_all(docket, instruments=[reports])
    assert await execution.get_result() == 2
    assert notes.entries == ["open first", "open last", "close last", "close first"] * 2
    assert reports.told == []


async def test_one_that_fails_to_close_after_a_failure_is_reported(docket: Docket, notes: Diary) -> None:
    async def body(before: str = Depends(first), value: None = Unclosable(), after: str = Depends(last)) -> None:
        raise ValueError("failed")

    reports = Reports()
    execution = await docket.add(body)()
    await run_all(docket, instruments=[reports])
    with pytest.raises(ValueError, match="failed"):
        await execution.get_result()
    assert notes.entries == ["open first", "open last", "close last", "close first"]
    assert reports.told == [("closing its dependencies", "OSError('disk full')")]


async def test_one_that_fails_to_close_after_a_cancellation_is_reported(docket: Docket) -> None:
    started = anyio.Event()

    async def body(value: None = Unclosable()) -> None:
        started.set()
        await anyio.sleep_forever()

    reports = Reports()
    async with running(docket, instruments=[reports]):
        execution = await docket.add(body)()
        await started.wait()
        await docket.cancel(execution.key)
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    assert reports.told == [("closing its dependencies", "OSError('disk full')")]


class Swallowing(Dependency[None]):
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *ended: object) -> bool:  # type: ignore[override]
        return True


@contextmanager
def swallowing() -> Generator[None]:
    with suppress(BaseException):
        yield


@pytest.mark.parametrize("dependency", [Swallowing(), Depends(swallowing)], ids=["async", "sync"])
async def test_one_cannot_take_the_exception_away(docket: Docket, notes: Diary, dependency: Any) -> None:
    """A transaction that is open around it must not be committed."""

    async def body(before: str = Depends(first), value: None = dependency, after: str = Depends(last)) -> None:
        raise ValueError("failed")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(ValueError, match="failed"):
        await execution.get_result()
    assert notes.seen == {"first": ValueError, "last": ValueError}


@pytest.mark.parametrize("dependency", [Swallowing(), Depends(swallowing)], ids=["async", "sync"])
async def test_one_cannot_take_a_cancellation_away(docket: Docket, notes: Diary, dependency: Any) -> None:
    async def body(before: str = Depends(first), value: None = dependency) -> None:
        notes.started.set()
        await anyio.sleep_forever()

    async with running(docket):
        execution = await docket.add(body)()
        await notes.started.wait()
        await docket.cancel(execution.key)
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    assert notes.seen == {"first": anyio.get_cancelled_exc_class()}


# --- hanging ------------------------------------------------------------------------------------------------------


async def hanging() -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with anyio.CancelScope(shield=False):
            await anyio.sleep_forever()


@virtual_time
async def test_one_that_hangs_on_closing_fails_the_run_after_30_s(docket: Docket, notes: Diary) -> None:
    """The others have a time of their own."""

    async def body(before: str = Depends(first), value: None = Depends(hanging), after: str = Depends(last)) -> str:
        return "done"

    stopwatch = Stopwatch()
    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(CleanupTimeout, match=r"hanging.* was not closed in time"):
        await execution.get_result()
    assert 30 <= stopwatch.seconds() < 31
    assert notes.entries == ["open first", "open last", "close last", "close first"]
    assert notes.seen == {"first": CleanupTimeout, "last": None}


@virtual_time
async def test_one_that_hangs_after_a_cancellation_has_3_s(docket: Docket, notes: Diary) -> None:
    async def body(before: str = Depends(first), value: None = Depends(hanging)) -> None:
        notes.started.set()
        await anyio.sleep_forever()

    reports = Reports()
    async with running(docket, instruments=[reports]):
        execution = await docket.add(body)()
        await notes.started.wait()
        stopwatch = Stopwatch()
        await docket.cancel(execution.key)
    assert 3 <= stopwatch.seconds() < 4
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()
    assert notes.entries == ["open first", "close first"]
    assert [hook for hook, _ in reports.told] == ["closing its dependencies"]


@virtual_time
async def test_a_worker_that_stops_does_not_wait_30_s_for_one_that_hangs(docket: Docket) -> None:
    closing = anyio.Event()

    async def slow() -> AsyncGenerator[None]:
        yield
        closing.set()
        await anyio.sleep_forever()

    async def body(value: None = Depends(slow)) -> None: ...

    execution = await docket.add(body)()
    async with running(docket) as worker:
        await closing.wait()
        stopwatch = Stopwatch()
        worker.stop(timedelta(0))
    assert stopwatch.seconds() < 4
    with pytest.raises(CleanupTimeout):
        await execution.get_result()
