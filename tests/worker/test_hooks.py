"""Handlers: classes of a user's own that are told how a run ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import define, field

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState, Perpetual, Retry
from docket_anyio.dependencies import (
    CancellationHandler,
    CompletionHandler,
    Dependency,
    Depends,
    FailureHandler,
    TaskOutcome,
    Timeout,
    current_docket,
)
from docket_anyio.exceptions import InvalidTask, TaskFailed, TaskTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import run_all, running
from tests.worker.instruments import Reports


@define(eq=False)
class Handling(Dependency[Any]):
    """Answers ``True`` or ``False`` once it was told, or raises."""

    answer: bool | Exception = False
    told: list[TaskOutcome] = field(factory=list)

    async def __aenter__(self) -> Any:
        return self

    async def hear(self, outcome: TaskOutcome) -> bool:
        self.told.append(outcome)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class OnFailure(Handling, FailureHandler[Any]):
    async def handle_failure(self, execution: Execution[Any], outcome: TaskOutcome) -> bool:
        return await self.hear(outcome)


class OnCompletion(Handling, CompletionHandler[Any]):
    async def on_complete(self, execution: Execution[Any], outcome: TaskOutcome) -> bool:
        return await self.hear(outcome)


class OnCancellation(Handling, CancellationHandler[Any]):
    async def on_cancelled(self, execution: Execution[Any], outcome: TaskOutcome) -> None:
        await self.hear(outcome)


# --- failure ------------------------------------------------------------------------------------------------------


async def test_a_failure_that_nobody_deals_with_is_one(docket: Docket) -> None:
    handler = OnFailure(answer=False)

    async def body(handler: OnFailure = handler) -> None:
        raise ValueError("failed")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(ValueError, match="failed"):
        await execution.get_result()
    (told,) = handler.told
    assert isinstance(told.exception, ValueError)
    assert told.result is None
    assert timedelta(0) <= told.duration < timedelta(seconds=5)


async def test_a_failure_that_was_dealt_with_leaves_no_exception(docket: Docket) -> None:
    completion = OnCompletion()

    async def body(handler: OnFailure = OnFailure(answer=True), completion: OnCompletion = completion) -> None:
        raise ValueError("failed")

    execution = await docket.add(body)()
    await run_all(docket)
    await execution.sync()
    assert (execution.state, execution.error) == (ExecutionState.FAILED, None)
    with pytest.raises(TaskFailed):
        await execution.get_result()
    assert completion.told == []


class RunElsewhere(FailureHandler[Any]):
    async def __aenter__(self) -> RunElsewhere:
        return self

    async def handle_failure(self, execution: Execution[Any], outcome: TaskOutcome) -> bool:
        await current_docket.get().replace(rescue, execution.when, execution.key)(str(outcome.exception))
        return True


async def rescue(what: str) -> str:
    return f"rescued: {what}"


async def test_a_handler_may_schedule_the_key_anew(docket: Docket) -> None:
    async def body(handler: RunElsewhere = RunElsewhere()) -> None:
        raise ValueError("failed")

    docket.register(rescue)
    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == "rescued: failed"


async def test_it_hears_of_a_timeout(docket: Docket) -> None:
    handler = OnFailure()

    async def body(handler: OnFailure = handler, timeout: Timeout = Timeout(timedelta(milliseconds=10))) -> None:
        await anyio.sleep_forever()

    await docket.add(body)()
    await run_all(docket)
    assert [type(each.exception) for each in handler.told] == [TaskTimeout]


async def test_it_hears_of_another_dependency_that_does_not_open(docket: Docket) -> None:
    """What is not open itself cannot be told."""
    failure, completion = OnFailure(), OnCompletion()

    def broken() -> None:
        raise ConnectionError("refused")

    async def body(
        broken: None = Depends(broken), failure: OnFailure = failure, completion: OnCompletion = completion
    ) -> None: ...

    await docket.add(body)()
    await run_all(docket)
    for each in (failure, completion):
        (told,) = each.told
        assert isinstance(told.exception, ExceptionGroup)


@pytest.mark.parametrize("other", [Retry(attempts=2), OnFailure()])
async def test_a_task_has_one_handler_of_failures_at_most(docket: Docket, other: Any) -> None:
    async def body(one: OnFailure = OnFailure(), two: object = other) -> None: ...

    with pytest.raises(InvalidTask, match=r"'one'.*'two'"):
        docket.register(body)


# --- completion ---------------------------------------------------------------------------------------------------


async def test_completion(docket: Docket) -> None:
    handler = OnCompletion()

    async def body(handler: OnCompletion = handler) -> str:
        return "done"

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == "done"
    assert [each.result for each in handler.told] == ["done"]


async def test_a_result_that_was_taken_over_is_not_stored(docket: Docket) -> None:
    async def body(handler: OnCompletion = OnCompletion(answer=True)) -> str:
        return "taken"

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() is None
    assert execution.state is ExecutionState.COMPLETED


async def test_it_hears_of_the_last_attempt_only(docket: Docket) -> None:
    handler = OnCompletion()

    async def body(fails: int, handler: OnCompletion = handler, retry: Retry = Retry(attempts=3)) -> int:
        if retry.attempt <= fails:
            raise ValueError(f"attempt {retry.attempt}")
        return retry.attempt

    for fails in (2, 9):
        await docket.add(body)(fails)
        await run_all(docket)
    assert [each.result or str(each.exception) for each in handler.told] == [3, "attempt 3"]


async def test_it_hears_of_a_failure_after_a_cancellation_that_no_retry_follows(docket: Docket) -> None:
    handler = OnCompletion()
    started = anyio.Event()

    async def body(handler: OnCompletion = handler, retry: Retry = Retry(attempts=3)) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    async with running(docket):
        execution = await docket.add(body)()
        await started.wait()
        await docket.cancel(execution.key)
    assert [str(each.exception) for each in handler.told] == ["in the clean-up"]


async def test_one_handler_of_completions_at_most(docket: Docket) -> None:
    async def body(one: OnCompletion = OnCompletion(), two: Perpetual = Perpetual()) -> None: ...

    with pytest.raises(InvalidTask, match=r"'one'.*'two'"):
        docket.register(body)


# --- cancellation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "shutdown", "success"])
async def test_cancellation(docket: Docket, how: str) -> None:
    """It is for docket.cancel() only: a run that goes back into the queue has not ended."""
    handler, failure, completion = OnCancellation(), OnFailure(), OnCompletion()
    started = anyio.Event()

    async def body(
        handler: OnCancellation = handler, failure: OnFailure = failure, completion: OnCompletion = completion
    ) -> None:
        started.set()
        if how != "success":
            await anyio.sleep_forever()

    async with running(docket) as worker:
        execution = await docket.add(body)()
        await started.wait()
        if how == "cancel":
            await docket.cancel(execution.key)
        elif how == "shutdown":
            worker.stop(timedelta(0))
    expected = [anyio.get_cancelled_exc_class()] if how == "cancel" else []
    assert [type(each.exception) for each in handler.told] == expected
    assert failure.told == []
    assert len(completion.told) == (how == "success")


@virtual_time
async def test_a_handler_of_completions_has_thirty_seconds(docket: Docket) -> None:
    class Slow(CompletionHandler[Any]):
        async def __aenter__(self) -> Slow:
            return self

        async def on_complete(self, execution: Execution[Any], outcome: TaskOutcome) -> bool:
            await anyio.sleep_forever()
            return True

    async def body(handler: Slow = Slow()) -> str:
        return "done"

    stopwatch, reports = Stopwatch(), Reports()
    execution = await docket.add(body)()
    await run_all(docket, instruments=[reports])
    assert 30 <= stopwatch.seconds() < 31
    assert await execution.get_result() == "done"
    (report,) = reports.told
    assert "on_complete has not returned within 30 s" in report[1]


@virtual_time
async def test_a_handler_of_cancellations_has_three_seconds(docket: Docket) -> None:
    started = anyio.Event()

    class Slow(CancellationHandler[Any]):
        async def __aenter__(self) -> Slow:
            return self

        async def on_cancelled(self, execution: Execution[Any], outcome: TaskOutcome) -> None:
            await anyio.sleep_forever()

    async def body(handler: Slow = Slow()) -> None:
        started.set()
        await anyio.sleep_forever()

    reports = Reports()
    async with running(docket, instruments=[reports]):
        execution = await docket.add(body)()
        await started.wait()
        stopwatch = Stopwatch()
        await docket.cancel(execution.key)
    assert 3 <= stopwatch.seconds() < 4
    assert "on_cancelled has not returned within 3 s" in reports.told[0][1]
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()


# --- handlers that raise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OnFailure, OnCompletion, OnCancellation])
@pytest.mark.parametrize("ending", ["success", "failure", "cancel"])
async def test_one_that_raises_changes_nothing(docket: Docket, kind: type[Handling], ending: str) -> None:
    handler, reports = kind(answer=LookupError("mine")), Reports()
    started = anyio.Event()

    async def body(handler: object = handler) -> str:
        started.set()
        if ending == "failure":
            raise ValueError("failed")
        if ending == "cancel":
            await anyio.sleep_forever()
        return "done"

    async with running(docket, instruments=[reports]):
        execution = await docket.add(body)()
        await started.wait()
        if ending == "cancel":
            await docket.cancel(execution.key)
    match ending:
        case "success":
            assert await execution.get_result() == "done"
        case "failure":
            with pytest.raises(ValueError, match="failed"):
                await execution.get_result()
        case _:
            with pytest.raises(ExecutionCancelled):
                await execution.get_result()
    assert [error for _, error in reports.told] == ["LookupError('mine')"] * len(handler.told)
    assert all(type(handler).__name__ in hook for hook, _ in reports.told)
    expected = {OnFailure: {"failure"}, OnCompletion: {"success", "failure"}, OnCancellation: {"cancel"}}
    assert len(handler.told) == (ending in expected[kind])
