"""What pydocket does not know: refused while one of its workers is there, and no trouble for its clients."""

from __future__ import annotations

import pytest

from tests.interop.conftest import DUE, PYDOCKET, Meeting, Side
from tests.processes import RawDocket, wait_until

EXPIRED = "ExecutionExpired: it had not begun when it expired"


def both(meeting: Meeting, ours: str) -> tuple[RawDocket, Side, Side]:
    docket = meeting.docket()
    return docket, meeting.side(PYDOCKET, docket), meeting.side(ours, docket)


def test_an_expiry_is_refused_while_a_pydocket_worker_lives(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    assert mine.add("echo", "1", key="nobody", expires=60) == "SCHEDULED"
    mine.work("M")
    assert mine.result("nobody") == ["returned", "1"]
    theirs.work("T")
    assert mine.add("echo", "2", key="refused", expires=60) == "refused: T"
    assert mine.add("echo", "3", key="plain") == "SCHEDULED"
    assert mine.result("plain") == ["returned", "3"]
    theirs.stop("T")
    assert mine.add("echo", "4", key="accepted", expires=60) == "SCHEDULED"
    assert theirs.result("accepted") == ["returned", "4"]
    mine.stop("M")
    assert docket.leftovers() == []


def test_a_pydocket_client_cancels_what_is_to_expire(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.add("echo", "1", key="now", expires=60)
    mine.add("echo", "2", key="later", delay=60, expires=60)
    for key in ("now", "later"):
        theirs.cancel(key)
        assert mine.state(key) == "cancelled"
        assert mine.result(key)[:2] == ["raised", "ExecutionCancelled"]
    mine.work("M")
    wait_until(docket.is_drained, "the end")
    assert meeting.journal.entries("echo") == []
    mine.stop("M")


def test_a_pydocket_client_sees_what_has_expired_as_cancelled(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.add("echo", "1", key="K", delay=0.01, expires=0.000001)
    mine.work("M")
    assert theirs.result("K")[:2] == ["raised", "ExecutionCancelled"]
    assert mine.result("K")[:2] == ["raised", "ExecutionExpired"]
    assert (theirs.state("K"), theirs.execution("K")["error"]) == ("cancelled", EXPIRED)
    mine.stop("M")
    assert docket.is_drained()


def test_what_a_pydocket_client_replaces_does_not_expire(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.add("echo", "1", key="K", delay=0.001, expires=0.000001)
    assert theirs.replace("echo", "'new'", key="K", delay=0.1) == "SCHEDULED"
    mine.work("M")
    assert mine.result("K") == ["returned", "'new'"]
    mine.stop("M")
    assert docket.leftovers() == []


def test_a_pause_is_refused_while_a_pydocket_worker_lives(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.work("M")
    theirs.work("T")
    assert mine.pause() == "refused: T"
    theirs.stop("T")
    assert mine.pause() == "paused"
    assert theirs.add("echo", "1", key="K") == "SCHEDULED"
    assert theirs.add("echo", "2", key="soon", delay=0.01) == "SCHEDULED"
    wait_until(lambda: theirs.state("soon") == "queued", "the promotion")
    assert theirs.state("K") == "queued"
    mine.resume()
    assert [theirs.result(key) for key in ("K", "soon")] == [["returned", "1"], ["returned", "2"]]
    mine.stop("M")
    assert docket.leftovers() == []


def test_a_pydocket_client_replaces_and_cancels_on_a_paused_docket(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.work("M")
    assert mine.pause() == "paused"
    for key in ("replaced", "cancelled"):
        mine.add("echo", "'old'", key=key)  # perhaps claimed, and handed back
    assert theirs.replace("echo", "'new'", key="replaced") == "SCHEDULED"
    theirs.cancel("cancelled")
    mine.resume()
    assert theirs.result("replaced") == ["returned", "'new'"]
    assert theirs.result("cancelled")[:2] == ["raised", "ExecutionCancelled"]
    mine.stop("M")
    assert docket.is_drained()


def test_a_priority_is_refused_while_a_pydocket_worker_lives(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    theirs.work("T")
    assert mine.add("echo", "1", key="refused", priority="high") == "refused: T"
    assert mine.add("echo", "2", key="plain", priority="normal") == "SCHEDULED"
    assert mine.result("plain") == ["returned", "2"]
    theirs.stop("T")
    assert mine.add("echo", "3", key="accepted", priority="high") == "SCHEDULED"
    mine.work("M")
    assert theirs.result("accepted") == ["returned", "3"]
    mine.stop("M")
    assert docket.leftovers() == []


@pytest.mark.parametrize("delay", [None, 60])
def test_a_pydocket_client_cancels_what_has_a_priority(meeting: Meeting, ours: str, delay: float | None) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.add("echo", "1", key="K", delay=delay, priority="high")
    mine.add("echo", "2", key="other")
    theirs.cancel("K")
    assert mine.state("K") == "cancelled"
    assert mine.result("K")[:2] == ["raised", "ExecutionCancelled"]
    mine.work("M")
    assert mine.result("other") == ["returned", "2"]
    mine.stop("M")
    assert len(meeting.journal.entries("echo")) == 1
    assert docket.is_drained()


@pytest.mark.parametrize("delay", [DUE, 0.2])
def test_a_pydocket_client_replaces_what_has_a_priority(meeting: Meeting, ours: str, delay: float) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.add("echo", "'old'", key="K", priority="low")
    assert theirs.add("echo", "'another'", key="K") == "ALREADY_SCHEDULED"
    assert theirs.replace("echo", "'new'", key="K", delay=delay) == "SCHEDULED"
    mine.work("M")
    assert mine.result("K") == theirs.result("K") == ["returned", "'new'"]
    mine.stop("M")
    assert docket.leftovers() == []


def test_a_client_of_ours_replaces_what_pydocket_has_added(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    theirs.add("echo", "'old'", key="K")
    assert mine.add("echo", "'another'", key="K", priority="high") == "ALREADY_SCHEDULED"
    mine.cancel("K")
    assert mine.add("echo", "'new'", key="K", priority="high") == "SCHEDULED"
    mine.work("M")
    assert theirs.result("K") == ["returned", "'new'"]
    mine.stop("M")
    assert docket.leftovers() == []


def test_a_pydocket_worker_that_comes_later_runs_future_tasks_and_no_others(meeting: Meeting, ours: str) -> None:
    docket, theirs, mine = both(meeting, ours)
    mine.add("echo", "1", key="now", priority="high")
    mine.add("echo", "2", key="later", delay=0.01, priority="high")
    theirs.work("T")
    assert theirs.result("later") == ["returned", "2"]
    assert mine.state("now") == "queued"
    mine.work("M")
    assert mine.result("now") == ["returned", "1"]
    theirs.stop("T")
    mine.stop("M")
    assert docket.leftovers() == []
