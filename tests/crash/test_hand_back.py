"""A second signal does not wait for tasks: they go to another worker at once."""

from __future__ import annotations

import signal
import time

import pytest

from tests.crash.conftest import Fleet
from tests.crash.tasks import fail_then_stay

TASKS = 5


@pytest.mark.slow
def test_hand_back(fleet: Fleet) -> None:
    leaving = fleet.start_worker("leaving", redelivery_timeout="300s", grace="300s")
    producer = fleet.start_producer(TASKS, task=fail_then_stay.__name__)
    fleet.processes.wait_until(lambda: len(fleet.journal.entries("stay")) == TASKS, "all tasks running")
    staying = fleet.start_worker("staying", redelivery_timeout="300s")
    fleet.processes.wait_until(lambda: len(fleet.docket.workers()) == 2, "the workers' heartbeats")

    leaving.signal(signal.SIGTERM)
    fleet.processes.wait_output(leaving, "graceful shutdown")
    assert len(fleet.docket.pending("leaving")) == TASKS
    leaving.signal(signal.SIGTERM)
    asked = time.time()
    fleet.processes.wait_end(leaving)
    fleet.processes.wait_end(producer)

    ends = [each.at - asked for each in fleet.produced.entries("result")]
    assert max(ends) < 2.0
    # The first attempt failed, the second was interrupted: it is the second again that ran on the other worker.
    assert {each.number: int(each.value) for each in fleet.produced.entries("result")} == dict.fromkeys(range(TASKS), 2)
    starts = [(each.number, each.value, each.pid) for each in fleet.journal.entries("start")]
    for task in range(TASKS):
        first, second = leaving.process.pid, staying.process.pid
        assert [each for each in starts if each[0] == task] == [
            (task, "1", first),
            (task, "2", first),
            (task, "2", second),
        ]
    staying.signal(signal.SIGTERM)
    fleet.processes.wait_end(staying)
    assert fleet.docket.leftovers() == []
    print(f"{fleet.loop}: handed back and run elsewhere {max(ends):.3f} s after the second signal")
