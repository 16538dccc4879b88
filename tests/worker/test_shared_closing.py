"""Shared values are closed after the last run, however the worker ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from docket_anyio import Docket, ExecutionState, Worker
from docket_anyio.dependencies import Shared, SharedContext, resolved_dependencies
from docket_anyio.exceptions import CleanupTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import run_all, running
from tests.worker.diary import Diary


async def test_it_is_closed_after_the_last_run(docket: Docket, notes: Diary) -> None:
    """Also where the worker is told to cancel what runs."""

    @asynccontextmanager
    async def pool() -> AsyncGenerator[str]:
        async with notes.slow_page("pool") as page:
            yield page

    async def body(value: str = Shared(pool)) -> None:
        with notes.page("body"):
            notes.started.set()
            await anyio.sleep_forever()

    execution = await docket.add(body)()
    async with running(docket) as worker:
        await notes.started.wait()
        worker.stop(timedelta(0))
    assert notes.entries == ["open pool", "open body", "close body", "close pool"]
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED


async def test_it_is_closed_where_the_worker_is_cancelled(docket: Docket, notes: Diary) -> None:
    @asynccontextmanager
    async def pool() -> AsyncGenerator[str]:
        async with anyio.create_task_group(), notes.slow_page("pool"):
            yield "pool"

    async def body(value: str = Shared(pool)) -> None:
        notes.started.set()
        await anyio.sleep_forever()

    await docket.add(body)()
    async with Worker(docket, grace=timedelta(0)) as worker, anyio.create_task_group() as group:
        group.start_soon(worker.run_forever)
        await notes.started.wait()
        group.cancel_scope.cancel()
    assert notes.entries == ["open pool", "close pool"]
    assert notes.seen == {"pool": None}
    assert len(notes.tasks["pool"]) == 1


async def test_a_task_group_that_all_runs_share(docket: Docket) -> None:
    """What a run starts there outlives the run, and ends with the worker."""
    told: list[str] = []

    @asynccontextmanager
    async def background() -> AsyncGenerator[TaskGroup]:
        async with anyio.create_task_group() as group:
            yield group

    async def tell(what: str) -> None:
        await checkpoint()
        told.append(what)

    async def body(group: TaskGroup = Shared(background)) -> str:
        group.start_soon(tell, "later")
        return "now"

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == "now"
    assert told == ["later"]


@virtual_time
async def test_one_that_is_still_being_made_is_given_up(docket: Docket) -> None:
    """Nobody wants it any more once the runs have ended."""
    making = anyio.Event()

    async def pool() -> None:
        making.set()
        await anyio.sleep_forever()

    async def body(value: None = Shared(pool)) -> None: ...

    await docket.add(body)()
    stopwatch = Stopwatch()
    async with running(docket) as worker:
        await making.wait()
        worker.stop(timedelta(0))
    assert stopwatch.seconds() < 1


@virtual_time
async def test_one_that_hangs_on_closing_is_given_up(docket: Docket) -> None:
    async def pool() -> AsyncGenerator[str]:
        yield "pool"
        await anyio.sleep_forever()

    async def body(value: str = Shared(pool)) -> None: ...

    await docket.add(body)()
    stopwatch = Stopwatch()
    async with Worker(docket) as worker:
        with pytest.raises(CleanupTimeout, match="shared values of the worker were not closed within 10 s"):
            await worker.run_until_finished()
    assert stopwatch.seconds() < 15


@virtual_time
async def test_leaving_a_worker_waits_until_they_are_closed(docket: Docket) -> None:
    begun, seen = anyio.Event(), list[str]()

    async def pool() -> AsyncGenerator[str]:
        yield "pool"
        await anyio.sleep(9)
        seen.append("closed")

    async def body(value: str = Shared(pool)) -> None:
        begun.set()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(4)

    async with anyio.create_task_group() as group:
        async with Worker(docket, grace=timedelta(0)) as worker:
            await group.start(worker.run_forever)  # noqa: ASYNC111 - to leave it while it runs is what this is about
            await docket.add(body)()
            await begun.wait()
        seen.append("left")
    assert seen == ["closed", "left"]


async def test_they_are_shared_within_a_block_of_a_users_own(docket: Docket) -> None:
    made: list[str] = []

    async def pool() -> AsyncGenerator[str]:
        made.append("open")
        yield "pool"
        made.append("close")

    async def body(value: str = Shared(pool)) -> None: ...

    worker, execution = Worker(docket), await docket.add(body)()
    async with SharedContext():
        for _ in range(2):
            async with resolved_dependencies(worker, execution) as values:
                assert values == {"value": "pool"}
        assert made == ["open"]
    assert made == ["open", "close"]
