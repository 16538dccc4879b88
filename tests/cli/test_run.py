"""Worker processes: how they are told what to do, and how they end."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest

from docket_anyio import Docket, Execution, ExecutionState
from tests.cli.commands import Command, Commands
from tests.cli.conftest import Call, Ended
from tests.cli.tasks import breathe, interrupt, square
from tests.servers import RedisServer

LONG = 600.0


def new_docket(server: RedisServer) -> Docket:
    return Docket(f"docket-{uuid4().hex}", server.url)


def start(commands: Commands, docket: Docket, loop: str, *options: str) -> Command:
    where = ("--url", docket.url, "--docket", docket.name, "--tasks", "tests.cli.tasks:tasks", "--backend", loop)
    return commands.start("run", *where, *options)


async def state(execution: Execution[str]) -> ExecutionState:
    await execution.sync()
    return execution.state


async def test_the_first_signal_drains_and_the_second_cancels(
    commands: Commands, redis_server: RedisServer, loop: str
) -> None:
    async with new_docket(redis_server) as once, new_docket(redis_server) as twice:
        ending, endless = await once.add(breathe)(0.3), await twice.add(breathe)(LONG)
        told_once = start(commands, once, loop, "--concurrency", "1")
        told_twice = start(commands, twice, loop, "--grace", "1h")

        told_once.wait_output("breathing in")
        told_once.process.send_signal(signal.SIGTERM)
        told_once.wait_output("Received SIGTERM, initiating graceful shutdown")
        too_late = await once.add(breathe)(0)
        assert told_once.wait() == 0
        assert await ending.get_result() == "breathed out"
        assert await state(too_late) is ExecutionState.QUEUED

        told_twice.wait_output("breathing in")
        told_twice.process.send_signal(signal.SIGTERM)
        told_twice.wait_output("Received SIGTERM, initiating graceful shutdown")
        assert await state(endless) is ExecutionState.RUNNING
        told_twice.process.send_signal(signal.SIGINT)
        assert told_twice.wait() == 0
        assert "Received SIGINT, cancelling what still runs" in told_twice.output()
        assert await state(endless) is ExecutionState.QUEUED


async def added(docket: Docket, *calls: tuple[Callable[..., Awaitable[object]], object]) -> list[str]:
    """Add tasks, and return their keys."""
    async with docket:
        return [(await docket.add(task)(argument)).key for task, argument in calls]


async def executions(docket: Docket, keys: list[str]) -> list[Execution[Any]]:
    async with docket:
        found = [await docket.get_execution(key) for key in keys]
        return [each for each in found if each is not None]


def test_until_finished_by_environment(
    call: Call, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, loop: str
) -> None:
    docket = new_docket(redis_server)
    keys = anyio.run(added, docket, *((square, number) for number in range(5)), (breathe, 0))
    for name, value in {
        "DOCKET_URL": docket.url,
        "DOCKET_NAME": docket.name,
        "DOCKET_TASKS": "tests.cli.tasks:squares tests.cli.tasks:breaths",
        "DOCKET_LOGGING_LEVEL": "warning",
        "DOCKET_WORKER_NAME": "ann",
        "DOCKET_WORKER_BACKEND": loop,
        "DOCKET_WORKER_CONCURRENCY": "3",
        "DOCKET_WORKER_MESSAGE_BATCH": "2",
        "DOCKET_WORKER_REDELIVERY_TIMEOUT": "01:00",
        "DOCKET_WORKER_RECONNECTION_DELAY": "0.5s",
        "DOCKET_WORKER_MINIMUM_CHECK_INTERVAL": "10ms",
        "DOCKET_WORKER_SCHEDULING_RESOLUTION": "0.1",
        "DOCKET_WORKER_GRACE": "0",
    }.items():
        monkeypatch.setenv(name, value)

    ended = call("run", "--until-finished")

    assert ended == Ended(0, "breathing in\n", "")
    ran = anyio.run(executions, docket, keys)
    assert [each.state for each in ran] == [ExecutionState.COMPLETED] * 6
    assert {each.worker for each in ran} == {"ann"}


def test_the_grace_is_bounded(call: Call, redis_server: RedisServer, loop: str) -> None:
    docket = new_docket(redis_server)
    keys = anyio.run(added, docket, (interrupt, LONG))

    where = ("--url", docket.url, "--docket", docket.name, "--tasks", "tests.cli.tasks:tasks", "--backend", loop)
    ended = call("run", *where, "--grace", "20ms")

    assert ended.status == 0
    (interrupted,) = anyio.run(executions, docket, keys)
    assert interrupted.state is ExecutionState.QUEUED


def test_a_docket_that_nobody_else_sees(call: Call) -> None:
    ended = call("run", "--url", "memory://", "--until-finished")
    assert ended.status == 0
    assert "a docket on memory:// is seen by this process alone" in ended.err
