"""A docket that is closed while its worker still runs: the worker says so and ends, and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from docket_anyio import Docket, ExecutionState, Retry, Worker
from docket_anyio.exceptions import NotOpen
from tests.conftest import Store
from tests.dockets import leaks

SOON = {"redelivery_timeout": timedelta(milliseconds=100), "reconnection_delay": timedelta(milliseconds=20)}


@asynccontextmanager
async def kept_alive(store: Store) -> AsyncGenerator[Docket]:
    """Another docket of the same name, with which to look afterwards."""
    async with Docket(store.docket_name, store.url) as other:
        yield other
        assert await leaks(other) == []


async def run_until_closed(worker: Worker, close: Callable[[], Awaitable[object]]) -> NotOpen:
    """Run a worker with something beside it that closes its docket, and return what the worker ends with."""
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(close)
            with pytest.raises(NotOpen, match=r"^Docket\(.*\) was closed while its worker .* ran") as caught:
                await worker.run_forever()
    return caught.value


async def test_a_worker_without_its_docket_says_so_and_ends(store: Store, anyio_backend: object) -> None:
    docket = Docket(store.docket_name, store.url)
    began = anyio.Event()

    async def body() -> None:
        began.set()

    async def close() -> None:
        await began.wait()
        await docket.__aexit__(None, None, None)

    async with kept_alive(store), Worker(await docket.__aenter__(), **SOON) as worker:
        await docket.add(body)()
        await run_until_closed(worker, close)


async def test_what_runs_is_stopped_and_runs_elsewhere(store: Store, anyio_backend: object) -> None:
    docket = Docket(store.docket_name, store.url)
    began, cleaned_up = anyio.Event(), anyio.Event()
    attempts: list[int] = []

    async def body(retry: Retry = Retry(attempts=2)) -> str:
        attempts.append(retry.attempt)
        if not began.is_set():
            began.set()
            try:
                await anyio.sleep_forever()
            finally:
                cleaned_up.set()
        return "done"

    async def close() -> None:
        await began.wait()
        await docket.__aexit__(None, None, None)

    async with kept_alive(store) as other:
        other.register(body)
        execution = await other.add(body)()
        async with Worker(await docket.__aenter__(), **SOON) as worker:
            docket.register(body)
            await run_until_closed(worker, close)
            assert cleaned_up.is_set()
        await execution.sync()
        assert execution.state is ExecutionState.RUNNING
        async with Worker(other, **SOON) as survivor:
            with anyio.fail_after(5):
                await survivor.run_until_finished()
        assert await execution.get_result() == "done"
    assert attempts == [1, 1]


async def test_a_run_that_ends_after_the_docket_was_closed(store: Store, anyio_backend: object) -> None:
    docket = Docket(store.docket_name, store.url)
    runs: list[str] = []

    async def body() -> None:
        runs.append("run")
        if len(runs) == 1:
            await docket.__aexit__(None, None, None)

    async with kept_alive(store) as other:
        other.register(body)
        await other.add(body)()
        async with Worker(await docket.__aenter__(), **SOON) as worker:
            docket.register(body)
            await run_until_closed(worker, anyio.lowlevel.checkpoint)
        async with Worker(other, **SOON) as survivor:
            with anyio.fail_after(5):
                await survivor.run_until_finished()
    assert runs == ["run", "run"]


async def test_a_docket_that_was_opened_again_is_another_one(store: Store, anyio_backend: object) -> None:
    docket = Docket(store.docket_name, store.url)
    began = anyio.Event()

    async def body() -> str:
        began.set()
        return "done"

    async def reopen() -> None:
        await began.wait()
        await docket.__aexit__(None, None, None)
        await docket.__aenter__()

    async with kept_alive(store), Worker(await docket.__aenter__(), **SOON) as worker:
        await docket.add(body)()
        await run_until_closed(worker, reopen)
        execution = await docket.add(body)()
        async with Worker(docket, **SOON) as another:
            with anyio.fail_after(5):
                await another.run_until_finished()
        assert await execution.get_result() == "done"
    await docket.__aexit__(None, None, None)
