"""Events as values: what a payload says, and whether it says anything new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from docket_anyio._model.events import ExecutionEvent, decode_event, progress_event, state_event, tells_the_same
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.record import ProgressRecord, RunRecord

NOW = datetime(2026, 11, 22, 3, 50, 3, 727689, tzinfo=UTC)
RECORD = RunRecord(ExecutionState.RUNNING, "send", b"", b"", NOW, worker="W", started_at=NOW)
SNAPSHOT = state_event("K", RECORD)


def live(**members: Any) -> ExecutionEvent:
    return cast("ExecutionEvent", {"type": "state", "key": "K", "state": ExecutionState.RUNNING, **members})


def test_a_record_as_an_event() -> None:
    found = state_event("K", RECORD)
    assert found == {
        "type": "state",
        "key": "K",
        "state": ExecutionState.RUNNING,
        "when": NOW.isoformat(),
        "worker": "W",
        "started_at": NOW.isoformat(),
        "completed_at": None,
        "error": None,
    }


def test_progress_as_an_event() -> None:
    unset = {"type": "progress", "key": "K", "current": None, "total": 100, "message": None, "updated_at": None}
    assert progress_event("K", None) == unset
    assert progress_event("K", ProgressRecord()) == {**unset, "current": 0}
    told = {**unset, "current": 3, "total": 7, "message": "m", "updated_at": NOW.isoformat()}
    assert progress_event("K", ProgressRecord(3, 7, "m", NOW)) == told


@pytest.mark.parametrize("payload", [b'{"type":"state","key":"K","state":"queued","when":"x"}'])
def test_a_state_keeps_the_members_that_it_has(payload: bytes) -> None:
    assert decode_event(payload) == {"type": "state", "key": "K", "state": ExecutionState.QUEUED, "when": "x"}


@pytest.mark.parametrize(
    "event",
    [
        live(worker="W", started_at=NOW.isoformat()),
        live(),
        live(when=NOW.isoformat()),
        # As a float holds it, or in the zone of whoever asked for it.
        live(when=(NOW + timedelta(microseconds=1)).isoformat()),
        live(when="2026-11-21T22:50:03.727689-05:00"),
    ],
)
def test_what_is_known_already(event: ExecutionEvent) -> None:
    assert tells_the_same(event, SNAPSHOT)
    assert tells_the_same(SNAPSHOT, event)


@pytest.mark.parametrize(
    "event",
    [
        live(worker="X"),
        live(state=ExecutionState.COMPLETED),
        live(started_at=(NOW + timedelta(microseconds=1)).isoformat()),
        live(when=(NOW + timedelta(milliseconds=1)).isoformat()),
        live(when="soon"),
        live(when="2026-11-22T03:50:03.727689"),
        live(when=5),
    ],
)
def test_what_is_news(event: ExecutionEvent) -> None:
    assert not tells_the_same(event, SNAPSHOT)
    assert not tells_the_same(event, None)
