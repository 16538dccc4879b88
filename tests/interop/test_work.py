"""One library adds, the other works, and both see the same."""

from __future__ import annotations

import time

import pytest

from tests.interop.conftest import PYDOCKET, Meeting
from tests.processes import wait_until

VALUES = [
    "1, more=None",
    "'süß', more=[1, 2.5, None, {'a': (1, 2)}]",
    "timedelta(seconds=5)",
    "Path('/tmp')",
    "b'\\x00\\xff' * 10",
    "{Boom: 'a class'}",
]


def test_immediate_and_scheduled(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    for number, call in enumerate(VALUES):
        assert client.add("echo", call, key=f"now-{number}") == "SCHEDULED"
        assert client.add("echo", call, key=f"later-{number}", delay=0.2) == "SCHEDULED"
    worker.work()
    # A worker that runs already finds out about what is added, too.
    client.add("echo", "'added while it runs'", key="now")
    client.add("echo", "'scheduled while it runs'", key="soon", delay=0.1)
    for number in range(len(VALUES)):
        for key in (f"now-{number}", f"later-{number}"):
            assert client.result(key) == worker.result(key)
            assert client.result(key)[0] == "returned"
    assert client.result("now") == ["returned", "'added while it runs'"]
    assert client.result("soon") == ["returned", "'scheduled while it runs'"]
    assert len(meeting.journal.entries("echo")) == 2 * len(VALUES) + 2
    worker.stop()
    assert docket.leftovers() == []


def test_endings(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    client.add("nothing", key="nothing")
    client.add("boom", "'ouch'", key="boom")
    client.add("flaky", "1, 1", key="flaky")
    client.add("flaky", "2, 9", key="hopeless")
    worker.work()
    for side in (client, worker):
        assert side.result("nothing") == ["returned", "None"]
        assert side.result("boom") == ["raised", "Boom", "('ouch', 42)", "42"]
        assert side.result("flaky") == ["returned", "2"]
        assert side.result("hopeless") == ["raised", "ValueError", "('attempt 3 fails',)", "None"]
        assert side.execution("boom")["error"].startswith("Boom: ")
    for key in ("nothing", "boom", "flaky", "hopeless"):
        mine, yours = client.execution(key), worker.execution(key)
        assert mine == yours
        assert mine["worker"] == "W"
        assert mine["times"] == [True, True]
    worker.stop()
    assert docket.leftovers() == []


def test_states(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)

    def seen(key: str) -> str:
        mine, yours = client.execution(key), worker.execution(key)
        assert mine == yours
        return mine["state"]

    assert client.execution("hold") is None
    assert worker.execution("hold") is None
    client.add("hold", meeting.hold, key="hold")
    assert seen("hold") == "queued"
    client.add("echo", "7", key="later", delay=60)
    assert seen("later") == "scheduled"
    assert client.execution("later")["when"] == pytest.approx(time.time() + 60, abs=10)
    worker.work()
    wait_until(lambda: client.state("hold") == "running", "the run")
    assert seen("hold") == "running"
    meeting.gate.touch()
    assert client.result("hold") == ["returned", "1"]
    assert seen("hold") == "completed"
    assert seen("later") == "scheduled"


def test_one_task_of_a_key(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    assert client.add("hold", meeting.hold, key="now") == "SCHEDULED"
    assert worker.add("hold", meeting.hold, key="now") == "ALREADY_SCHEDULED"
    assert client.add("echo", "1", key="later", delay=60) == "SCHEDULED"
    assert worker.add("echo", "2", key="later") == "ALREADY_SCHEDULED"
    assert (docket.redis.xlen(docket.key("stream")), docket.redis.zcard(docket.key("queue"))) == (1, 1)
    worker.work()
    wait_until(lambda: client.state("now") == "running", "the run")
    assert client.add("hold", meeting.hold, key="now") == "ALREADY_SCHEDULED"
    assert worker.add("hold", meeting.hold, key="now") == "ALREADY_SCHEDULED"
    meeting.gate.touch()
    assert client.result("now") == ["returned", "1"]
    assert len(meeting.journal.entries("hold")) == 1
    # The key is free again, for either.
    for side, value in ((client, "'once more'"), (worker, "'and again'")):
        assert side.add("echo", value, key="now") == "SCHEDULED"
        assert client.result("now") == worker.result("now") == ["returned", value]
    assert docket.redis.hget(docket.key("runs:now"), "generation") == b"3"


@pytest.mark.parametrize("canceller", ["the client", "the worker's side"])
def test_cancel(meeting: Meeting, pair: tuple[str, str], canceller: str) -> None:
    docket = meeting.docket()
    client, worker = (meeting.side(each, docket) for each in pair)
    who = client if canceller == "the client" else worker
    client.add("echo", "1", key="queued")
    client.add("echo", "2", key="scheduled", delay=0.1)
    who.cancel("queued")
    who.cancel("scheduled")
    worker.work(concurrency=1)
    client.add("hold", meeting.hold, key="running")
    wait_until(lambda: client.state("running") == "running", "the run")
    # One that was scheduled and waits in the stream: its record does not say where.
    client.add("echo", "3", key="promoted", delay=0.05)
    wait_until(lambda: client.state("promoted") == "queued", "its promotion")
    who.cancel("promoted")
    who.cancel("running")
    for key in ("queued", "scheduled", "promoted", "running"):
        for side in (client, worker):
            assert side.result(key)[:2] == ["raised", "ExecutionCancelled"]
            assert side.state(key) == "cancelled"
    wait_until(docket.is_drained, "the end of it all")
    assert meeting.journal.entries("echo") == []
    client.add("echo", "'the worker goes on'", key="queued")
    assert worker.result("queued") == ["returned", "'the worker goes on'"]


def test_retry_elsewhere(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    first, second = (meeting.side(each, docket) for each in pair)
    first.work("first")
    second.add("flaky_later", "1, 1", key="flaky")
    wait_until(lambda: second.state("flaky") == "scheduled", "the retry's schedule")
    first.stop("first")
    second.work("second")
    assert first.result("flaky") == second.result("flaky") == ["returned", "2"]
    tries = meeting.journal.entries("flaky")
    assert [(each.value, each.pid) for each in tries] == [
        ("1", first.peer.process.process.pid),
        ("2", second.peer.process.process.pid),
    ]
    assert first.execution("flaky")["worker"] == "second"


@pytest.mark.slow
def test_killed_worker(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    killed, survivor = meeting.side(pair[0], docket, mortal=True), meeting.side(pair[1], docket)
    killed.work("killed", redelivery=1.0)
    for number in range(5):
        survivor.add("hold", f"{number}, {str(meeting.gate)!r}", key=f"hold-{number}")
    wait_until(lambda: len(meeting.journal.entries("hold")) == 5, "the runs")
    survivor.work("survivor", redelivery=1.0)
    killed.peer.process.kill()
    wait_until(lambda: len(meeting.journal.entries("hold")) == 10, "the redelivery")
    meeting.gate.touch()
    for number in range(5):
        assert survivor.result(f"hold-{number}") == ["returned", "1"]
        assert survivor.execution(f"hold-{number}")["worker"] == "survivor"
    survivor.stop("survivor")
    assert len(meeting.journal.entries("hold")) == 10
    assert docket.leftovers("killed") == []


@pytest.mark.slow
def test_leases_are_kept(meeting: Meeting, pair: tuple[str, str]) -> None:
    """A task that takes longer than the redelivery timeout stays where it is."""
    docket = meeting.docket()
    holder, other = (meeting.side(each, docket) for each in pair)
    holder.work("holder", redelivery=0.4)
    holder.add("hold", meeting.hold, key="hold")
    wait_until(lambda: other.state("hold") == "running", "the run")
    other.work("other", redelivery=0.4)
    until = time.monotonic() + 1.5
    wait_until(lambda: time.monotonic() > until, "more than the redelivery timeout")
    meeting.gate.touch()
    assert other.result("hold") == ["returned", "1"]
    assert len(meeting.journal.entries("hold")) == 1


def test_hand_back(meeting: Meeting, ours: str) -> None:
    """What we cannot finish before we have to leave runs at once on pydocket, as the same attempt."""
    docket = meeting.docket()
    leaving, staying = meeting.side(ours, docket), meeting.side(PYDOCKET, docket)
    leaving.work("leaving")
    staying.add("hold", meeting.hold, key="hold")
    wait_until(lambda: staying.state("hold") == "running", "the run")
    staying.work("staying")
    leaving.stop("leaving", grace=0)
    wait_until(lambda: staying.execution("hold")["worker"] == "staying", "the run elsewhere")
    meeting.gate.touch()
    assert staying.result("hold") == ["returned", "1"]
    assert [each.value for each in meeting.journal.entries("hold")] == ["1", "1"]
    staying.stop("staying")
    assert docket.leftovers() == []
