"""Values that are made once for a worker, and shared by all its runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from docket_anyio import Docket, Execution, ExecutionCancelled, Retry, Worker
from docket_anyio.dependencies import CurrentDocket, CurrentWorker, Depends, Shared, current_execution
from tests.dockets import run_all, running
from tests.worker.diary import Diary


async def add_many(docket: Docket, task: object, count: int) -> list[Execution[object]]:
    return [await docket.add(task)() for _ in range(count)]


# --- making -------------------------------------------------------------------------------------------------------


async def test_one_that_fifty_runs_want_at_once_is_made_once(docket: Docket) -> None:
    made: list[object] = []
    waiting = 0
    all_wait = anyio.Event()

    async def pool() -> object:
        await all_wait.wait()
        made.append(object())
        return made[-1]

    def arrive() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 50:
            all_wait.set()

    async def body(ready: None = Depends(arrive), value: object = Shared(pool)) -> bool:
        return value is made[0]

    executions = await add_many(docket, body, 50)
    await run_all(docket, concurrency=50)
    assert len(made) == 1
    assert all([await each.get_result() for each in executions])


async def test_the_run_that_came_first_is_cancelled_while_it_is_made(docket: Docket) -> None:
    """The others wait for the same value; it does not belong to that run."""
    making, go_on = anyio.Event(), anyio.Event()
    made = 0

    @asynccontextmanager
    async def pool() -> AsyncGenerator[str]:
        nonlocal made
        made += 1
        making.set()
        await go_on.wait()
        async with anyio.create_task_group():
            yield "pool"

    async def body(value: str = Shared(pool)) -> str:
        return value

    async with running(docket):
        first = await docket.add(body)()
        await making.wait()
        others = await add_many(docket, body, 5)
        await docket.cancel(first.key)
        with pytest.raises(ExecutionCancelled):
            await first.get_result()
        go_on.set()
        assert [await each.get_result() for each in others] == ["pool"] * 5
    assert made == 1


async def test_it_is_the_same_for_all_tasks_and_within_dependencies(docket: Docket) -> None:
    class Pool:
        pass

    def wrapped(pool: Pool = Shared(Pool)) -> Pool:
        return pool

    seen: list[Pool] = []

    async def direct(pool: Pool = Shared(Pool)) -> None:
        seen.append(pool)

    async def indirect(pool: Pool = Depends(wrapped)) -> None:
        seen.append(pool)

    await docket.add(direct)()
    await docket.add(indirect)()
    await run_all(docket)
    assert len(seen) == 2
    assert seen[0] is seen[1]


async def test_each_session_of_a_worker_makes_its_own(docket: Docket) -> None:
    made: list[object] = []

    def pool() -> object:
        made.append(object())
        return made[-1]

    async def body(value: object = Shared(pool)) -> bool:
        return value is made[-1]

    async with Worker(docket) as worker:
        for number in (1, 2):
            execution = await docket.add(body)()
            await worker.run_until_finished()
            assert await execution.get_result()
            assert len(made) == number


async def test_one_that_nobody_wants_is_not_made(docket: Docket) -> None:
    def pool() -> object:
        raise AssertionError("nobody asked")

    async def body(value: object = Shared(pool)) -> None: ...

    async def other() -> str:
        return "other"

    docket.register(body)
    execution = await docket.add(other)()
    await run_all(docket)
    assert await execution.get_result() == "other"


async def test_it_may_need_others_and_is_closed_before_them(docket: Docket, notes: Diary) -> None:
    @asynccontextmanager
    async def settings() -> AsyncGenerator[str]:
        async with notes.slow_page("settings") as page:
            yield page

    @asynccontextmanager
    async def address(which: str = Shared(settings)) -> AsyncGenerator[str]:
        async with notes.slow_page("address"):
            yield f"address of {which}"

    @asynccontextmanager
    async def pool(
        where: str = Depends(address), docket: Docket = CurrentDocket(), worker: Worker = CurrentWorker()
    ) -> AsyncGenerator[str]:
        async with notes.slow_page("pool"):
            yield f"pool at {where} of {docket.name} and {worker.name}"

    async def early(value: str = Shared(settings)) -> None: ...

    async def body(value: str = Shared(pool)) -> str:
        return value

    execution = await docket.add(body)()
    await docket.add(early)()
    await run_all(docket, name="W")
    assert await execution.get_result() == f"pool at address of settings of {docket.name} and W"
    opened = ["settings", "address", "pool"]
    closed = [*reversed(opened)]
    assert notes.entries == [*(f"open {each}" for each in opened), *(f"close {each}" for each in closed)]


async def test_it_sees_nothing_of_the_run_that_came_first(docket: Docket) -> None:
    def pool() -> bool:
        return current_execution.get(None) is None

    async def body(*, nothing_seen: bool = Shared(pool)) -> bool:
        return nothing_seen

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result()


# --- failing ------------------------------------------------------------------------------------------------------


async def test_those_who_wait_fail_with_it_and_the_next_one_tries_again(docket: Docket) -> None:
    tries = waiting = 0
    all_wait = anyio.Event()

    def arrive() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 5:
            all_wait.set()

    async def pool() -> int:
        nonlocal tries
        tries += 1
        await all_wait.wait()
        if tries == 1:
            raise ConnectionError("refused")
        return tries

    async def body(ready: None = Depends(arrive), value: int = Shared(pool)) -> int:
        return value

    executions = await add_many(docket, body, 5)
    async with running(docket):
        for each in executions:
            with pytest.RaisesGroup(
                ConnectionError, match=r"^Failed to resolve dependencies for parameter\(s\): value"
            ):
                await each.get_result()
        assert await (await docket.add(body)()).get_result() == 2


async def test_a_retry_tries_again_to_make_it(docket: Docket) -> None:
    tries = 0

    async def pool() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError("refused")
        return "pool"

    async def body(value: str = Shared(pool), retry: Retry = Retry(attempts=3, on=(ConnectionError,))) -> str:
        return f"{value} at attempt {retry.attempt}"

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == "pool at attempt 3"


async def test_one_that_fails_to_close_ends_the_worker_with_its_error(docket: Docket, notes: Diary) -> None:
    @asynccontextmanager
    async def first() -> AsyncGenerator[str]:
        async with notes.slow_page("first") as page:
            yield page

    async def second(value: str = Shared(first)) -> AsyncGenerator[str]:
        yield value
        raise OSError("disk full")

    async def body(value: str = Shared(second)) -> str:
        return value

    execution = await docket.add(body)()
    async with Worker(docket) as worker:
        with pytest.raises(OSError, match="disk full"):
            await worker.run_until_finished()
    assert await execution.get_result() == "first"
    assert notes.entries == ["open first", "close first"]


async def test_several_that_fail_to_close_are_raised_together(docket: Docket) -> None:
    async def first() -> AsyncGenerator[str]:
        yield "first"
        raise OSError("disk full")

    async def second() -> AsyncGenerator[str]:
        yield "second"
        raise ValueError("not mine")

    async def body(a: str = Shared(first), b: str = Shared(second)) -> None: ...

    await docket.add(body)()
    async with Worker(docket) as worker:
        with pytest.RaisesGroup(ValueError, OSError):
            await worker.run_until_finished()


async def test_one_that_breaks_while_it_is_in_use_stops_the_worker(docket: Docket) -> None:
    """What runs has its grace, and what it has ended is settled: only then is the error raised."""
    break_it, go_on = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def pool() -> AsyncGenerator[str]:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await break_it.wait()
                raise ConnectionError("reset")

            group.start_soon(watch)
            yield "pool"

    async def body(value: str = Shared(pool)) -> str:
        break_it.set()
        await go_on.wait()
        return value

    execution = await docket.add(body)()
    async with Worker(docket) as worker:
        with pytest.RaisesGroup(ConnectionError, flatten_subgroups=True, allow_unwrapped=True):
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run_forever)
                await break_it.wait()
                await anyio.wait_all_tasks_blocked()
                go_on.set()
    assert await execution.get_result() == "pool"


async def test_one_that_ends_by_itself_is_made_anew(docket: Docket) -> None:
    made = 0

    @asynccontextmanager
    async def pool() -> AsyncGenerator[tuple[int, anyio.CancelScope]]:
        nonlocal made
        made += 1
        with anyio.CancelScope() as scope:  # noqa: ASYNC100 - around all runs
            yield made, scope

    async def body(value: tuple[int, anyio.CancelScope] = Shared(pool)) -> int:
        number, scope = value
        if number == 1:
            scope.cancel()
        return number

    async with running(docket):
        assert await (await docket.add(body)()).get_result() == 1
        await anyio.wait_all_tasks_blocked()
        assert await (await docket.add(body)()).get_result() == 2
