"""The main job: a producer and a worker, each in a process of its own, on a real Redis."""

from __future__ import annotations

import signal
import time

import pytest

from tests.crash.conftest import Fleet
from tests.processes import FULL

COUNT = 1000 if FULL else 400
OVER = 5.0 if FULL else 1.0


def report(fleet: Fleet, what: str, count: int) -> None:
    begin = fleet.produced.entries("begin")[0].at
    added = max(each.at for each in fleet.produced.entries("added")) - begin
    ended = max(each.at for each in fleet.journal.entries("end")) - begin
    read = max(each.at for each in fleet.produced.entries("result")) - begin
    print(
        f"{what} on {fleet.loop}: {count} tasks added after {added:.2f} s, run after {ended:.2f} s, "
        f"read after {read:.2f} s: {count / read:.0f} a second"
    )


def check(fleet: Fleet, count: int) -> None:
    """Every task ran once, its result arrived, and it is the right one."""
    once = dict.fromkeys(range(count), 1)
    assert fleet.journal.count("end") == once
    assert fleet.journal.count("start") == once
    assert {each.number: int(each.value) for each in fleet.produced.entries("result")} == {
        number: number**2 for number in range(count)
    }


@pytest.mark.slow
def test_half_of_the_tasks_scheduled(fleet: Fleet) -> None:
    fleet.processes.fresh = True
    worker = fleet.start_worker(concurrency=50)
    fleet.processes.wait_until(fleet.docket.workers, "the worker's heartbeat")
    producer = fleet.start_producer(COUNT, over=OVER)
    fleet.processes.wait_end(producer, seconds=OVER + 40)
    check(fleet, COUNT)
    due = {each.number: float(each.value) for each in fleet.produced.entries("added")}
    lateness = [each.at - due[each.number] for each in fleet.journal.entries("start") if due[each.number]]
    assert len(lateness) == COUNT // 2
    assert min(lateness) > -0.01
    print(f"scheduled tasks began {sorted(lateness)[COUNT // 4] * 1000:.1f} ms late (median)")
    worker.signal(signal.SIGTERM)
    asked = time.monotonic()
    fleet.processes.wait_end(worker)
    print(f"the worker ended {time.monotonic() - asked:.2f} s after SIGTERM")
    assert fleet.docket.leftovers() == []
    assert "Traceback" not in worker.output()
    report(fleet, f"half of them within {OVER:g} s", COUNT)


@pytest.mark.skipif(not FULL, reason="a measurement more than a test: set DOCKET_ANYIO_FULL_SIZE=1")
@pytest.mark.slow
def test_all_at_once(fleet: Fleet) -> None:
    worker = fleet.start_worker(concurrency=50)
    fleet.processes.wait_until(fleet.docket.workers, "the worker's heartbeat")
    producer = fleet.start_producer(COUNT)
    fleet.processes.wait_end(producer, seconds=40)
    check(fleet, COUNT)
    worker.signal(signal.SIGTERM)
    fleet.processes.wait_end(worker)
    assert fleet.docket.leftovers() == []
    report(fleet, "all at once", COUNT)
