"""What is more than adding and working: either library goes on with what the other has begun."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from tests.interop.conftest import PYDOCKET, Meeting, Side
from tests.processes import RawDocket, wait_until

HANDOVERS = 50


def generation(docket: RawDocket, key: str) -> int:
    return int(docket.redis.hget(docket.key(f"runs:{key}"), "generation"))


def waiting(docket: RawDocket) -> tuple[int, int]:
    """Return how many tasks are in the stream and how many in the queue."""
    return docket.redis.xlen(docket.key("stream")), docket.redis.zcard(docket.key("queue"))


def make_due(docket: RawDocket, key: str) -> None:
    docket.redis.zadd(docket.key("queue"), {key: 0}, xx=True)


# --- replace ------------------------------------------------------------------------------------------------------


def test_replace_queued(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    first, second = (meeting.side(each, docket) for each in pair)
    first.add("echo", "'old'", key="now")
    first.add("echo", "'old'", key="later")
    assert second.replace("echo", "'new'", key="now") == "SCHEDULED"
    assert second.replace("echo", "'new'", key="later", delay=60) == "SCHEDULED"
    assert waiting(docket) == (1, 1)
    first.work()
    assert first.result("now") == second.result("now") == ["returned", "'new'"]
    assert first.execution("later") == second.execution("later")
    assert second.execution("later")["arguments"] == "(('new',), {})"
    assert [generation(docket, key) for key in ("now", "later")] == [2, 2]
    assert len(meeting.journal.entries("echo")) == 1


def test_replace_scheduled(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    first, second = (meeting.side(each, docket) for each in pair)
    first.add("echo", "'old'", key="now", delay=60)
    first.add("echo", "'old'", key="soon", delay=60)
    first.work()
    assert second.replace("echo", "'new'", key="now") == "SCHEDULED"
    assert second.replace("echo", "'new'", key="soon", delay=0.1) == "SCHEDULED"
    for key in ("now", "soon"):
        assert first.result(key) == second.result(key) == ["returned", "'new'"]
    assert len(meeting.journal.entries("echo")) == 2
    first.stop()
    assert docket.leftovers() == []


@pytest.mark.parametrize("where", ["there", "elsewhere"])
def test_replace_running(meeting: Meeting, pair: tuple[str, str], where: str) -> None:
    """The run goes on, and its end is nobody's concern any more: neither its result nor its retries."""
    docket = meeting.docket()
    first, second = (meeting.side(each, docket) for each in pair)
    first.work("first", concurrency=2 if where == "there" else 1)
    first.add("hold", meeting.hold, key="K")
    wait_until(lambda: second.state("K") == "running", "the run")
    assert second.replace("echo", "'new'", key="K") == "SCHEDULED"
    if where == "elsewhere":
        second.work("second")
    assert first.result("K") == second.result("K") == ["returned", "'new'"]
    meeting.gate.touch()
    wait_until(docket.is_drained, "the end of what was replaced")
    for side in (first, second):
        assert side.result("K") == ["returned", "'new'"]
        assert side.execution("K")["function"] == "echo"
    assert generation(docket, "K") == 2
    assert [len(meeting.journal.entries(each)) for each in ("hold", "echo")] == [1, 1]
    for side in (first, second):
        for name in list(side.working):
            side.stop(name)
    assert docket.leftovers() == []


# --- perpetual, automatic -----------------------------------------------------------------------------------------


