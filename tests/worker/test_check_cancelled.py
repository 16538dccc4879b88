"""``check_cancelled()`` in an async body that awaits nothing, and elsewhere."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.abc import TaskGroup
from attrs import define, field

from docket_anyio import (
    CurrentExecution,
    Depends,
    Docket,
    Execution,
    ExecutionCancelled,
    ExecutionTasks,
    Timeout,
    check_cancelled,
)
from docket_anyio.exceptions import TaskTimeout
from tests.dockets import running

SHORT, HOUR = timedelta(milliseconds=20), timedelta(hours=1)


@define
class Stage:
    started: anyio.Event = field(factory=anyio.Event)
    go_on: anyio.Event = field(factory=anyio.Event)
    told: list[Any] = field(factory=list[Any])

    async def hear(self, execution: Execution[Any]) -> None:
        """Wait until the run was told to stop, and take no notice yet."""
        self.started.set()
        with anyio.move_on_after(10, shield=True):
            while not execution.cancel_requested:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.002)


async def cancel(docket: Docket, stage: Stage, execution: Execution[Any]) -> None:
    async with running(docket):
        await stage.started.wait()
        await docket.cancel(execution.key)
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()


async def test_it_stops_a_body_that_awaits_nothing(docket: Docket) -> None:
    stage = Stage()

    async def body(execution: Execution[Any] = CurrentExecution()) -> None:
        await stage.hear(execution)
        try:
            check_cancelled()
            stage.told.append("went on")
        except Exception:  # noqa: BLE001 - what such code does
            stage.told.append("taken for a failure")
        finally:
            stage.told.append("left")

    await cancel(docket, stage, await docket.add(body)())
    assert stage.told == ["left"]


async def test_a_deadline_that_has_passed_stops_it_too(docket: Docket) -> None:
    """The event loop had no turn to see that it has."""

    async def body(timeout: Timeout = Timeout(SHORT)) -> str:
        check_cancelled()
        time.sleep(2 * SHORT.total_seconds())  # noqa: ASYNC251 - that is what this is about
        check_cancelled()
        return "went on"

    execution = await docket.add(body)()
    async with running(docket):
        with pytest.raises(TaskTimeout):
            await execution.get_result()


async def test_nothing_happens_where_nobody_has_asked(docket: Docket) -> None:
    async def body(timeout: Timeout = Timeout(HOUR)) -> str:
        check_cancelled()
        with anyio.move_on_after(0):  # noqa: ASYNC100 - no wait: the check alone is meant
            check_cancelled()  # a scope of its own is its own affair
        with anyio.CancelScope() as scope:  # noqa: ASYNC100
            scope.cancel()
            check_cancelled()
        return "went on"

    check_cancelled()
    execution = await docket.add(body)()
    async with running(docket):
        assert await execution.get_result() == "went on"
    check_cancelled()


async def test_a_shield_keeps_it_off(docket: Docket) -> None:
    stage = Stage()

    async def body(execution: Execution[Any] = CurrentExecution()) -> str:
        await stage.hear(execution)
        with anyio.CancelScope(shield=True):  # noqa: ASYNC100
            check_cancelled()
        stage.told.append("cleaned up")
        check_cancelled()
        return "went on"

    await cancel(docket, stage, await docket.add(body)())
    assert stage.told == ["cleaned up"]


@pytest.mark.parametrize("group", ["own", "execution's"])
async def test_it_stops_the_tasks_of_a_body(docket: Docket, group: str) -> None:
    stage = Stage()

    async def child(execution: Execution[Any]) -> None:
        await stage.hear(execution)
        check_cancelled()
        stage.told.append("went on")

    async def body(execution: Execution[Any] = CurrentExecution(), tasks: TaskGroup = ExecutionTasks()) -> None:
        if group == "own":
            async with anyio.create_task_group() as own:
                own.start_soon(child, execution)
                own.start_soon(anyio.sleep_forever)
        else:
            tasks.start_soon(child, execution)

    await cancel(docket, stage, await docket.add(body)())
    assert stage.told == []


async def test_what_failed_beside_it_is_told(docket: Docket) -> None:
    stage = Stage()

    async def child(execution: Execution[Any]) -> None:
        await stage.hear(execution)
        check_cancelled()

    async def failing(execution: Execution[Any]) -> None:
        await stage.hear(execution)
        raise ValueError("ouch")

    async def body(execution: Execution[Any] = CurrentExecution()) -> None:
        async with anyio.create_task_group() as own:
            own.start_soon(child, execution)
            own.start_soon(failing, execution)

    execution = await docket.add(body)()
    outcomes: list[BaseException] = []
    async with running(docket, grace=timedelta(0)) as worker:
        await stage.started.wait()
        worker.stop()
    try:
        await execution.get_result()
    except ExceptionGroup as group:
        outcomes += group.exceptions
    assert [str(each) for each in outcomes] == ["ouch"]


async def test_it_may_be_asked_in_a_thread_that_an_async_body_has_started(docket: Docket) -> None:
    stage = Stage()

    def compute(execution: Execution[Any]) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            check_cancelled()
            time.sleep(0.002)

    async def body(execution: Execution[Any] = CurrentExecution()) -> None:
        stage.started.set()
        await to_thread.run_sync(compute, execution)
        stage.told.append("went on")

    await cancel(docket, stage, await docket.add(body)())
    assert stage.told == []


async def test_it_does_nothing_in_what_is_made_for_the_run(docket: Docket) -> None:
    def make() -> str:
        check_cancelled()
        return "made"

    async def body(value: str = Depends(make)) -> str:
        return value

    execution = await docket.add(body)()
    async with running(docket):
        assert await execution.get_result() == "made"


async def test_it_does_nothing_in_a_thread_of_somebody_else() -> None:
    outcome: list[BaseException | None] = []

    def ask() -> None:
        try:
            check_cancelled()
            outcome.append(None)
        except BaseException as error:  # noqa: BLE001, ASYNC103 - whatever it raises
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert outcome == [None]
