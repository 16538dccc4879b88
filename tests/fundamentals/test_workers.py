"""Running a worker beside one's own code: the code that a newcomer would write."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from docket_anyio import Docket, ExecutionCancelled, Retry, Timeout, Worker


async def test_a_worker_beside_the_rest_of_the_program(docket: Docket) -> None:
    async def double(number: int) -> int:
        return 2 * number

    async with Worker(docket) as worker, anyio.create_task_group() as tg:
        await tg.start(worker.run_forever)

        execution = await docket.add(double)(21)
        assert await execution.get_result() == 42

        worker.stop()


async def test_a_worker_ends_with_its_task_group(docket: Docket) -> None:
    async with Worker(docket) as worker, anyio.create_task_group() as tg:
        await tg.start(worker.run_forever)
        tg.cancel_scope.cancel()


async def test_cancel_a_task_that_runs(docket: Docket) -> None:
    cleaned_up = anyio.Event()
    started = anyio.Event()

    async def long() -> None:
        started.set()
        try:
            await anyio.sleep(1000)
        finally:
            cleaned_up.set()

    async with Worker(docket) as worker, anyio.create_task_group() as tg:
        await tg.start(worker.run_forever)
        execution = await docket.add(long, key="long")()
        await started.wait()

        await docket.cancel("long")

        await cleaned_up.wait()
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
        worker.stop()


async def test_try_again_after_a_failure(docket: Docket) -> None:
    async def flaky(retry: Retry = Retry(attempts=3, delay=timedelta(milliseconds=10))) -> str:
        if retry.attempt < 3:
            raise ConnectionError("not yet")
        return f"worked on attempt {retry.attempt}"

    execution = await docket.add(flaky)()

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert await execution.get_result() == "worked on attempt 3"


async def test_a_task_that_takes_too_long(docket: Docket) -> None:
    async def slow(timeout: Timeout = Timeout(timedelta(milliseconds=20))) -> None:
        await anyio.sleep(1000)

    execution = await docket.add(slow)()

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    with pytest.raises(TimeoutError, match=r"exceeded timeout of 0.02s"):
        await execution.get_result()


async def test_no_more_than_so_many_at_once(docket: Docket) -> None:
    running = 0
    most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.01)
        running -= 1

    for _ in range(10):
        await docket.add(work)()

    async with Worker(docket, concurrency=3) as worker:
        await worker.run_until_finished()

    assert most == 3
