"""What a type checker knows of progress and of events. Not run: mypy and pyright read it."""

from __future__ import annotations

from typing import assert_type

from docket_anyio import Docket, Execution, ExecutionState, Progress


async def load(rows: list[str], progress: Progress = Progress()) -> int:
    await progress.set_total(len(rows))
    await progress.increment()
    await progress.set_message(None)
    return progress.current or 0


async def a_task_with_a_progress(docket: Docket) -> None:
    assert_type(await docket.add(load)(["a"]), Execution[int])


async def events_are_told_apart_by_their_type(execution: Execution[int]) -> None:
    async with execution.events() as events:
        async for event in events:
            if event["type"] == "state":
                assert_type(event["state"], ExecutionState)
            else:
                assert_type(event["current"], int | None)
                assert_type(event["message"], str | None)
    async for event in execution.subscribe():
        assert_type(event["key"], str)
    async for report in execution.progress.subscribe():
        assert_type(report["total"], int)
