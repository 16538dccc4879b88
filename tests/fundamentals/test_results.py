"""What came of a task: the code that a newcomer would write."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from docket_anyio import Docket, ExecutionCancelled, ExecutionState, Worker


async def test_a_result_comes_back(docket: Docket) -> None:
    async def add_up(a: int, b: int) -> int:
        return a + b

    execution = await docket.add(add_up)(2, 3)

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert await execution.get_result() == 5


async def test_an_exception_comes_back_as_itself(docket: Docket) -> None:
    async def divide(a: int, b: int) -> float:
        return a / b

    execution = await docket.add(divide)(1, 0)

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    with pytest.raises(ZeroDivisionError):
        await execution.get_result()


async def test_wait_no_longer_than_this(docket: Docket) -> None:
    async def slow() -> None: ...

    execution = await docket.add(slow, key="slow")()  # and nobody runs it

    with pytest.raises(TimeoutError):
        await execution.get_result(timeout=timedelta(milliseconds=20))

    with anyio.move_on_after(0.02) as scope:
        await execution.get_result()
    assert scope.cancelled_caught

    await docket.cancel("slow")


async def test_ask_for_an_execution_by_its_key(docket: Docket) -> None:
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    await docket.add(greet, key="greet-ann")("Ann")

    execution = await docket.get_execution("greet-ann")
    assert execution is not None
    assert execution.state is ExecutionState.QUEUED

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    await execution.sync()
    assert execution.state is ExecutionState.COMPLETED
    assert await execution.get_result() == "Hello, Ann!"


async def test_cancel_a_task_that_waits(docket: Docket) -> None:
    async def never() -> None:
        raise AssertionError("it was cancelled")

    execution = await docket.add(never, key="never")()
    await docket.cancel("never")

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    with pytest.raises(ExecutionCancelled):
        await execution.get_result()
