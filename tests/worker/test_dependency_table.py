"""Every kind of dependency, and every way in which a run ends: what is opened is closed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import anyio
import pytest
from anyio.abc import TaskGroup

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState
from docket_anyio.dependencies import Depends, ExecutionTasks, Provided, Shared, Timeout
from docket_anyio.exceptions import TaskTimeout
from tests.dockets import running
from tests.worker import diary as kinds
from tests.worker.diary import Diary, diary, first, last

HOUR = timedelta(hours=1)

# What the name of each kind asks for, and what happens around the body, which stands in the middle.
AROUND = {
    "function": ["open first", "open it", "open last", "close last", "close first"],
    "coroutine": ["open first", "open it", "open last", "close last", "close first"],
    "held": ["open first", "open it", "open last", "close last", "close it", "close first"],
    "nested": [
        "open first",
        "open inner",
        "open it",
        "open last",
        "close last",
        "close it",
        "close inner",
        "close first",
    ],
    "shared": ["open first", "open it", "open last", "close last", "close first", "close it"],
    "around": ["open it", "open first", "open last", "close last", "close first", "close it"],
    "tasks": ["open first", "open last", "open it", "close it", "close last", "close first"],
}
KINDS: dict[str, tuple[Any, str]] = {
    "plain function": (Depends(kinds.function), "function"),
    "coroutine function": (Depends(kinds.coroutine), "coroutine"),
    "sync context manager": (Depends(kinds.manager), "held"),
    "async context manager": (Depends(kinds.async_manager), "held"),
    "sync generator": (Depends(kinds.generator), "held"),
    "async generator": (Depends(kinds.async_generator), "held"),
    "async context manager with a cancel scope": (Depends(kinds.with_scope), "held"),
    "async context manager with a task group": (Depends(kinds.with_task_group), "held"),
    "nested": (Depends(kinds.nested), "nested"),
    "annotated": (None, "held"),
    "class": (kinds.Own(), "held"),
    "shared": (Shared(kinds.async_manager), "shared"),
    "shared with a task group": (Shared(kinds.with_task_group), "shared"),
    "worker-wide": (None, "around"),
    "task group": (ExecutionTasks(), "tasks"),
}
ENDINGS = ["success", "failure", "timeout", "cancel", "shutdown"]


async def act(ending: str, timeout: Timeout, value: object) -> str:
    notes = diary.get()
    notes.write("run", "body")
    assert value in {"it", None}
    notes.started.set()
    match ending:
        case "success":
            return "done"
        case "failure":
            raise ValueError("failed")
        case "timeout":
            timeout.extend(-HOUR)
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def task_with(default: Any) -> Callable[[str], Awaitable[str]]:
    async def body(
        ending: str,
        timeout: Timeout = Timeout(HOUR),
        before: str = Depends(first),
        value: object = default,
        after: str = Depends(last),
    ) -> str:
        assert (before, after) == ("first", "last")
        return await act(ending, timeout, value)

    return body


async def annotated(
    ending: str,
    timeout: Timeout = Timeout(HOUR),
    before: str = Depends(first),
    value: Annotated[str, Depends(kinds.async_manager)] = Provided,
    after: str = Depends(last),
) -> str:
    return await act(ending, timeout, value)


async def with_tasks(
    ending: str,
    timeout: Timeout = Timeout(HOUR),
    before: str = Depends(first),
    tasks: TaskGroup = ExecutionTasks(),
    after: str = Depends(last),
) -> str:
    enough = anyio.Event()

    async def child(*, task_status: anyio.abc.TaskStatus[None]) -> None:  # noqa: ASYNC114 - started in a moment
        with diary.get().page("it"):
            task_status.started()
            await enough.wait()

    await tasks.start(child)
    result = await act(ending, timeout, None)
    enough.set()
    return result


async def end(docket: Docket, execution: Execution[str], ending: str, **options: Any) -> None:
    """Run a task to its end, and check that it was that one."""
    async with running(docket, **options) as worker:
        with anyio.fail_after(5):
            await diary.get().started.wait()
        match ending:
            case "success":
                assert await execution.get_result() == "done"
            case "failure":
                with pytest.raises(ValueError, match="failed"):
                    await execution.get_result()
            case "timeout":
                with pytest.raises(TaskTimeout):
                    await execution.get_result()
            case "cancel":
                await docket.cancel(execution.key)
                with pytest.raises(ExecutionCancelled):
                    await execution.get_result()
            case _:
                worker.stop(timedelta(0))
    await execution.sync()
    assert (execution.state is ExecutionState.QUEUED) == (ending == "shutdown")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_opened_is_closed(docket: Docket, notes: Diary, kind: str, ending: str) -> None:
    """Once, in reverse order, by the task that opened it, however the run ends."""
    default, row = KINDS[kind]
    task = {"annotated": annotated, "task group": with_tasks}.get(kind) or task_with(default)
    around = [Depends(kinds.async_manager)] if kind == "worker-wide" else ()
    await end(docket, await docket.add(task)(ending), ending, dependencies=around)

    in_body = [each for each in notes.entries if each != "run body"]
    assert in_body == AROUND[row]
    assert notes.entries.count("run body") == 1
    by_another = {"it"} if row in {"shared", "tasks"} else set[str]()
    assert all(len(tasks) == 1 for tasks in notes.tasks.values())
    assert {who for who, tasks in notes.tasks.items() if tasks != notes.tasks["body"]} == by_another

    ended_with = {
        "success": None,
        "failure": ValueError,
        "timeout": TaskTimeout,
    }.get(ending, anyio.get_cancelled_exc_class())
    expected = dict.fromkeys(notes.seen, ended_with)
    if "it" in by_another:
        # Not the run's: one sees the end of the worker, the other that its group is cancelled.
        expected["it"] = None if row == "shared" or ending == "success" else anyio.get_cancelled_exc_class()
    assert notes.seen == expected
