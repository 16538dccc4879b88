"""A task group for the body: what it starts there belongs to the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from docket_anyio import Docket, Execution, ExecutionState, Retry
from docket_anyio.dependencies import Dependency, Depends, ExecutionTasks, Middleware, Runtime, Timeout
from docket_anyio.exceptions import InvalidTask, TaskTimeout
from tests.dockets import run_all, running
from tests.stage import Stage


async def test_the_run_ends_when_all_has_ended(docket: Docket) -> None:
    go_on = anyio.Event()

    async def body(tasks: TaskGroup = ExecutionTasks()) -> str:
        tasks.start_soon(go_on.wait)
        return "done"

    async with running(docket):
        execution = await docket.add(body)()
        await anyio.sleep(0.05)
        await execution.sync()
        assert execution.state is ExecutionState.RUNNING
        go_on.set()
        assert await execution.get_result() == "done"


async def test_what_fails_there_fails_the_run_and_cancels_the_rest(docket: Docket) -> None:
    ended: list[str] = []

    async def fail() -> None:
        await checkpoint()
        raise ConnectionError("reset")

    async def sleep() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("child")

    async def body(tasks: TaskGroup = ExecutionTasks()) -> None:
        tasks.start_soon(sleep)
        tasks.start_soon(fail)
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("body")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.RaisesGroup(ConnectionError):
        await execution.get_result()
    assert sorted(ended) == ["body", "child"]


async def test_where_the_body_alone_fails_there_is_no_group(docket: Docket) -> None:
    async def body(tasks: TaskGroup = ExecutionTasks()) -> None:
        tasks.start_soon(anyio.sleep_forever)
        raise ValueError("failed")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(ValueError, match="failed"):
        await execution.get_result()


async def test_where_both_fail_there_is_one(docket: Docket) -> None:
    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("child")

    async def body(tasks: TaskGroup = ExecutionTasks()) -> None:
        tasks.start_soon(child)
        await anyio.wait_all_tasks_blocked()
        raise ValueError("body")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.RaisesGroup(ValueError, LookupError):
        await execution.get_result()


async def test_a_group_of_the_bodys_own_is_left_as_it_is(docket: Docket) -> None:
    async def body(tasks: TaskGroup = ExecutionTasks()) -> None:
        raise ExceptionGroup("mine", [ValueError("failed")])

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.RaisesGroup(ValueError, match="^mine"):
        await execution.get_result()


async def test_a_retry_for_what_fails_there(docket: Docket) -> None:
    async def child(attempt: int) -> None:
        if attempt < 3:
            raise ConnectionError("reset")

    async def body(tasks: TaskGroup = ExecutionTasks(), retry: Retry = Retry(attempts=3, on=(ConnectionError,))) -> int:
        tasks.start_soon(child, retry.attempt)
        return retry.attempt

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == 3


@pytest.mark.parametrize("result", ["returned", None])
async def test_a_body_that_cancels_its_group(docket: Docket, result: str | None) -> None:
    """As with a task group of its own: that is no failure, and not the cancellation of the task."""

    async def body(tasks: TaskGroup = ExecutionTasks()) -> str | None:
        tasks.start_soon(anyio.sleep_forever)
        tasks.cancel_scope.cancel()
        if result is None:
            await anyio.sleep_forever()
        return result

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == result
    assert execution.state is ExecutionState.COMPLETED


async def test_it_counts_against_the_timeout(docket: Docket) -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("child")

    async def body(tasks: TaskGroup = ExecutionTasks(), timeout: Timeout = Timeout(timedelta(milliseconds=20))) -> str:
        tasks.start_soon(child)
        return "not the result"

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(TaskTimeout):
        await execution.get_result()
    assert ended == ["child"]


@pytest.mark.parametrize("how", ["cancel", "shutdown"])
async def test_it_is_cancelled_with_the_task(docket: Docket, how: str) -> None:
    stage = Stage()

    async def body(tasks: TaskGroup = ExecutionTasks()) -> str:
        tasks.start_soon(stage.hang)
        return "not the result"

    async with running(docket) as worker:
        execution = await docket.add(body)()
        await stage.started.wait()
        if how == "cancel":
            await docket.cancel(execution.key)
        else:
            worker.stop(timedelta(0))
    assert stage.ended.is_set()
    await execution.sync()
    assert execution.state is (ExecutionState.CANCELLED if how == "cancel" else ExecutionState.QUEUED)


# --- together with what stands around the body ---------------------------------------------------------------------


class Watching(Middleware["Watching"]):
    async def __aenter__(self) -> Watching:
        return self

    async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return f"seen: {await call_next()}"
        except ExceptionGroup as several:
            return f"caught: {several.exceptions[0]}"


class Directly(Runtime["Directly"]):
    async def __aenter__(self) -> Directly:
        return self

    async def run(self, execution: Execution[Any], function: Any, args: Any, kwargs: Any) -> Any:
        assert function.__name__ == "body"
        return f"run: {await function(*args, **kwargs)}"


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [(Watching(), ["seen: done", "caught: failed"]), (Directly(), ["run: done", ExceptionGroup])],
    ids=["middleware", "runtime"],
)
async def test_what_stands_around_the_body_sees_the_end_of_all(
    docket: Docket, dependency: Dependency[Any], expected: list[Any]
) -> None:
    children = 0

    async def child(*, fails: bool) -> None:
        nonlocal children
        await anyio.sleep(0.01)
        children += 1
        if fails:
            raise ValueError("failed")

    async def body(*, fails: bool, around: object = dependency, tasks: TaskGroup = ExecutionTasks()) -> str:
        tasks.start_soon(partial(child, fails=fails))
        return "done"

    well, badly = await docket.add(body)(fails=False), await docket.add(body)(fails=True)
    await run_all(docket)
    assert children == 2
    assert await well.get_result() == expected[0]
    if expected[1] is ExceptionGroup:
        with pytest.RaisesGroup(ValueError):
            await badly.get_result()
    else:
        assert await badly.get_result() == expected[1]


async def test_it_ends_before_dependencies_close(docket: Docket) -> None:
    is_open = False

    async def connection() -> Any:
        nonlocal is_open
        is_open = True
        yield
        is_open = False

    seen: list[bool] = []

    async def child() -> None:
        await anyio.sleep(0.01)
        seen.append(is_open)

    async def body(connection: None = Depends(connection), tasks: TaskGroup = ExecutionTasks()) -> None:
        tasks.start_soon(child)

    await docket.add(body)()
    await run_all(docket)
    assert seen == [True]
    assert not is_open


async def test_a_task_has_one_at_most(docket: Docket) -> None:
    async def body(one: TaskGroup = ExecutionTasks(), two: TaskGroup = ExecutionTasks()) -> None: ...

    with pytest.raises(InvalidTask, match=r"'one'.*'two'"):
        docket.register(body)
