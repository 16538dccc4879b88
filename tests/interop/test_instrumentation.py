"""Dashboards that were built for pydocket go on working: the same metrics, labels and spans."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import redis

from tests.interop.conftest import PYDOCKET
from tests.processes import PATIENCE, ROOT
from tests.servers import RedisServer

pytest.importorskip("opentelemetry.sdk")

# pydocket replaces a perpetual task by its next run, and counts and traces that as if somebody had asked for it.
REPLACED = {"docket_tasks_replaced", "docket_tasks_cancelled"}
# What is measured from time to time, or of caches that are not there.
MEASURED = {"docket_queue_depth", "docket_schedule_depth", "docket_cache_size"}


def ask(library: str, url: str, *what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.interop.metered", library, url, *what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT)
    assert done.stdout, done.stderr
    reply: dict[str, Any] = json.loads(done.stdout)
    return reply


@pytest.fixture(scope="module")
def theirs(redis_server: RedisServer) -> dict[str, Any]:
    return play(PYDOCKET, redis_server)


def play(library: str, server: RedisServer) -> dict[str, Any]:
    reply = ask(library, server.url)
    with redis.Redis.from_url(server.url) as client:
        client.delete(*client.keys("metered:*"))
    return reply


def test_the_same_meter_names_kinds_and_units(redis_server: RedisServer) -> None:
    url = redis_server.url
    assert ask("trio", url, "names") == ask(PYDOCKET, url, "names")


def test_the_same_counts_under_the_same_labels(ours: str, redis_server: RedisServer, theirs: dict[str, Any]) -> None:
    mine = play(ours, redis_server)["metrics"]
    for name, metric in theirs["metrics"].items():
        expected, found = counts(metric), counts(mine.get(name, {"points": []}))
        if name in MEASURED:
            assert name == "docket_cache_size" or found.keys() == expected.keys(), name
            continue
        for labels in list(expected):
            if '"poll"' in labels and name in REPLACED:
                del expected[labels]
            elif '"poll"' in labels and name == "docket_tasks_scheduled":
                expected[labels] -= 1
            elif '"docket.value"' in labels:
                expected[labels] = 0  # the docket is closed: it knows of no strikes any more
        assert found == expected, name


def counts(metric: Any) -> dict[str, float]:
    return {json.dumps(labels): value for labels, value in metric["points"]}


def test_the_same_spans(ours: str, redis_server: RedisServer, theirs: dict[str, Any]) -> None:
    expected = Counter(json.dumps(each) for each in theirs["spans"] if not of_perpetual(each))
    found = Counter(json.dumps(without_cause(each)) for each in play(ours, redis_server)["spans"])
    assert found == expected


def without_cause(span: Any) -> Any:
    """What stopped a run is told by ours only."""
    *rest, attributes, names = span
    attributes.pop("docket.cause", None)
    return [*rest, attributes, [name for name in names if name != "docket.cause"]]


def of_perpetual(span: Any) -> bool:
    return span[0] == "docket.replace" and span[5]["docket.task"] == "poll"
