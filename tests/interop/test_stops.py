"""Requests to stop a run, between the two libraries: what is told, and what the record says meanwhile."""

from __future__ import annotations

from tests.interop.conftest import PYDOCKET, Meeting, Side
from tests.processes import RawDocket, wait_until

REQUESTED, STOPPED, STILL = "Cancellation.REQUESTED", "Cancellation.STOPPED", "Cancellation.STILL_RUNNING"
ENDED = "Cancellation.ALREADY_FINISHED"


def both(meeting: Meeting, ours: str) -> tuple[RawDocket, Side, Side]:
    meeting.shut_gate()
    docket = meeting.docket()
    return docket, meeting.side(PYDOCKET, docket), meeting.side(ours, docket)


def begin(meeting: Meeting, client: Side) -> None:
    client.add("stubborn", meeting.hold, key="K")
    wait_until(lambda: client.state("K") == "running", "the run")


def test_where_only_ours_work_a_run_is_not_cancelled_before_it_has_stopped(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.work("M")
    begin(meeting, theirs)
    assert mine.cancel("K", reason="enough", grace=0.0) == STILL
    assert mine.state("K") == theirs.state("K") == "running"
    assert theirs.execution("K")["times"] == [True, False]
    theirs.cancel("K")  # which calls it cancelled at once
    assert (theirs.state("K"), mine.cancel("K")) == ("cancelled", REQUESTED)
    assert mine.cancel("K", grace=0.0) == STILL
    meeting.gate.touch()
    assert mine.cancel("K", grace=10.0) in {STOPPED, ENDED}
    assert theirs.result("K")[:2] == ["raised", "ExecutionCancelled"]
    assert mine.result("K")[2] == "('K', 'enough')"
    wait_until(docket.is_drained, "the end")


def test_a_run_of_pydockets_is_waited_for_too(meeting: Meeting, ours: str) -> None:
    """It is called cancelled at once, since only that keeps a worker of pydocket's from running it again."""
    docket, theirs, mine = both(meeting, ours)
    theirs.work("T")
    begin(meeting, mine)
    assert mine.cancel("K", reason="enough", grace=0.0) == STILL
    assert mine.state("K") == theirs.state("K") == "cancelled"
    assert mine.cancel("K") == REQUESTED
    meeting.gate.touch()
    assert mine.cancel("K", grace=10.0) in {STOPPED, ENDED}
    assert mine.cancel("K") == ENDED
    assert mine.result("K")[2] == "('K', 'enough')"
    wait_until(docket.is_drained, "the end")


def test_a_run_of_ours_beside_a_pydocket_worker(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.work("M")
    begin(meeting, mine)
    theirs.work("T")
    assert mine.cancel("K", reason="enough", grace=0.0) == STILL
    assert mine.state("K") == theirs.state("K") == "cancelled"
    meeting.gate.touch()
    assert mine.cancel("K", grace=10.0) in {STOPPED, ENDED}
    assert mine.result("K")[2] == "('K', 'enough')"
    wait_until(docket.is_drained, "the end")


def test_a_request_is_honoured_when_the_run_comes_to_another_worker(meeting: Meeting, ours: str) -> None:
    """The worker that was to stop it was killed before it could, or before it heard of that."""
    meeting.shut_gate()
    docket = meeting.docket()
    killed, survivor = meeting.side(ours, docket, mortal=True), meeting.side(ours, docket)
    killed.work("killed", redelivery=1.0)
    begin(meeting, survivor)
    wait_until(lambda: meeting.journal.entries("stubborn"), "the body")  # it begins after its state says so
    assert survivor.cancel("K", reason="enough") == REQUESTED
    killed.peer.process.kill()
    assert survivor.state("K") == "running"
    survivor.work("survivor", redelivery=1.0)
    assert survivor.result("K")[1:3] == ["ExecutionCancelled", "('K', 'enough')"]
    assert len(meeting.journal.entries("stubborn")) == 1
    wait_until(docket.is_drained, "the end")
    meeting.gate.touch()
