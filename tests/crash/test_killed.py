"""Processes that are killed outright, and what the others make of it."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartRedis
from tests.crash.conftest import Fleet
from tests.processes import FULL
from tests.servers import _free_port

pytestmark = pytest.mark.slow

COUNT = 1000 if FULL else 200
OVER = 5.0 if FULL else 0.5
CONCURRENCY = 20
REDELIVERY = "1s"


@pytest.mark.parametrize("second", ["running already", "started afterwards"])
def test_worker(fleet: Fleet, second: str) -> None:
    """``kill -9`` of a worker: another one finishes, and only what was in the dead one's hands runs twice."""
    options = {"concurrency": CONCURRENCY, "redelivery_timeout": REDELIVERY}
    killed = fleet.start_worker("killed", **options)
    survivor = fleet.start_worker("survivor", **options) if second == "running already" else None
    fleet.processes.wait_until(
        lambda: len(fleet.docket.workers()) == (1 if survivor is None else 2), "the workers' heartbeats"
    )
    producer = fleet.start_producer(COUNT, over=OVER, seconds=0.1)

    def in_the_middle() -> bool:
        mine = [each for each in fleet.journal.entries() if each.pid == killed.process.pid]
        ended = [each for each in mine if each.what == "end"]
        return len(ended) > COUNT // 10 and len(mine) - 2 * len(ended) > CONCURRENCY // 4

    fleet.processes.wait_until(in_the_middle, "the first tenth of the tasks, with others begun")
    killed.kill()
    in_hands = {int(key.removeprefix("task-")) for key in fleet.docket.pending("killed").values()}
    assert 0 < len(in_hands) <= CONCURRENCY
    survivor = survivor or fleet.start_worker("survivor", **options)

    fleet.processes.wait_end(producer, seconds=40)
    survivor.signal(signal.SIGTERM)
    fleet.processes.wait_end(survivor)
    assert {each.number: int(each.value) for each in fleet.produced.entries("result")} == {
        number: number**2 for number in range(COUNT)
    }
    assert set(fleet.journal.count("end")) == set(range(COUNT))
    twice = {number for number, times in fleet.journal.count("start").items() if times > 1}
    assert len(twice) > 0
    assert twice <= in_hands
    assert max(fleet.journal.count("start").values()) <= 2
    assert fleet.docket.leftovers("killed") == []
    print(f"{fleet.loop}: of {COUNT} tasks {len(in_hands)} were in the killed worker's hands, {len(twice)} ran twice")


def test_producer(fleet: Fleet) -> None:
    """``kill -9`` of a producer while it adds: what ``add`` returned runs, and nothing is half-written."""
    enough = 1000 if FULL else 100
    producer = fleet.start_producer(1_000_000, over=500, lanes=20)
    fleet.processes.wait_until(lambda: len(fleet.produced.entries("added")) >= enough, "the first tasks")
    producer.kill()
    added = fleet.produced.count("added")
    waiting = fleet.docket.redis.zcard(fleet.docket.key("queue"))
    # What is due in minutes is due now: the test has no time for it.
    queue = fleet.docket.key("queue")
    for member, _ in fleet.docket.redis.zscan_iter(queue):
        fleet.docket.redis.zadd(queue, {member: 1.0})

    worker = fleet.start_worker("worker", concurrency=50)
    fleet.processes.wait_until(lambda: fleet.docket.workers() and fleet.docket.is_drained(), "the end of the work")
    worker.signal(signal.SIGTERM)
    fleet.processes.wait_end(worker)
    ran = fleet.journal.count("end")
    assert set(added) <= set(ran)
    assert set(ran.values()) == {1}
    assert len(ran) - len(added) <= 20  # under way when the producer died, one in each lane
    assert fleet.docket.leftovers() == []
    print(f"{fleet.loop}: {len(added)} tasks added, {waiting} of them parked; {len(ran)} ran")


def test_redis(make_fleet: Any, start_redis: StartRedis, tmp_path: Path) -> None:
    """``kill -9`` of Redis, which writes what it does to disk, while tasks are added and run: all results arrive."""
    count = 1000 if FULL else 200
    port = _free_port()
    data = tmp_path / "redis"
    data.mkdir()
    options = ("--port", str(port), "--dir", str(data), "--appendonly", "yes", "--appendfsync", "always")
    with ExitStack() as stack:
        server = stack.enter_context(start_redis(*options))
        fleet: Fleet = make_fleet(f"redis://127.0.0.1:{port}/0")
        worker = fleet.start_worker(concurrency=CONCURRENCY)
        fleet.processes.wait_until(fleet.docket.workers, "the worker's heartbeat")
        producer = fleet.start_producer(count, "--persist", over=1.0, seconds=0.02, lanes=2)
        fleet.processes.wait_until(
            lambda: len(fleet.journal.entries("end")) > count // 10, "the first tenth of the tasks"
        )
        os.kill(server.pid, signal.SIGKILL)
        added = len(fleet.produced.entries("added"))
        stack.enter_context(start_redis(*options))

        fleet.processes.wait_end(producer, seconds=40)
        worker.signal(signal.SIGTERM)
        fleet.processes.wait_end(worker)
        assert {each.number: int(each.value) for each in fleet.produced.entries("result")} == {
            number: number**2 for number in range(count)
        }
        assert fleet.docket.leftovers() == []
        # Nobody can tell whether an add ran whose answer was lost: adding again is right, and may run it again.
        twice = {number for number, times in fleet.journal.count("start").items() if times > 1}
        assert twice <= set(fleet.produced.count("add-again"))
        print(f"{fleet.loop}: Redis was killed when {added} of {count} tasks were added; {len(twice)} ran twice")


@pytest.mark.parametrize("how", ["flushed", "killed"])
def test_redis_emptied(make_fleet: Any, start_redis: StartRedis, how: str) -> None:
    """A Redis that has forgotten everything, the consumer group too, ends no worker: what comes next is run."""
    port = str(_free_port())
    with ExitStack() as stack:
        server = stack.enter_context(start_redis("--port", port))
        fleet: Fleet = make_fleet(f"redis://127.0.0.1:{port}/0")
        worker = fleet.start_worker(concurrency=CONCURRENCY)
        fleet.processes.wait_end(fleet.start_producer(10))
        # One is running meanwhile. Nobody asks for its result any more, and there is no record to put it in.
        lost = fleet.start_producer(1, "--persist", seconds=0.5)
        fleet.processes.wait_until(lambda: len(fleet.journal.entries("start")) == 11, "a run")
        lost.kill()
        if how == "flushed":
            fleet.docket.redis.flushall()
        else:
            os.kill(server.pid, signal.SIGKILL)
            stack.enter_context(start_redis("--port", port))
        fleet.processes.wait_end(fleet.start_producer(20, "--persist", over=0.2))
        fleet.processes.wait_until(fleet.docket.is_drained, "the end of the work")
        worker.signal(signal.SIGTERM)
        fleet.processes.wait_end(worker)
        assert {each.number: int(each.value) for each in fleet.produced.entries("result")} == {
            number: number**2 for number in range(20)
        }
        assert fleet.docket.leftovers() == []
