"""Dependencies that fail, hang, hold scopes or are cancelled: the run is settled, and what was opened is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import define, field

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState, Retry, Worker
from docket_anyio.abc import Delivery, Instrument
from docket_anyio.dependencies import Dependency, Depends, Timeout
from docket_anyio.exceptions import CleanupTimeout, StrayCancellation, TaskTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import running
from tests.worker.diary import Diary, diary, first, last


@define
class Reports(Instrument):
    """What was reported and changed nothing."""

    told: list[tuple[str, str]] = field(factory=list)

    def hook_failed(self, worker: str, delivery: Delivery, hook: str, error: Exception) -> None:
        self.told.append((hook, repr(error)))


async def run_all(docket: Docket, **options: Any) -> None:
    async with Worker(docket, **options) as worker:
        await worker.run_until_finished()


@pytest.fixture
def notes(anyio_backend: object) -> Diary:
    return Diary()


@pytest.fixture(autouse=True)
async def _use_notes(notes: Diary) -> None:
    diary.set(notes)


# --- opening ------------------------------------------------------------------------------------------------------


async def test_those_that_fail_to_open_are_named_and_the_others_closed(docket: Docket, notes: Diary) -> None:
    """All are tried, so that one look tells all that is wrong."""
    diary.set(notes)

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
    diary.set(notes)
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
    diary.set(notes)

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
    diary.set(notes)
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
    diary.set(notes)

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
    try:
        yield
    except BaseException:  # noqa: BLE001 - that is what it does
        pass


@pytest.mark.parametrize("dependency", [Swallowing(), Depends(swallowing)], ids=["async", "sync"])
async def test_one_cannot_take_the_exception_away(docket: Docket, notes: Diary, dependency: Any) -> None:
    """A transaction that is open around it must not be committed."""
    diary.set(notes)

    async def body(before: str = Depends(first), value: None = dependency, after: str = Depends(last)) -> None:
        raise ValueError("failed")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(ValueError, match="failed"):
        await execution.get_result()
    assert notes.seen == {"first": ValueError, "last": ValueError}


@pytest.mark.parametrize("dependency", [Swallowing(), Depends(swallowing)], ids=["async", "sync"])
async def test_one_cannot_take_a_cancellation_away(docket: Docket, notes: Diary, dependency: Any) -> None:
    diary.set(notes)

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
    diary.set(notes)

    async def body(before: str = Depends(first), value: None = Depends(hanging), after: str = Depends(last)) -> str:
        return "done"

    stopwatch = Stopwatch()
    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(CleanupTimeout, match="hanging.* was not closed in time"):
        await execution.get_result()
    assert 30 <= stopwatch.seconds() < 31
    assert notes.entries == ["open first", "open last", "close last", "close first"]
    assert notes.seen == {"first": CleanupTimeout, "last": None}


@virtual_time
async def test_one_that_hangs_after_a_cancellation_has_3_s(docket: Docket, notes: Diary) -> None:
    diary.set(notes)

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


# --- what holds a scope or a task group of its own ----------------------------------------------------------------


async def test_the_time_of_a_dependency_is_over(docket: Docket, notes: Diary) -> None:
    diary.set(notes)

    async def at_most() -> AsyncGenerator[None]:
        with anyio.fail_after(0.01):
            yield

    async def body(
        before: str = Depends(first),
        value: None = Depends(at_most),
        retry: Retry = Retry(attempts=2, on=(TimeoutError,)),
    ) -> str:
        if retry.attempt == 1:
            await anyio.sleep_forever()
        return "done"

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == "done"
    assert notes.entries == ["open first", "close first"] * 2


async def test_a_dependency_cancels_the_body_and_says_nothing(docket: Docket) -> None:
    """No body has come to its end, so it is no success; and nobody else wanted it to stop."""

    async def scope() -> AsyncGenerator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            yield scope

    async def body(scope: anyio.CancelScope = Depends(scope)) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(StrayCancellation, match="cancelled by one of its dependencies"):
        await execution.get_result()


async def test_something_fails_in_the_task_group_of_a_dependency(docket: Docket, notes: Diary) -> None:
    """The body is cancelled, and the failure is the run's; the worker goes on."""
    diary.set(notes)

    async def watched() -> AsyncGenerator[None]:
        async def fail() -> None:
            await notes.started.wait()
            raise ConnectionError("reset")

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            yield
            group.cancel_scope.cancel()

    async def body(before: str = Depends(first), value: None = Depends(watched), after: str = Depends(last)) -> None:
        notes.started.set()
        await anyio.sleep_forever()

    async def other() -> str:
        return "works"

    async with running(docket):
        execution = await docket.add(body)()
        with pytest.RaisesGroup(ConnectionError):
            await execution.get_result()
        assert await (await docket.add(other)()).get_result() == "works"
    assert notes.entries == ["open first", "open last", "close last", "close first"]


