"""Handlers, middleware and runtimes: classes of a user's own that take part in a run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import define, field

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState, Perpetual, Retry, Worker
from docket_anyio.abc import Delivery, Instrument
from docket_anyio.dependencies import (
    CancellationHandler,
    CompletionHandler,
    Dependency,
    Depends,
    FailureHandler,
    Middleware,
    Runtime,
    TaskOutcome,
    Timeout,
    current_docket,
)
from docket_anyio.exceptions import InvalidTask, TaskFailed, TaskTimeout
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import running


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


@define
class Reports(Instrument):
    told: list[tuple[str, str]] = field(factory=list)

    def hook_failed(self, worker: str, delivery: Delivery, hook: str, error: Exception) -> None:
        self.told.append((hook, repr(error)))


async def run_all(docket: Docket, **options: Any) -> None:
    async with Worker(docket, **options) as worker:
        await worker.run_until_finished()


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

    with pytest.raises(InvalidTask, match="'one'.*'two'"):
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

    with pytest.raises(InvalidTask, match="'one'.*'two'"):
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

    async with running(docket):
        execution = await docket.add(body)()
        await started.wait()
        stopwatch = Stopwatch()
        await docket.cancel(execution.key)
    assert 3 <= stopwatch.seconds() < 4
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


# --- middleware ---------------------------------------------------------------------------------------------------


@define(eq=False)
class Around(Middleware[Any]):
    name: str
    order: list[str]

    async def __aenter__(self) -> Around:
        return self

    async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        self.order.append(f"{self.name}({execution.function_name}")
        try:
            return await call_next()
        finally:
            self.order.append(f"{self.name})")


async def test_the_workers_middleware_is_outermost(docket: Docket) -> None:
    order: list[str] = []

    async def body(third: Around = Around("3", order), fourth: Around = Around("4", order)) -> str:
        order.append("body")
        return "done"

    execution = await docket.add(body)()
    await run_all(docket, dependencies=[Around("1", order), Around("2", order)])
    assert await execution.get_result() == "done"
    assert order == ["1(body", "2(body", "3(body", "4(body", "body", "4)", "3)", "2)", "1)"]


class Doubling(Middleware[Any]):
    async def __aenter__(self) -> Doubling:
        return self

    async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        return 2 * await call_next()


class Instead(Middleware[Any]):
    async def __aenter__(self) -> Instead:
        return self

    async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        return 20


class Forbidding(Middleware[Any]):
    async def __aenter__(self) -> Forbidding:
        return self

    async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        raise PermissionError("not today")


async def test_middleware_may_change_the_result_or_leave_the_body_out(docket: Docket) -> None:
    calls = 0

    async def body() -> int:
        nonlocal calls
        calls += 1
        return 21

    execution = await docket.add(body)()
    await run_all(docket, dependencies=[Doubling()])
    assert await execution.get_result() == 42
    execution = await docket.add(body)()
    await run_all(docket, dependencies=[Doubling(), Instead()])
    assert await execution.get_result() == 40
    assert calls == 1


async def test_middleware_that_raises_fails_the_run(docket: Docket) -> None:
    async def body(retry: Retry = Retry(attempts=2)) -> None: ...

    reports = Reports()
    execution = await docket.add(body)()
    await run_all(docket, dependencies=[Forbidding()], instruments=[reports])
    with pytest.raises(PermissionError, match="not today"):
        await execution.get_result()
    assert reports.told == []


async def test_the_time_of_middleware_counts(docket: Docket) -> None:
    class Slow(Middleware[Any]):
        async def __aenter__(self) -> Slow:
            return self

        async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
            await anyio.sleep_forever()

    async def body(slow: Slow = Slow(), timeout: Timeout = Timeout(timedelta(milliseconds=10))) -> None: ...

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(TaskTimeout):
        await execution.get_result()


# --- runtime ------------------------------------------------------------------------------------------------------


class Twice(Runtime[Any]):
    async def __aenter__(self) -> Twice:
        return self

    async def run(
        self,
        execution: Execution[Any],
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        return [await function(*args, **kwargs), await function(*args, **kwargs)]


async def test_a_runtime_calls_the_body_in_its_own_way(docket: Docket) -> None:
    async def body(
        a: int, b: int = 2, twice: Twice = Twice(), made: int = Depends(lambda: 3), retry: Retry = Retry()
    ) -> list[int]:
        return [a, b, made, retry.attempt]

    execution = await docket.add(body)(1, b=5)
    await run_all(docket)
    assert await execution.get_result() == [[1, 5, 3, 1]] * 2


async def test_a_task_has_one_runtime_at_most(docket: Docket) -> None:
    async def body(twice: Twice = Twice(), timeout: Timeout = Timeout(timedelta(1))) -> None: ...

    with pytest.raises(InvalidTask, match="'twice'.*'timeout'"):
        docket.register(body)


# --- worker_lifecycle ---------------------------------------------------------------------------------------------


class WithLifecycle(Dependency[str]):
    events: list[str] = []  # noqa: RUF012 - emptied by each test

    @classmethod
    @asynccontextmanager
    async def worker_lifecycle(cls, docket: Docket, worker: Worker) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as group:
            cls.events.append(f"open for {worker.name} of {docket.name}")
            group.start_soon(anyio.sleep_forever)
            yield
            group.cancel_scope.cancel()
            cls.events.append("close")

    async def __aenter__(self) -> str:
        self.events.append("run")
        return "value"


class WithoutLifecycle(WithLifecycle):
    @classmethod
    def worker_lifecycle(cls, docket: Docket, worker: Worker) -> Any:
        return None


@pytest.mark.parametrize("where", ["task", "worker", "nowhere"])
async def test_a_class_has_something_open_while_a_worker_runs(docket: Docket, where: str) -> None:
    """Once for each session, before the first run and until after the last one."""
    WithLifecycle.events.clear()

    async def body(one: str = WithLifecycle(), two: str = WithLifecycle(), three: str = WithoutLifecycle()) -> None: ...

    async def plain() -> None: ...

    for task in [body, body] if where == "task" else [plain, plain]:
        await docket.add(task)()
    await run_all(docket, name="W", dependencies=[WithLifecycle()] if where == "worker" else [])
    begin, end = [f"open for W of {docket.name}"], ["close"]
    runs = {"task": ["run"] * 6, "worker": ["run"] * 2}.get(where)
    assert WithLifecycle.events == ([] if runs is None else [*begin, *runs, *end])


class Unavailable(Dependency[None]):
    @classmethod
    @asynccontextmanager
    async def worker_lifecycle(cls, docket: Docket, worker: Worker) -> AsyncGenerator[None]:
        raise ConnectionError("refused")
        yield

    async def __aenter__(self) -> None: ...


async def test_a_worker_does_not_start_where_a_lifecycle_fails(docket: Docket) -> None:
    async def body(value: None = Unavailable()) -> None: ...

    execution = await docket.add(body)()
    with pytest.raises(ConnectionError, match="refused"):
        await run_all(docket)
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
