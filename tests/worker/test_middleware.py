"""Middleware, runtimes and lifecycles: classes of a user's own that stand around bodies and workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import define

from docket_anyio import Docket, Execution, ExecutionState, Retry, Worker
from docket_anyio.dependencies import (
    Dependency,
    Depends,
    Middleware,
    Runtime,
    Timeout,
)
from docket_anyio.exceptions import InvalidTask, TaskTimeout
from tests.dockets import run_all
from tests.worker.instruments import Reports

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

    with pytest.raises(InvalidTask, match=r"'twice'.*'timeout'"):
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
