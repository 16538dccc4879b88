"""Tasks whose bodies run in processes of their worker."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest

from docket_anyio import Cancellation, Docket, ExecutionState, Worker, WorkerProcess
from docket_anyio.exceptions import (
    ExecutionCancelled,
    InvalidSetting,
    InvalidTask,
    NotOpen,
    NotSerializable,
    TaskTimeout,
    WorkerProcessDied,
)
from tests.conftest import Store
from tests.dockets import open_docket, running
from tests.servers import RedisServer
from tests.worker import process_bodies as bodies

PATIENCE = 30
"""Seconds that anything may take, on a machine that has much else to do."""


@pytest.fixture
async def docket(anyio_backend: object) -> AsyncGenerator[Docket]:
    """One in this process: where it is kept is nothing to the processes."""
    name = uuid4().hex
    async with open_docket(Store("memory", f"memory://{name}", name)) as docket:
        yield docket


@pytest.fixture
async def worker(docket: Docket) -> AsyncGenerator[Worker]:
    async with running(docket, processes=1) as worker:
        yield worker


async def wait_for(path: Path) -> str:
    with anyio.fail_after(PATIENCE):
        while not (written := _read(path)):  # noqa: ASYNC110 - outside of this process
            await anyio.sleep(0.01)
    return written


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def result(docket: Docket, body: Any, *args: Any) -> Any:
    return await (await docket.add(body)(*args)).get_result(timeout=timedelta(seconds=PATIENCE))


async def test_a_body_has_what_it_asks_for(docket: Docket, worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    bodies.WHOSE.set("mine")  # not the worker's, which had begun before
    now = datetime.now(UTC)
    got = await (await docket.add(bodies.everything, key="one")(5)).get_result()
    assert got["pid"] != os.getpid()
    assert got["key"] == "one"
    assert got["made"] == (5, os.getpid())
    assert got["common"] == [os.getpid()]
    before, after, expired = got["left"]
    assert bodies.HOUR - timedelta(minutes=1) < before < bodies.HOUR < after < 2 * bodies.HOUR
    assert not expired
    assert got["attempt"] == (1, 1)
    assert got["execution"] == ("one", (5,), "everything", 5)
    assert got["asked"][:2] == (False, None)
    assert now + bodies.HOUR <= got["asked"][2] < now + 2 * bodies.HOUR
    assert got["progress"] == (4, 9, 4)
    (line,) = [each for each in caplog.records if each.name == "docket.task.everything"]
    assert (line.getMessage(), line.levelno) == ("from one", logging.WARNING)
    assert getattr(line, "docket.worker") == worker.name


async def test_context_variables_of_the_worker_s_caller_come_through(docket: Docket) -> None:
    bodies.WHOSE.set("the caller's")
    async with running(docket, processes=1):
        assert (await result(docket, bodies.everything, 5))["whose"] == "the caller's"


async def test_progress_is_seen_as_it_is_made(docket: Docket, worker: Worker) -> None:
    execution = await docket.add(bodies.report)()
    async with execution.events() as events:
        seen = [(each["message"], each["current"]) async for each in events if each["type"] == "progress"]
    assert seen[-1] == ("half", 50)
    assert await execution.get_result() == "half"


@pytest.mark.parametrize("body", [bodies.wait, bodies.compute])
async def test_a_cancelled_body_knows_why_and_its_process_stays(
    docket: Docket, worker: Worker, body: Any, tmp_path: Path
) -> None:
    before = await result(docket, bodies.pid)
    execution = await docket.add(body)(tmp_path / "body")
    assert int(await wait_for(tmp_path / "body")) == before
    await docket.cancel(execution.key)
    why = await wait_for(tmp_path / "body.why")
    assert why.startswith("True")
    assert "CancelReason.USER" in why
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()
    assert await result(docket, bodies.pid) == before


async def test_a_timeout_ends_a_body_that_checks(docket: Docket, worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(TaskTimeout):
        await result(docket, bodies.compute_for_a_while, tmp_path / "body")
    assert "CancelReason.TIMEOUT" in await wait_for(tmp_path / "body.why")


async def test_the_time_does_not_run_before_the_body_does(docket: Docket, worker: Worker) -> None:
    # Each waits for a new process, which takes longer than the body may.
    executions = [await docket.add(bodies.at_once)() for _ in range(3)]
    assert [await each.get_result() for each in executions] == ["done"] * 3


async def test_what_dies_is_retried(docket: Docket, worker: Worker) -> None:
    assert await result(docket, bodies.die_at_first) == 2


async def test_without_a_retry_it_has_failed(docket: Docket, worker: Worker) -> None:
    def die(process: WorkerProcess = WorkerProcess()) -> None:
        os._exit(7)

    with pytest.raises(WorkerProcessDied, match=r"'die' has exited with code 7") as died:
        await result(docket, die)
    assert died.value.exit_code == 7


async def test_a_body_that_ignores_everything_is_killed(docket: Docket, worker: Worker, tmp_path: Path) -> None:
    execution = await docket.add(bodies.ignore)(tmp_path / "body")
    before = int(await wait_for(tmp_path / "body"))
    await docket.cancel(execution.key)
    assert await result(docket, bodies.pid) != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


async def test_who_cancels_with_a_grace_is_told_that_it_was_killed(
    docket: Docket, worker: Worker, tmp_path: Path
) -> None:
    execution = await docket.add(bodies.ignore_for_an_hour)(tmp_path / "body")
    await wait_for(tmp_path / "body")
    assert await docket.cancel(execution.key, grace=timedelta(milliseconds=100)) is Cancellation.STOPPED


async def test_the_words_of_who_cancels_reach_the_body(docket: Docket, worker: Worker, tmp_path: Path) -> None:
    execution = await docket.add(bodies.wait)(tmp_path / "body")
    await wait_for(tmp_path / "body")
    came = await docket.cancel(execution.key, reason="no longer wanted", grace=timedelta(seconds=PATIENCE))
    assert came is Cancellation.STOPPED
    assert "words='no longer wanted'" in await wait_for(tmp_path / "body.why")


async def test_a_body_that_cancels_its_own_key_does_not_wait_for_itself(
    anyio_backend: object, redis_server: RedisServer
) -> None:
    name = uuid4().hex
    async with open_docket(Store("redis", redis_server.url, name)) as docket, running(docket, processes=1):
        with pytest.raises(ExecutionCancelled, match="its own"):
            await result(docket, bodies.cancel_itself, name, redis_server.url)


async def test_what_is_cancelled_in_line_never_starts(docket: Docket, worker: Worker, tmp_path: Path) -> None:
    first = await docket.add(bodies.wait)(tmp_path / "first")
    await wait_for(tmp_path / "first")
    second = await docket.add(bodies.wait)(tmp_path / "second")
    await anyio.wait_all_tasks_blocked()
    await docket.cancel(second.key)
    with pytest.raises(ExecutionCancelled):
        await second.get_result()
    await docket.cancel(first.key)
    await result(docket, bodies.pid)
    assert not (tmp_path / "second").exists()


async def test_redis_cannot_be_had_there(docket: Docket, worker: Worker) -> None:
    with pytest.raises(NotOpen, match="a body in another process has no docket"):
        await result(docket, bodies.ask_redis)
    with pytest.raises(NotOpen, match="open a Docket of its own"):
        await result(docket, bodies.ask_docket)


async def test_a_perpetual_task_can_say_what_comes_next(docket: Docket, worker: Worker) -> None:
    execution = await docket.add(bodies.twice, key="twice")(0)
    with anyio.fail_after(PATIENCE):
        while (await docket.snapshot()).total_tasks or execution.state is not ExecutionState.COMPLETED:
            await anyio.sleep(0.01)
            await execution.sync()
    assert await execution.get_result() == 1


async def test_what_cannot_be_sent_is_named(docket: Docket, worker: Worker) -> None:
    with pytest.raises(NotSerializable, match=r"'with_a_lock'.*argument 'lock' cannot be pickled"):
        await result(docket, bodies.with_a_lock)


@pytest.mark.parametrize(
    ("body", "parameter"),
    [(bodies.wants_docket, "home"), (bodies.wants_worker, "master"), (bodies.wants_tasks, "group")],
)
async def test_what_has_to_stay_with_the_worker_cannot_be_asked_for(docket: Docket, body: Any, parameter: str) -> None:
    with pytest.raises(InvalidTask, match=f"'process' asks for a WorkerProcess, where '{parameter}' cannot be had"):
        docket.register(body)


@pytest.mark.parametrize("options", [{"grace": timedelta(seconds=-1)}, {"max_tasks": 0}, {"max_memory": 0}])
def test_what_is_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(options))):
        WorkerProcess(**options)


async def test_a_worker_that_is_stopped_hands_its_bodies_back(docket: Docket, tmp_path: Path) -> None:
    async with running(docket, processes=1) as worker:
        execution = await docket.add(bodies.compute)(tmp_path / "body")
        pid = int(await wait_for(tmp_path / "body"))
        worker.stop(timedelta(0))
    assert "CancelReason.SHUTDOWN" in await wait_for(tmp_path / "body.why")
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await docket.cancel(execution.key)


async def test_warm_processes_are_there_before_the_first_task(docket: Docket) -> None:
    async with running(docket, processes=2, warm_processes=True):
        await anyio.lowlevel.checkpoint()
        children = Path(f"/proc/{os.getpid()}/task")
        with anyio.fail_after(PATIENCE):
            while sum(len(each.read_text().split()) for each in children.glob("*/children")) < 2:  # noqa: ASYNC110, ASYNC240
                await anyio.sleep(0.01)
