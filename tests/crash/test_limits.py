"""Concurrency limits under load, in processes of their own, measured from outside."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.crash.conftest import Fleet
from tests.processes import FULL, Process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COUNT = 2000 if FULL else 200
PLACES = 20
SECONDS = 0.02
LIMITS = {"alone": 1, "three": 3}
# Each that waits has a safeguard in every redelivery timeout: with thousands of them a second is too short.
REDELIVERY = "5s" if FULL else "1s"


def start_workers(fleet: Fleet, count: int, **options: object) -> list[Process]:
    workers = [fleet.start_worker(f"worker-{number}", concurrency=30, **options) for number in range(count)]
    fleet.processes.wait_until(lambda: len(fleet.docket.workers()) == count, "the workers' heartbeats")
    return workers


def end(fleet: Fleet, workers: list[Process]) -> None:
    for worker in workers:
        worker.signal(signal.SIGTERM)
    for worker in workers:
        fleet.processes.wait_end(worker)


def most_at_once(fleet: Fleet, dead: int | None = None) -> int:
    """How many were in one place at once at most. What a dead process had begun ended with it."""
    entries = fleet.journal.entries()
    last = max((each.at for each in entries if each.pid == dead), default=0.0)
    steps: list[tuple[float, int, str]] = []
    begun: Counter[tuple[int, str]] = Counter()
    for each in entries:
        step = 1 if each.what == "start" else -1
        steps.append((each.at, step, each.value))
        if each.pid == dead:
            begun[each.number, each.value] += step
    steps += [(last, -count, where) for (_, where), count in begun.items()]
    inside: Counter[str] = Counter()
    most = 0
    for _, step, where in sorted(steps):
        inside[where] += step
        most = max(most, inside[where])
    assert set(inside.values()) == {0}
    return most


def results(fleet: Fleet) -> dict[int, int]:
    return {each.number: int(each.value) for each in fleet.produced.entries("result")}


def duration(fleet: Fleet) -> float:
    entries = fleet.journal.entries()
    return max(each.at for each in entries) - min(each.at for each in entries)


@pytest.mark.parametrize("task", [*LIMITS, "free"])
def test_limit(fleet: Fleet, task: str) -> None:
    """Three workers: never more than allowed, every task runs once, and places do not wait for each other."""
    workers = start_workers(fleet, 3)
    producer = fleet.start_producer(COUNT, task=task, seconds=SECONDS, places=PLACES)
    fleet.processes.wait_end(producer, seconds=240)
    end(fleet, workers)
    assert results(fleet) == {number: number**2 for number in range(COUNT)}
    assert set(fleet.journal.count("start").values()) == {1}
    most = most_at_once(fleet)
    if task in LIMITS:
        assert most <= LIMITS[task]
    assert fleet.docket.leftovers() == []
    seconds = duration(fleet)
    print(
        f"{fleet.loop}: {COUNT} tasks of {SECONDS} s in {PLACES} places, {task}: at most {most} at once, "
        f"{seconds:.2f} s, {COUNT / seconds:.0f} tasks/s"
    )


@pytest.mark.parametrize("task", LIMITS)
def test_limit_when_killed(fleet: Fleet, task: str) -> None:
    """``kill -9`` of one worker in the middle: the limit holds, and the slots of the dead come back."""
    workers = start_workers(fleet, 3, redelivery_timeout=REDELIVERY)
    producer = fleet.start_producer(COUNT, task=task, seconds=SECONDS * 2, places=PLACES)

    def busy() -> list[Process]:
        runs = Counter({each.process.pid: 0 for each in workers})
        for entry in fleet.journal.entries():
            runs[entry.pid] += 1 if entry.what == "start" else -1
        return [each for each in workers if runs[each.process.pid] > 0]

    def in_the_middle() -> bool:
        return fleet.journal.count("end").total() > COUNT // 10 and bool(busy())

    fleet.processes.wait_until(in_the_middle, "the first tenth of the tasks", seconds=60)
    killed = (busy() or workers)[0]
    killed.kill()
    name = f"worker-{workers.index(killed)}"
    others = [each for each in workers if each is not killed]
    in_hands = {int(key.removeprefix("task-")) for key in fleet.docket.pending(name).values() if key[0] != "_"}
    fleet.processes.wait_end(producer, seconds=240)
    end(fleet, others)
    assert results(fleet) == {number: number**2 for number in range(COUNT)}
    most = most_at_once(fleet, killed.process.pid)
    assert most <= LIMITS[task]
    twice = {number for number, times in fleet.journal.count("start").items() if times > 1}
    assert twice <= in_hands
    assert fleet.docket.leftovers(name) == []
    print(
        f"{fleet.loop}: {COUNT} tasks, {task}: at most {most} at once, {len(in_hands)} in the hands of the killed "
        f"worker, {len(twice)} ran twice, {duration(fleet):.2f} s"
    )
