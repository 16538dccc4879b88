"""What a worker opens around every task."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from docket_anyio import Docket, Worker
from docket_anyio.dependencies import (
    Depends,
    Retry,
    TaskArgument,
)
from docket_anyio.exceptions import InvalidSetting
from tests.dockets import run_all


@pytest.mark.parametrize("by_name", [True, False])
async def test_a_workers_own_are_opened_around_every_task_in_order(docket: Docket, *, by_name: bool) -> None:
    order: list[str] = []

    async def connection() -> AsyncGenerator[str]:
        order.append("open connection")
        yield "connection"
        order.append("close connection")

    async def transaction(of: str = Depends(connection)) -> AsyncGenerator[None]:
        order.append(f"begin on {of}")
        yield
        order.append("commit")

    async def body(mine: str = Depends(connection)) -> str:
        order.append("body")
        return mine

    given = {"connection": Depends(connection), "transaction": Depends(transaction)}
    execution = await docket.add(body)()
    await run_all(docket, dependencies=given if by_name else [*given.values()])
    assert await execution.get_result() == "connection"
    assert order == ["open connection", "begin on connection", "body", "commit", "close connection"]


async def test_a_workers_own_see_the_arguments_of_each_task(docket: Docket) -> None:
    tenants: list[str | None] = []

    def tenant(tenant: str | None = TaskArgument(optional=True)) -> None:
        tenants.append(tenant)

    async def with_tenant(tenant: str) -> None: ...

    async def without() -> None: ...

    await docket.add(with_tenant)("acme")
    await docket.add(without)()
    await run_all(docket, dependencies=[Depends(tenant)])
    assert sorted(tenants, key=str) == [None, "acme"]


async def test_a_workers_own_retry_is_for_every_task(docket: Docket) -> None:
    attempts = 0

    async def body() -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ValueError("again")
        return attempts

    execution = await docket.add(body)()
    await run_all(docket, dependencies=[Retry(attempts=3)])
    assert await execution.get_result() == 3


async def test_what_a_run_can_have_once_is_refused_to_worker_and_task_together(docket: Docket) -> None:
    async def body(retry: Retry = Retry(attempts=2)) -> None: ...

    execution = await docket.add(body)()
    await run_all(docket, dependencies={"again": Retry(attempts=3)})
    with pytest.raises(ValueError, match=r"Only one Retry dependency is allowed.*'again'.*'retry'"):
        await execution.get_result()


@pytest.mark.parametrize(
    ("dependencies", "error", "message"),
    [
        ([print], TypeError, r"dependencies\[0\]"),
        ({"db": 5}, TypeError, "'db' is 5"),
        ({"__db": Retry()}, InvalidSetting, "'__db' is reserved"),
    ],
)
async def test_what_is_none_is_refused(docket: Docket, dependencies: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Worker(docket, dependencies=dependencies)
