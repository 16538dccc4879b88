"""The master is killed outright under load, in a cluster and among sentinels, and a replica takes its place."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
import redis

from tests.clusters import Cluster, Watched, open_cluster, open_sentinels, wait_for
from tests.crash.conftest import Fleet
from tests.processes import FULL
from tests.servers import Mortal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

COUNT = 3000 if FULL else 300
OVER = 10.0 if FULL else 1.5
KILLS = 3 if FULL else 1
CONCURRENCY = 20
REDELIVERY = "15s"
"""Longer than a failover takes: nothing is to run twice because a lease could not be renewed."""
SHADOW = 0.2
"""Seconds before a kill in which Redis may have answered what it had not passed on to the replica."""


@pytest.fixture(scope="module")
def cluster(redis_server_binary: str) -> Iterator[Cluster]:
    with open_cluster(redis_server_binary, node_timeout=1000) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def watched(redis_server_binary: str) -> Iterator[Watched]:
    # Any sooner, and a busy machine is taken for a dead one: two masters at once lose what the wrong one is told.
    with open_sentinels(redis_server_binary, down_after=1500) as watched:
        yield watched


@pytest.mark.parametrize("kind", ["cluster", "watched"])
def test_master(make_fleet: Any, request: pytest.FixtureRequest, kind: str) -> None:
    """Every task that was added runs, every result arrives, and what runs twice has a reason to."""
    place: Cluster | Watched = request.getfixturevalue(kind)
    name = f"docket-{uuid4().hex}"

    def master() -> Mortal:
        return place.master_of(f"{{{name}}}") if isinstance(place, Cluster) else place.master()

    fleet: Fleet = make_fleet(place.url, name=name, seen_at=master().server.unix_url)
    options = {"concurrency": CONCURRENCY, "redelivery_timeout": REDELIVERY}
    workers = [fleet.start_worker(f"worker-{number}", **options) for number in range(2)]
    fleet.processes.wait_until(lambda: len(fleet.docket.workers()) == 2, "the workers' heartbeats")
    producer = fleet.start_producer(COUNT, "--persist", over=OVER, seconds=0.05, lanes=10, pace=10 * OVER / COUNT)

    killed_at: list[float] = []
    for number in range(1, KILLS + 1):
        enough = COUNT * number // (KILLS + 2)
        wait_for_ends(fleet, enough)
        killed_at.append(time.time())
        killed = master()
        killed.kill()
        # Back before it was replaced it would be the master again, an empty one.
        wait_for(lambda was=killed: master() is not was, "another master")
        place.revive()

    fleet.processes.wait_end(producer, seconds=60)
    for each in workers:
        each.signal(signal.SIGTERM)
    for each in workers:
        fleet.processes.wait_end(each)

    assert {each.number: int(each.value) for each in fleet.produced.entries("result")} == {
        number: number**2 for number in range(COUNT)
    }
    assert set(fleet.journal.count("end")) == set(range(COUNT))
    twice = {number for number, times in fleet.journal.count("start").items() if times > 1}
    assert twice <= {*fleet.produced.count("add-again"), *in_flight(fleet, killed_at)}
    with redis.Redis.from_url(master().server.unix_url) as client:
        fleet.docket.redis = client
        assert fleet.docket.leftovers() == []
    print(
        f"{fleet.loop}, {kind}: {COUNT} tasks, {KILLS} masters killed, nothing lost; added again "
        f"{len(fleet.produced.count('add-again'))}, ran twice {len(twice)}, the longest pause {pause(fleet):.2f} s"
    )


def wait_for_ends(fleet: Fleet, count: int) -> None:
    fleet.processes.wait_until(lambda: len(fleet.journal.entries("end")) > count, f"the end of {count} tasks")


def in_flight(fleet: Fleet, killed_at: list[float]) -> set[int]:
    """Return what was running when the master died, or had run just before: Redis may have forgotten that."""
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for each in fleet.journal.entries():
        (first if each.what == "start" else last).setdefault(each.number, each.at)
    return {
        number
        for number, begun in first.items()
        if any(begun <= at and last.get(number, at) >= at - SHADOW for at in killed_at)
    }


def pause(fleet: Fleet) -> float:
    ends = sorted(each.at for each in fleet.journal.entries("end"))
    return max(after - before for before, after in pairwise(ends))
