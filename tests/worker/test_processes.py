"""``Worker.run``: a worker that has its process to itself, and its signals."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from docket_anyio import Docket, Execution, ExecutionState, Worker
from docket_anyio.exceptions import InvalidSetting, InvalidTask, InvalidURL
from tests.conftest import Store
from tests.worker.tasks_of_processes import nap

PROGRAM = """
import sys
from datetime import timedelta
from functools import partial
import anyio
from docket_anyio import Worker

url, name, backend, options, until_finished = sys.argv[1:]
main = partial(
    Worker.run, name, url, tasks=["tests.worker.tasks_of_processes:tasks"], until_finished=until_finished == "True"
)
anyio.run(main, backend=backend, backend_options=eval(options))
"""


@pytest.fixture(autouse=True)
def _on_redis(store: Store) -> None:
    if store.kind == "memory":
        pytest.skip("memory:// stays in its process")


@asynccontextmanager
async def worker_process(
    anyio_backend: tuple[str, dict[str, Any]], store: Store, *, until_finished: bool = False
) -> AsyncGenerator[Process]:
    name, options = anyio_backend
    arguments = [store.url, store.docket_name, name, repr(options), str(until_finished)]
    with anyio.fail_after(20):
        async with await anyio.open_process([sys.executable, "-c", PROGRAM, *arguments], stderr=None) as process:
            try:
                yield process
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()


async def has_started(execution: Execution[Any]) -> None:
    while execution.state is not ExecutionState.RUNNING:
        await anyio.sleep(0.01)
        await execution.sync()


async def test_it_ends_when_the_docket_is_empty(
    anyio_backend: tuple[str, dict[str, Any]], docket: Docket, store: Store
) -> None:
    execution = await docket.add(nap)(0.001)
    async with worker_process(anyio_backend, store, until_finished=True) as process:
        pass
    assert process.returncode == 0
    assert await execution.get_result() == "slept 0.001"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_the_first_signal_lets_runs_end(
    anyio_backend: tuple[str, dict[str, Any]], docket: Docket, store: Store, number: signal.Signals
) -> None:
    execution = await docket.add(nap)(0.3)
    async with worker_process(anyio_backend, store) as process:
        await has_started(execution)
        process.send_signal(number)
    assert process.returncode == 0
    assert await execution.get_result() == "slept 0.3"
    async with docket.redis() as redis:
        assert (await redis.xpending(f"{docket.name}:stream", "docket-workers"))["pending"] == 0


async def test_the_second_signal_puts_runs_back(
    anyio_backend: tuple[str, dict[str, Any]], docket: Docket, store: Store
) -> None:
    execution = await docket.add(nap, key="one")(1000)
    async with worker_process(anyio_backend, store) as process:
        await has_started(execution)
        process.terminate()
        await anyio.sleep(0.1)
        process.terminate()
    assert process.returncode == 0
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    await docket.cancel("one")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"url": "nonsense://"}, InvalidURL),
        ({"url": "memory://x", "concurrency": 0}, InvalidSetting),
        ({"url": "memory://x", "tasks": ["nowhere:tasks"]}, InvalidTask),
    ],
)
async def test_what_it_cannot_start_with(store: Store, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await Worker.run("d", **options)
