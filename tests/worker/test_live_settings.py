"""What may be changed while a worker runs, and what it may be told by name."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

import anyio
import pytest

from docket_anyio import Docket, Worker
from docket_anyio.dependencies import current_execution
from docket_anyio.exceptions import InvalidSetting, InvalidTask
from docket_anyio.tasks import default_fallback_task
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, running

SECOND = timedelta(seconds=1)
heard_of: list[tuple[str, tuple[object, ...], dict[str, object]]] = []


async def take_note(*args: object, **kwargs: object) -> str:
    """The fallback of a worker that is told it by name."""
    heard_of.append((current_execution.get().function_name, args, kwargs))
    return "noted"


async def echo(value: object) -> object:
    return value


# --- concurrency --------------------------------------------------------------------------------------------------


class Gauge:
    """Tasks that wait for a gate, and how many of them wait."""

    def __init__(self) -> None:
        self.running = 0
        self.at_starts: list[int] = []
        self.gate = anyio.Event()

    async def wait(self) -> None:
        self.running += 1
        self.at_starts.append(self.running)
        await self.gate.wait()
        self.running -= 1

    async def reach(self, number: int) -> None:
        with anyio.fail_after(5):
            while self.running != number:  # noqa: ASYNC110 - tasks of a worker tell
                await anyio.sleep(0.001)

    async def open(self) -> None:
        """Let those end that wait now."""
        gate, self.gate = self.gate, anyio.Event()
        gate.set()


async def waiting_in_line(docket: Docket, number: int) -> Gauge:
    """What so many tasks, added and not yet begun, are measured by."""
    gauge = Gauge()
    for _ in range(number):
        await docket.add(gauge.wait)()
    return gauge


async def test_more_run_as_soon_as_more_may(docket: Docket) -> None:
    gauge = await waiting_in_line(docket, 5)
    async with running(docket, concurrency=1) as worker:
        await gauge.reach(1)
        worker.concurrency = 3
        await gauge.reach(3)
        assert worker.concurrency == 3
        for left in (2, 0):
            await gauge.open()
            await gauge.reach(left)


async def test_fewer_run_once_enough_have_ended(docket: Docket) -> None:
    gauge = await waiting_in_line(docket, 6)
    async with running(docket, concurrency=3) as worker:
        await gauge.reach(3)
        worker.concurrency = 1
        with anyio.fail_after(5):
            while len(gauge.at_starts) < 6 or gauge.running:
                await gauge.open()
                await anyio.sleep(0.001)
    assert gauge.at_starts == [1, 2, 3, 1, 1, 1]


async def test_another_concurrency_stays(docket: Docket) -> None:
    gauge = Gauge()
    docket.register(gauge.wait, names=["wait"])
    async with Worker(docket, concurrency=1) as worker:
        worker.concurrency = 2
        await worker.run_until_finished()
        for _ in range(3):
            await docket.add("wait")()
        async with anyio.create_task_group() as group:
            group.start_soon(worker.run_until_finished)
            await gauge.reach(2)
            await gauge.open()
            await gauge.reach(1)
            await gauge.open()


def test_a_concurrency_that_cannot_be() -> None:
    worker = Worker(Docket("d", "memory://d"), concurrency=2)
    with pytest.raises(InvalidSetting, match="concurrency must be at least 1"):
        worker.concurrency = 0
    assert worker.concurrency == 2


# --- heartbeats ---------------------------------------------------------------------------------------------------


@virtual_time
async def test_another_heartbeat_interval_holds_from_the_next_heartbeat(docket: Docket) -> None:
    async with running(docket, name="W"):

        async def last_seen() -> float:
            [worker] = await docket.workers()
            return worker.last_seen.timestamp()

        first = await last_seen()
        docket.heartbeat_interval = 10 * SECOND
        await anyio.sleep(2.5)  # the one that was under way, after 2 s
        second = await last_seen()
        assert second - first == pytest.approx(2, abs=0.1)
        await anyio.sleep(9)
        assert await last_seen() == second
        await anyio.sleep(1)
        assert await last_seen() - second == pytest.approx(10, abs=0.1)


@virtual_time
async def test_another_number_of_missed_heartbeats_holds_at_once(docket: Docket) -> None:
    await docket.broker.presence.heartbeat("gone", [], now=docket.broker.clock.now(), window=100 * SECOND)
    await anyio.sleep(15)
    docket.missed_heartbeats = 10
    assert [each.name for each in await docket.workers()] == ["gone"]
    docket.missed_heartbeats = 5
    assert await docket.workers() == []


def test_heartbeats_that_cannot_be() -> None:
    docket = Docket("d", "memory://d")
    with pytest.raises(InvalidSetting, match="heartbeat_interval must be longer than zero"):
        docket.heartbeat_interval = timedelta(0)
    with pytest.raises(InvalidSetting, match="missed_heartbeats must be at least 1"):
        docket.missed_heartbeats = 0
    assert (docket.heartbeat_interval, docket.missed_heartbeats) == (2 * SECOND, 5)


# --- by name ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["function", "name", "Worker.run"])
async def test_a_fallback_task(anyio_backend: object, store: Store, how: str) -> None:
    heard_of.clear()
    name = f"{__name__}:take_note"
    async with open_docket(store) as adding, open_docket(store) as working:
        added = await adding.add(echo)(5)
        if how == "Worker.run":
            await Worker.run(store.docket_name, store.url, until_finished=True, fallback_task=name)
        else:
            async with Worker(working, fallback_task=take_note if how == "function" else name) as worker:
                await worker.run_until_finished()
        assert await added.get_result() == "noted"
    assert heard_of == [("echo", (5,), {})]


def test_a_fallback_task_that_cannot_be_loaded() -> None:
    docket = Docket("d", "memory://d")
    with pytest.raises(InvalidTask, match="no_such_module"):
        Worker(docket, fallback_task="no_such_module:task")
    with pytest.raises(InvalidTask, match="not of the form"):
        Worker(docket, fallback_task="task")
    assert Worker(docket, fallback_task=None).name  # pydocket's word for: the usual one


# --- of no effect -------------------------------------------------------------------------------------------------


async def test_internal_instrumentation_is_taken(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, enable_internal_instrumentation=True) as docket:
        worker = Worker(docket, enable_internal_instrumentation=True)
        assert docket.enable_internal_instrumentation
        assert worker.enable_internal_instrumentation
        assert not Worker(docket).enable_internal_instrumentation
    await Worker.run(store.docket_name, store.url, until_finished=True, enable_internal_instrumentation=True)


# --- to be read ---------------------------------------------------------------------------------------------------


def test_the_options_of_a_worker_can_be_read() -> None:
    docket = Docket("d", "memory://d")
    worker = Worker(docket, concurrency=3, message_batch=7, redelivery_timeout=SECOND)
    assert worker.docket is docket
    assert worker.name == f"{socket.gethostname()}#{os.getpid()}"
    assert (worker.concurrency, worker.message_batch, worker.redelivery_timeout) == (3, 7, SECOND)
    assert (worker.reconnection_delay, worker.schedule_automatic_tasks) == (5 * SECOND, True)
    assert worker.minimum_check_interval == worker.scheduling_resolution == timedelta(milliseconds=250)
    assert worker.fallback_task is default_fallback_task