def test_perpetual_back_and_forth(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    first, second = (meeting.side(each, docket) for each in pair)
    # With one slot each: while one runs it, only the other asks for the next.
    first.work("first", concurrency=1)
    second.work("second", concurrency=1)
    first.add("baton", f"0, {str(meeting.gate)!r}", key="baton")

    def handovers() -> int:
        runs = meeting.journal.entries("baton")
        return sum(one.pid != other.pid for one, other in itertools.pairwise(runs))

    wait_until(lambda: handovers() >= HANDOVERS, f"{HANDOVERS} handovers")
    meeting.gate.touch()
    wait_until(lambda: waiting(docket) == (0, 1), "the run in an hour")
    runs = meeting.journal.entries("baton")
    # One chain: each run was given what the one before it has left, and the record has counted with it.
    assert [each.number for each in runs] == [*range(len(runs))]
    assert generation(docket, "baton") == len(runs) + 1
    assert {each.pid for each in runs} == {side.peer.process.process.pid for side in (first, second)}
    for side in (first, second):
        assert side.execution("baton")["arguments"] == f"(({len(runs)}, {str(meeting.gate)!r}), {{}})"
        assert side.state("baton") == "scheduled"
    second.cancel("baton")
    assert waiting(docket) == (0, 0)
    assert first.state("baton") == "cancelled"


@pytest.mark.parametrize("task", ["farewell", "baton_held"])
def test_a_superseded_perpetual_says_nothing_at_its_end(meeting: Meeting, pair: tuple[str, str], task: str) -> None:
    """Who waits for the key waits for what has replaced it, whether the old run would go on or be the last."""
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    worker.work(concurrency=1)
    client.add(task, meeting.hold if task == "baton_held" else repr(str(meeting.gate)), key="K")
    wait_until(lambda: client.state("K") == "running", "the run")
    assert client.replace("echo", "'new'", key="K") == "SCHEDULED"
    for side in (client, worker):
        side.follow("K")
    meeting.gate.touch()
    for side in (client, worker):
        assert side.result("K") == ["returned", "'new'"]
        states = [event[0] for event in without_repetitions(side.events("K")) if isinstance(event[0], str)]
        assert states == ["queued", "running", "completed"]
    assert generation(docket, "K") == 2
    worker.stop()
    assert docket.leftovers() == []


def test_automatic_tasks_are_added_once(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    sides = [meeting.side(each, docket) for each in pair]
    for side in sides:
        side.automate()
        side.work(side.kind)
        wait_until(lambda: side.state("sweep") == "scheduled", "the next sweep")  # noqa: B023 - called at once
        assert waiting(docket) == (0, 2)
    assert [generation(docket, each) for each in ("sweep", "nightly")] == [2, 1]
    assert sides[0].execution("sweep") == sides[1].execution("sweep")
    assert sides[0].execution("nightly") == sides[1].execution("nightly")
    # Whoever takes it schedules the next night; it counts from now, so at the same time again.
    make_due(docket, "nightly")
    wait_until(lambda: generation(docket, "nightly") == 2, "the next night")
    wait_until(lambda: waiting(docket) == (0, 2), "the end of this one")
    assert len(meeting.journal.entries("sweep")) == len(meeting.journal.entries("nightly")) == 1


# --- strikes ------------------------------------------------------------------------------------------------------


def wait_disposition(side: Side, wanted: str, call: str) -> None:
    """Wait until a side knows of a strike or a restoration."""

    def disposition() -> str:
        said = side.add("echo", call, key="probe", delay=3600)
        side.cancel("probe")
        return said

    wait_until(lambda: disposition() == wanted, f"{wanted} of {side.kind}")


@pytest.mark.parametrize(
    "strike",
    [("echo",), ("echo", "value", "'==', 3"), ("echo", "value", "'between', (2, 4)"), (None, "value", "'>=', 3")],
    ids=["task", "equal", "between", "all tasks"],
)
def test_strikes(meeting: Meeting, pair: tuple[str, str], strike: tuple[str, ...]) -> None:
    docket = meeting.docket()
    striker, worker = (meeting.side(each, docket) for each in pair)
    everything = len(strike) == 1
    striker.add("echo", "3", key="before")
    striker.add("echo", "3", key="later", delay=3600)
    striker.strike(*strike)
    assert striker.add("echo", "3", key="refused") == "STRUCK"
    # Its worker knows of it before its first claim, and drops what was added earlier.
    worker.work()
    assert worker.result("before")[:2] == ["raised", "ExecutionCancelled"]
    wait_disposition(worker, "STRUCK", "3")
    make_due(docket, "later")
    assert striker.result("later")[:2] == ["raised", "ExecutionCancelled"]
    if not everything:
        assert striker.add("echo", "1", key="allowed") == "SCHEDULED"
        assert worker.result("allowed") == ["returned", "1"]
    # And the other way round, while it works.
    worker.restore(*strike)
    wait_disposition(striker, "SCHEDULED", "3")
    assert striker.add("echo", "3", key="refused") == "SCHEDULED"
    assert striker.result("refused") == ["returned", "3"]
    assert len(meeting.journal.entries("echo")) == (1 if everything else 2)


# --- progress, events ---------------------------------------------------------------------------------------------


def test_progress(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    worker.work()
    client.add("report", repr(str(meeting.gate)), key="K")
    wait_until(lambda: meeting.journal.entries("hold"), "the half")
    assert client.progress("K") == worker.progress("K")
    assert client.progress("K")[:3] == [3, 7, "näarly half"]
    assert client.progress("K", increment=1)[:3] == [4, 7, "näarly half"]
    assert worker.progress("K")[:3] == [4, 7, "näarly half"]
    meeting.gate.touch()
    assert client.result("K") == ["returned", "'done'"]
    worker.stop()
    assert docket.leftovers() == []


def without_repetitions(events: list[Any]) -> list[Any]:
    return [event for event, _ in itertools.groupby(events)]


def test_events(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    client.add("report", repr(str(meeting.gate)), key="report")
    client.add("flaky", "1, 1", key="flaky")
    client.add("boom", "'öuch'", key="boom")
    client.add("echo", "1", key="cancelled", delay=3600)
    keys = ("report", "flaky", "boom", "cancelled")
    for key in keys:
        for side in (client, worker):
            side.follow(key)
    meeting.gate.touch()
    worker.work("W")
    client.cancel("cancelled")
    seen = {key: [without_repetitions(side.events(key)) for side in (client, worker)] for key in keys}
    for key in keys:
        assert seen[key][0] == seen[key][1], key
    start = [["queued", None, None], [None, 100, None], ["running", "W", None]]
    steps = [[0, 7, None], [3, 7, None], [3, 7, "näarly half"], [3, 7, None], [7, 7, None]]
    assert seen["report"][0] == [*start, *steps, ["completed", None, None]]
    assert seen["flaky"][0] == [*start, ["queued", None, None], start[2], ["completed", None, None]]
    failed = seen["boom"][0].pop()
    assert (seen["boom"][0], failed[:2]) == (start, ["failed", None])
    assert failed[2].startswith("Boom: ")
    assert seen["cancelled"][0] == [["scheduled", None, None], start[1], ["cancelled", None, None]]


# --- many, clear, snapshot ----------------------------------------------------------------------------------------


def test_many(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    calls = {f"key-{number}": str(number) for number in range(10)}
    assert client.add_many("echo", calls) == ["SCHEDULED"] * 10
    assert worker.add_many("echo", calls) == ["ALREADY_SCHEDULED"] * 10
    assert client.add_many("echo", {f"later-{key}": call for key, call in calls.items()}, delay=0.2)
    replaced = dict(itertools.islice(calls.items(), 4))
    again = {key: f"{call}, more='replaced'" for key, call in replaced.items()}
    assert worker.add_many("echo", again, replace=True) == ["SCHEDULED"] * 4
    worker.work()
    for key, call in calls.items():
        expected = f"({call}, 'replaced')" if key in replaced else call
        assert client.result(key) == worker.result(key) == ["returned", expected]
        assert client.result(f"later-{key}") == ["returned", call]
    assert len(meeting.journal.entries("echo")) == 20
    worker.stop()
    assert docket.leftovers() == []


@pytest.mark.parametrize("who", ["the client", "the worker's side"])
def test_snapshot_and_clear(meeting: Meeting, pair: tuple[str, str], who: str) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    cleaner = client if who == "the client" else worker
    worker.work(concurrency=1)
    client.add("hold", meeting.hold, key="running")
    wait_until(lambda: client.state("running") == "running", "the run")
    cleared = ["queued-0", "queued-1", "scheduled-0", "scheduled-1"]
    for key in cleared:
        client.add("echo", repr(key), key=key, delay=3600 if key.startswith("scheduled") else None)
    snapshot = client.snapshot()
    assert snapshot == worker.snapshot()
    assert snapshot["future"] == [[key, "echo", f"('{key}',)"] for key in cleared]
    assert snapshot["running"] == [["running", "hold", "W"]]
    assert (snapshot["total"], [name for name, _ in snapshot["workers"]]) == (5, ["W"])
    # pydocket takes the messages of running tasks away, too, and counts them.
    assert cleaner.clear() == (5 if cleaner.kind == PYDOCKET else 4)
    for key, side in itertools.product(cleared, (client, worker)):
        assert side.result(key)[:2] == ["raised", "ExecutionCancelled"]
    assert client.state("running") == worker.state("running") == "running"
    assert client.add("echo", "'once more'", key="queued-0") == "SCHEDULED"
    meeting.gate.touch()
    assert client.result("running") == ["returned", "1"]
    assert client.result("queued-0") == ["returned", "'once more'"]
    wait_until(docket.is_drained, "the end of it all")
    assert len(meeting.journal.entries("echo")) == 1


@pytest.mark.parametrize("task", ["hold", "baton_held"])
def test_cleared_by_pydocket_while_it_runs(meeting: Meeting, ours: str, task: str) -> None:
    """Its message goes, and the run goes on: through renewals of its lease, to its end or to its next run."""
    docket = meeting.docket()
    client, worker = meeting.side(PYDOCKET, docket), meeting.side(ours, docket)
    worker.work(redelivery=0.4)
    client.add(task, meeting.hold, key="K")
    wait_until(lambda: client.state("K") == "running", "the run")
    assert client.clear() == 1
    until = time.monotonic() + 0.5
    wait_until(lambda: time.monotonic() > until, "several renewals of the lease")
    assert client.state("K") == worker.state("K") == "running"
    meeting.gate.touch()
    if task == "hold":
        assert client.result("K") == worker.result("K") == ["returned", "1"]
    else:
        wait_until(lambda: waiting(docket) == (0, 1), "the run in an hour")
        assert client.state("K") == worker.state("K") == "scheduled"
        client.cancel("K")
    assert len(meeting.journal.entries("hold")) == 1
    wait_until(docket.is_drained, "the end of it all")


def test_cleared_by_pydocket_and_handed_back(meeting: Meeting, ours: str) -> None:
    """What we cannot finish before we have to leave runs elsewhere, also when its message has gone."""
    docket = meeting.docket()
    client, worker = meeting.side(PYDOCKET, docket), meeting.side(ours, docket)
    worker.work("leaving", redelivery=0.4)
    client.add("hold", meeting.hold, key="K")
    wait_until(lambda: client.state("K") == "running", "the run")
    client.clear()
    until = time.monotonic() + 0.3
    wait_until(lambda: time.monotonic() > until, "several renewals of the lease")
    worker.stop("leaving", grace=0)
    assert client.state("K") == worker.state("K") == "queued"
    meeting.gate.touch()
    client.work("staying")
    assert client.result("K") == worker.result("K") == ["returned", "1"]
    assert client.execution("K")["worker"] == "staying"
    client.stop("staying")
    assert docket.leftovers() == []
