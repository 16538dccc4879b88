"""Limits hold across pydocket workers and ours, and who waits for one is found by the other."""

from __future__ import annotations

import time

from tests.interop.conftest import PYDOCKET, Meeting, Side
from tests.processes import RawDocket, wait_until

MOST = 2


def both(meeting: Meeting, ours: str) -> tuple[RawDocket, Side, Side]:
    docket = meeting.docket()
    return docket, meeting.side(PYDOCKET, docket), meeting.side(ours, docket)


def waiting(docket: RawDocket) -> list[str]:
    """The keys that wait for a slot."""
    streams = list(docket.redis.scan_iter(f"{docket.name}:*:waiters", count=1000))
    return [fields[b"key"].decode() for stream in streams for _, fields in docket.redis.xrange(stream)]


def most_at_once(meeting: Meeting, where: str) -> int:
    steps = [(each.at, 1) for each in meeting.journal.entries(f"begin-{where}")]
    steps += [(each.at, -1) for each in meeting.journal.entries(f"end-{where}")]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def test_a_limit_holds_across_both(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    for number in range(60):
        side = (theirs, mine)[number % 2]
        side.add("share", f"{number}, 0.02, {'ab'[number % 2]!r}", key=f"share-{number}")
    theirs.work("T")
    mine.work("M")
    for number in range(60):
        assert mine.result(f"share-{number}") == ["returned", str(number)]
    assert (most_at_once(meeting, "a"), most_at_once(meeting, "b")) == (MOST, MOST)
    assert {each.pid for each in meeting.journal.entries("begin-a")} == {
        theirs.peer.process.process.pid,
        mine.peer.process.process.pid,
    }
    theirs.stop("T")
    mine.stop("M")
    assert docket.leftovers() == []


def test_who_waits_is_woken_by_the_other(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    holder, parker = (meeting.side(each, docket) for each in pair)
    holder.add("hold_slot", meeting.hold, key="first")
    holder.work("H", concurrency=1)
    wait_until(lambda: meeting.journal.entries("hold_slot"), "the first run")
    parker.work("P")
    for number in (2, 3):
        # The holder has no slot free to claim it, and the other one no slot to run it.
        holder.add("hold_slot", meeting.hold.replace("1", str(number), 1), key=f"waits-{number}")
        wait_until(lambda: len(waiting(docket)) == number - 1, "the waiter")  # noqa: B023 - called at once
    assert waiting(docket) == ["waits-2", "waits-3"]
    assert holder.execution("waits-2") == parker.execution("waits-2")
    assert parker.state("waits-2") == "scheduled"
    meeting.gate.touch()
    asked = time.monotonic()
    for number in (2, 3):
        assert holder.result(f"waits-{number}") == ["returned", str(number)]
    assert time.monotonic() - asked < 5
    assert [each.number for each in meeting.journal.entries("hold_slot")] == [1, 2, 3]
    holder.stop("H")
    parker.stop("P")
    assert docket.leftovers() == []


def test_a_safeguard_is_run_by_the_other(meeting: Meeting, pair: tuple[str, str]) -> None:
    """Whoever had the slot is dead, and so is the worker that has put the others in line."""
    docket = meeting.docket()
    parker, rescuer = (meeting.side(each, docket) for each in pair)
    meeting.gate.touch()
    slots = docket.key(f"concurrency:path:{meeting.gate}")
    docket.redis.zadd(slots, {"dead": time.time()})
    docket.redis.expire(slots, 60)
    parker.work("P", redelivery=1.0)
    for number in (1, 2):
        parker.add("hold_slot", meeting.hold.replace("1", str(number), 1), key=f"waits-{number}")
        wait_until(lambda: len(waiting(docket)) == number, "the waiter")  # noqa: B023 - called at once
    parker.stop("P")
    rescuer.work("R", redelivery=1.0)
    for number in (1, 2):
        assert rescuer.result(f"waits-{number}") == ["returned", str(number)]
    wait_until(docket.is_drained, "the last safeguard")
    rescuer.stop("R")
    assert docket.redis.exists(slots, f"{slots}:waiters") == 0


def test_a_waiter_is_cancelled_by_the_other(meeting: Meeting, pair: tuple[str, str]) -> None:
    docket = meeting.docket()
    canceller, worker = (meeting.side(each, docket) for each in pair)
    worker.work()
    worker.add("hold_slot", meeting.hold, key="first")
    wait_until(lambda: meeting.journal.entries("hold_slot"), "the first run")
    for number in (2, 3):
        worker.add("hold_slot", meeting.hold.replace("1", str(number), 1), key=f"waits-{number}")
    wait_until(lambda: len(waiting(docket)) == 2, "the waiters")
    canceller.cancel("waits-2")
    wait_until(lambda: waiting(docket) == ["waits-3"], "the end of the wait")
    canceller.replace("echo", "'replaced'", key="waits-3")
    assert worker.result("waits-3") == ["returned", "'replaced'"]
    meeting.gate.touch()
    assert worker.result("first") == ["returned", "1"]
    wait_until(docket.is_drained, "the end of the work")
    assert canceller.state("waits-2") == worker.state("waits-2") == "cancelled"
    assert [each.number for each in meeting.journal.entries("hold_slot")] == [1]
    worker.stop()
    assert docket.redis.zcard(docket.key("queue")) == 0
    assert waiting(docket) == []


def test_rates_cooldowns_and_debounces_are_shared(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    theirs.work("T", concurrency=2)
    mine.work("M", concurrency=2)
    for number in range(8):
        for task in ("rated", "cooled", "debounced"):
            (theirs, mine)[number % 2].add(task, f"{number}", key=f"{task}-{number}")
    wait_until(docket.is_drained, "the end of the work")
    begun = [each.at for each in meeting.journal.entries("rated")]
    assert len(begun) == 8
    # A body begins a little later than it is counted, and not always as much.
    assert all(later - earlier > 0.4 for earlier, later in zip(begun, begun[3:], strict=False))
    assert len(meeting.journal.entries("cooled")) == 1
    assert len(meeting.journal.entries("debounced")) == 1
    theirs.stop("T")
    mine.stop("M")
