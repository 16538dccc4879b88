"""Dependencies that hold scopes or task groups of their own, and cancellations that nobody has asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, Execution, Retry
from docket_anyio.dependencies import Depends, Timeout
from docket_anyio.exceptions import StrayCancellation, TaskTimeout
from tests.dockets import run_all, running
from tests.worker.diary import Diary, first, last
from tests.worker.instruments import Reports


async def test_the_time_of_a_dependency_is_over(docket: Docket, notes: Diary) -> None:
    @asynccontextmanager
    async def at_most() -> AsyncGenerator[None]:
        with anyio.fail_after(0.01):  # noqa: ASYNC100 - around the body
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

    @asynccontextmanager
    async def scope() -> AsyncGenerator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:  # noqa: ASYNC100 - around the body
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

    @asynccontextmanager
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

    @asynccontextmanager
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
    async with asyncio.timeout(0.01):  # noqa: ASYNC100 - around the body
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