async def test_a_body_that_fails_in_the_task_group_of_a_dependency(docket: Docket, notes: Diary) -> None:
    """The group is the dependency's: neither the result nor other dependencies see its group of exceptions."""
    diary.set(notes)

    async def group() -> AsyncGenerator[anyio.abc.TaskGroup]:
        async with anyio.create_task_group() as group:
            yield group

    async def body(before: str = Depends(first), value: object = Depends(group)) -> None:
        raise ValueError("failed")

    reports = Reports()
    execution = await docket.add(body)()
    await run_all(docket, instruments=[reports])
    with pytest.raises(ValueError, match="failed"):
        await execution.get_result()
    assert notes.seen == {"first": ValueError}
    assert reports.told == []


@asynccontextmanager
async def native_group(started: asyncio.Event) -> AsyncGenerator[None]:
    async def fail() -> None:
        await started.wait()
        raise ConnectionError("reset")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        yield


@asynccontextmanager
async def native_timeout(started: asyncio.Event) -> AsyncGenerator[None]:
    async with asyncio.timeout(0.01):
        yield


@pytest.mark.parametrize("kind", [native_group, native_timeout])
async def test_scopes_of_asyncios_own(docket: Docket, anyio_backend_name: str, kind: Any) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has none of them")
    started = asyncio.Event()

    async def body(value: None = Depends(kind, started=started)) -> None:
        started.set()
        await anyio.sleep_forever()

    execution: Execution[None] = await docket.add(body)()
    await run_all(docket)
    expected = pytest.RaisesGroup(ConnectionError) if kind is native_group else pytest.raises(TimeoutError)
    with expected:
        await execution.get_result()


async def test_one_that_awaits_what_somebody_else_has_cancelled(docket: Docket, anyio_backend_name: str) -> None:
    """On asyncio that raises a cancellation that nobody has asked for, here at each place where it can."""
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no such thing")

    async def stray() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def on_closing() -> AsyncGenerator[None]:
        yield
        await stray()

    async def opening(value: None = Depends(stray)) -> None: ...

    async def closing(value: None = Depends(on_closing)) -> None: ...

    executions = [await docket.add(opening)(), await docket.add(closing)()]
    await run_all(docket)
    for each in executions:
        with pytest.raises(StrayCancellation):
            await each.get_result()


async def test_a_body_that_fails_while_it_is_cancelled(docket: Docket) -> None:
    """Also where the failure comes in a group with the cancellation."""
    started = anyio.Event()

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("failed")

    async def body() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            started.set()
            await anyio.sleep_forever()

    async with running(docket):
        execution = await docket.add(body)()
        await started.wait()
        await anyio.wait_all_tasks_blocked()
        await docket.cancel(execution.key)
    with pytest.RaisesGroup(ValueError):
        await execution.get_result()


async def test_the_timeout_begins_with_the_body_and_ends_with_it(docket: Docket) -> None:
    async def slow() -> AsyncGenerator[None]:
        await anyio.sleep(0.1)
        yield
        await anyio.sleep(0.1)

    async def body(value: None = Depends(slow), timeout: Timeout = Timeout(timedelta(seconds=0.09))) -> str:
        return "in time"

    async def late(value: None = Depends(slow), timeout: Timeout = Timeout(timedelta(seconds=0.01))) -> None:
        await anyio.sleep_forever()

    in_time, too_late = await docket.add(body)(), await docket.add(late)()
    await run_all(docket)
    assert await in_time.get_result() == "in time"
    with pytest.raises(TaskTimeout):
        await too_late.get_result()
