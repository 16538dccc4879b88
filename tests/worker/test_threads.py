"""Plain functions are tasks, too: they run in threads of the worker."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread, to_thread
from anyio.abc import TaskGroup
from attrs import define, field

from docket_anyio import (
    CancelReason,
    CurrentExecution,
    Depends,
    Docket,
    Execution,
    ExecutionCancelled,
    ExecutionState,
    ExecutionTasks,
    Progress,
    Retry,
    Timeout,
    Worker,
    WorkerThread,
    check_cancelled,
)
from docket_anyio.abc import Delivery, Instrument
from docket_anyio.dependencies import Middleware, Runtime, current_execution
from docket_anyio.exceptions import InvalidDependency, InvalidTask, TaskTimeout
from tests.dockets import running

SHORT, MINUTE = timedelta(milliseconds=50), timedelta(minutes=1)
PATIENCE = 10.0

colour: ContextVar[str] = ContextVar("colour")


@define
class Stage:
    """What the bodies of these tests and the tests tell each other, across threads."""

    started: threading.Event = field(factory=threading.Event)
    go_on: threading.Event = field(factory=threading.Event)
    told: list[Any] = field(factory=list[Any])

    async def wait_started(self) -> None:
        with anyio.fail_after(PATIENCE):
            while not self.started.is_set():  # noqa: ASYNC110 - a thread sets it
                await anyio.sleep(0.002)

    def hold(self, *, checking: bool = False) -> None:
        """Keep the thread, until the test lets it go on or, if it checks, until the run was told to stop."""
        self.started.set()
        deadline = time.monotonic() + PATIENCE
        while not self.go_on.is_set():
            if time.monotonic() > deadline:
                raise TimeoutError
            if checking:
                check_cancelled()
            time.sleep(0.002)


class Told(Instrument):
    """Keeps what it is told of runs that cannot be stopped."""

    def __init__(self) -> None:
        self.still_running: list[tuple[str, float]] = []
        self.heard = anyio.Event()

    def run_still_running(self, worker: str, delivery: Delivery, *, since: timedelta) -> None:
        self.still_running.append((delivery.message.key, since.total_seconds()))
        self.heard.set()


async def result_of(docket: Docket, function: Any, *args: Any, **kwargs: Any) -> Any:
    execution = await docket.add(function)(*args, **kwargs)
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    return await execution.get_result()


# --- what can be one ----------------------------------------------------------------------------------------------


def where(number: int = 0) -> tuple[int, int]:
    return number, threading.get_ident()


class Counter:
    def method(self, number: int) -> tuple[int, int]:
        return number, threading.get_ident()

    @staticmethod
    def static(number: int) -> tuple[int, int]:
        return number, threading.get_ident()

    def __call__(self, number: int) -> tuple[int, int]:
        return number, threading.get_ident()


@pytest.mark.parametrize(
    "function",
    [where, Counter().method, Counter.static, Counter(), functools.partial(where, 5), functools.partial(Counter(), 5)],
    ids=["function", "method", "static method", "object", "partial", "partial object"],
)
async def test_it_runs_in_a_thread(docket: Docket, function: Any) -> None:
    docket.register(function, ["it"])
    arguments = () if isinstance(function, functools.partial) else (5,)
    execution = await docket.add("it")(*arguments)
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    number, thread = await execution.get_result()
    assert number == 5
    assert thread != threading.get_ident()


async def test_what_it_raises_is_a_failure(docket: Docket) -> None:
    attempts: list[int] = []

    def body(retry: Retry = Retry(attempts=2)) -> None:
        attempts.append(retry.attempt)
        raise ValueError("ouch")

    with pytest.raises(ValueError, match="ouch"):
        await result_of(docket, body)
    assert attempts == [1, 2]


async def test_a_stop_iteration_is_a_failure(docket: Docket) -> None:
    def body() -> None:
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await result_of(docket, body)


async def test_a_coroutine_that_nobody_awaits_is_a_failure(docket: Docket) -> None:
    def body() -> Any:
        return anyio.lowlevel.checkpoint()

    with pytest.raises(InvalidTask, match="has returned a coroutine instead of being one: write it as an async def"):
        await result_of(docket, body)


async def test_a_fallback_task(docket: Docket) -> None:
    stage = Stage()

    def fallback(*args: object, **kwargs: object) -> None:
        stage.told.append((args, kwargs, threading.get_ident() != loop))

    def unknown(number: int) -> None: ...

    loop = threading.get_ident()
    execution = await docket.add(unknown)(5)
    async with Docket(docket.name, docket.url) as other, Worker(other, fallback_task=fallback) as worker:
        await worker.run_until_finished()
    assert stage.told == [((5,), {}, True)]
    assert await execution.get_result() is None


async def test_a_worker_has_threads_of_its_own(docket: Docket) -> None:
    """AnyIO's default threads are the application's: it may have taken all of them."""
    limiter = to_thread.current_default_thread_limiter()
    async with limiter:
        free = limiter.available_tokens
        limiter.total_tokens -= free
        try:
            assert (await result_of(docket, where, 5))[0] == 5
        finally:
            limiter.total_tokens += free


async def test_as_many_run_at_once_as_the_worker_may_run(docket: Docket) -> None:
    together = threading.Barrier(50)

    def body() -> None:
        together.wait(PATIENCE)

    executions = [await docket.add(body)() for _ in range(50)]
    async with running(docket, concurrency=50):
        for each in executions:
            await each.get_result()


async def test_a_worker_cannot_choose_for_its_tasks(docket: Docket) -> None:
    with pytest.raises(InvalidDependency, match=r"'here' is WorkerThread.*belongs in the signature of a task"):
        Worker(docket, dependencies={"here": WorkerThread()})


# --- what it sees -------------------------------------------------------------------------------------------------


async def test_what_it_asks_for_is_opened_and_closed_in_the_event_loop(docket: Docket) -> None:
    threads: dict[str, int] = {}

    @asynccontextmanager
    async def open_pool() -> AsyncGenerator[str]:
        threads["opened"] = threading.get_ident()
        yield "pool"
        threads["closed"] = threading.get_ident()

    @contextmanager
    def lend(pool: str = Depends(open_pool)) -> Generator[str]:
        threads["lent"] = threading.get_ident()
        yield f"{pool}'s connection"
        threads["given back"] = threading.get_ident()

    class Around(Middleware[None]):
        async def __aenter__(self) -> None: ...

        async def around(self, execution: Execution[Any], call_next: Any) -> Any:
            threads["around"] = threading.get_ident()
            return f"{await call_next()}, and back"

    def body(connection: str = Depends(lend)) -> str:
        threads["body"] = threading.get_ident()
        return connection

    execution = await docket.add(body)()
    async with Worker(docket, dependencies=[Around()]) as worker:
        await worker.run_until_finished()
    assert await execution.get_result() == "pool's connection"
    body_thread = threads.pop("body")
    assert set(threads.values()) == {threading.get_ident()}
    assert body_thread != threading.get_ident()


async def test_a_runtime_calls_it_like_any_other(docket: Docket) -> None:
    class Twice(Runtime["Twice"]):
        async def __aenter__(self) -> Twice:
            return self

        async def run(self, execution: Execution[Any], function: Any, args: Any, kwargs: Any) -> Any:
            return [await function(*args, **kwargs), await function(*args, **kwargs)]

    def body(number: int, twice: Twice = Twice()) -> tuple[int, bool]:
        return number, threading.get_ident() == loop

    loop = threading.get_ident()
    assert await result_of(docket, body, 5) == [(5, False), (5, False)]


async def test_context_variables_are_there(docket: Docket) -> None:
    class Painted(Instrument):
        def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
            colour.set("green")

    def body() -> tuple[str, str]:
        key, seen = current_execution.get().key, colour.get()
        colour.set("red")
        return key, seen

    executions = [await docket.add(body, key=key)() for key in ("one", "two")]
    async with Worker(docket, instruments=[Painted()]) as worker:
        await worker.run_until_finished()
    assert [await each.get_result() for each in executions] == [("one", "green"), ("two", "green")]


async def test_it_reports_its_progress(docket: Docket) -> None:
    def body(progress: Progress = Progress()) -> tuple[int | None, int]:
        from_thread.run(progress.set_total, 10)
        from_thread.run(progress.increment, 3)
        from_thread.run(progress.sync)
        return progress.current, progress.total

    assert await result_of(docket, body) == (3, 10)


async def test_it_starts_tasks_in_its_group(docket: Docket) -> None:
    ended: list[str] = []

    async def child(name: str) -> None:
        await anyio.sleep(0.01)
        ended.append(name)

    def body(tasks: TaskGroup = ExecutionTasks()) -> str:
        from_thread.run_sync(tasks.start_soon, child, "one")
        return "started"

    assert await result_of(docket, body) == "started"
    assert ended == ["one"]


# --- how it is stopped --------------------------------------------------------------------------------------------


async def test_it_learns_that_it_is_to_stop_and_why(docket: Docket) -> None:
    stage = Stage()

    def body(execution: Execution[Any] = CurrentExecution()) -> None:
        stage.told.append((execution.cancel_requested, execution.stopping_because, execution.deadline))
        try:
            stage.hold(checking=True)
        except Exception:  # noqa: BLE001 - what such code does
            stage.told.append("taken for a failure")
        finally:
            stop = execution.stopping_because
            stage.told.append((execution.cancel_requested, stop and stop.reason))

    execution = await docket.add(body, key="one")()
    async with running(docket):
        await stage.wait_started()
        assert not execution.cancel_requested
        await docket.cancel("one")
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    assert stage.told == [(False, None, None), (True, CancelReason.USER)]
    assert (execution.cancel_requested, execution.stopping_because, execution.deadline) == (False, None, None)


async def test_its_timeout_stops_it(docket: Docket) -> None:
    stage = Stage()

    def body(timeout: Timeout = Timeout(SHORT), execution: Execution[Any] = CurrentExecution()) -> None:
        try:
            stage.hold(checking=True)
        finally:
            stop = execution.stopping_because
            stage.told += [execution.cancel_requested, stop and stop.reason, execution.deadline]

    execution = await docket.add(body)()
    async with running(docket):
        with pytest.raises(TaskTimeout):
            await execution.get_result()
        now = docket.broker.clock.now()
    requested, reason, deadline = stage.told
    assert (requested, reason) == (True, CancelReason.TIMEOUT)
    assert timedelta(0) <= now - deadline < timedelta(seconds=5)


async def test_what_it_waits_for_in_the_event_loop_is_cancelled(docket: Docket) -> None:
    stage = Stage()

    async def sleep() -> None:
        stage.started.set()
        await anyio.sleep_forever()

    def body() -> None:
        try:
            from_thread.run(sleep)
        finally:
            stage.told.append("left")

    execution = await docket.add(body, key="one")()
    async with running(docket):
        await stage.wait_started()
        await docket.cancel("one")
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    assert stage.told == ["left"]


async def test_what_it_runs_in_the_event_loop_asks_as_well(docket: Docket) -> None:
    stage = Stage()

    async def ask() -> None:
        stage.started.set()
        with anyio.CancelScope(shield=True):
            while not current_execution.get().cancel_requested:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.002)
        check_cancelled()
        stage.told.append("went on")

    def body() -> None:
        from_thread.run(ask)

    execution = await docket.add(body, key="one")()
    async with running(docket):
        await stage.wait_started()
        await docket.cancel("one")
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    assert stage.told == []


async def test_a_worker_that_leaves_hands_it_back_at_once(docket: Docket) -> None:
    stage = Stage()

    def body(retry: Retry = Retry(attempts=2)) -> int:
        if not stage.started.is_set():
            stage.hold(checking=True)
        return retry.attempt

    execution = await docket.add(body)()
    async with running(docket, grace=timedelta(0)):
        await stage.wait_started()
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert await execution.get_result() == 1


# --- what does not stop -------------------------------------------------------------------------------------------


async def test_what_goes_on_is_reported_once_and_has_not_stopped(
    docket: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    stage, told = Stage(), Told()

    def body(timeout: Timeout = Timeout(SHORT)) -> str:
        stage.hold()
        return "finished"

    waiting = Stage()
    execution = await docket.add(body, key="one")()
    async with running(docket, concurrency=1, instruments=[told], redelivery_timeout=timedelta(seconds=1)):
        await stage.wait_started()
        after = await docket.add(waiting.started.set, key="two")()
        with anyio.fail_after(PATIENCE):
            await told.heard.wait()
        await execution.sync()
        assert execution.state is ExecutionState.RUNNING
        assert not waiting.started.is_set()  # its slot is taken
        await anyio.sleep(0.01)
        stage.go_on.set()
        assert await execution.get_result() == "finished"
        await after.get_result()
    ((key, since),) = told.still_running
    assert key == "one"
    assert 5 <= since < 7
    assert "body{one} (still runs in its thread, so long after it was told to stop)" in caplog.text


async def test_a_stopped_worker_waits_for_a_thread_and_settles_its_run(docket: Docket) -> None:
    """However long that takes: its lease is renewed, and nobody else takes it over."""
    stage, told = Stage(), Told()

    def body() -> str:
        stage.hold()
        return "finished"

    execution = await docket.add(body)()
    async with running(
        docket, grace=timedelta(0), redelivery_timeout=timedelta(milliseconds=800), instruments=[told]
    ) as worker:
        await stage.wait_started()
        worker.stop()
        with anyio.fail_after(PATIENCE):
            await told.heard.wait()
        await anyio.sleep(0.5)
        async with running(docket, redelivery_timeout=timedelta(milliseconds=800)):
            await anyio.sleep(0.5)
            await execution.sync()
            assert execution.state is ExecutionState.RUNNING
        stage.go_on.set()
    assert await execution.get_result() == "finished"
    assert len(told.still_running) == 1
