"""What is announced about a key."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NotRequired, TypeAlias, TypedDict, cast

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.record import ProgressRecord, RunRecord
from docket_anyio.exceptions import CorruptMessage

# The same time as a number of seconds, as Lua writes it, and as text.
_SAME_TIME: Final = timedelta(milliseconds=1)


class StateEvent(TypedDict):
    """A state that an execution has come to. Times are in the ISO format.

    The first one that a subscription gives has all members; others have those that belong to the state. ``reason`` is
    there where it was cancelled and a reason was given.
    """

    type: Literal["state"]
    key: str
    state: ExecutionState
    when: NotRequired[str]
    worker: NotRequired[str | None]
    started_at: NotRequired[str | None]
    completed_at: NotRequired[str | None]
    error: NotRequired[str | None]
    reason: NotRequired[str]


class ProgressEvent(TypedDict):
    """How far an execution has come. ``current`` is ``None`` where nobody has said."""

    type: Literal["progress"]
    key: str
    current: int | None
    total: int
    message: str | None
    updated_at: str | None


ExecutionEvent: TypeAlias = StateEvent | ProgressEvent


@frozen
class StateChanged:
    """A key is in another state now."""

    key: str
    state: ExecutionState
    error: str | None = None
    reason: str | None = None


def encode_state_event(key: str, state: ExecutionState, **details: str | None) -> str:
    """Return the payload of a state event; details that are ``None`` are left out."""
    known = {name: value for name, value in details.items() if value is not None}
    return json.dumps({"type": "state", "key": key, "state": state.value, **known})


def decode_state_event(payload: bytes) -> StateChanged:
    """Return the event in a payload, whoever wrote it.

    Raises:
        CorruptMessage: It is not the payload of a state event.
    """
    try:
        members: dict[str, Any] = json.loads(payload)
        return StateChanged(
            str(members["key"]), ExecutionState(members["state"]), members.get("error"), members.get("reason")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptMessage(f"a state event that cannot be read: {payload[:200]!r}") from error


def decode_event(payload: bytes) -> ExecutionEvent:
    """Return the state or progress event in a payload, whoever wrote it.

    Raises:
        CorruptMessage: It is neither.
    """
    try:
        members: dict[str, Any] = json.loads(payload)
        match members["type"]:
            case "state":
                return cast("StateEvent", {**members, "state": ExecutionState(members["state"])})
            case "progress":
                return ProgressEvent(
                    type="progress",
                    key=members["key"],
                    current=members["current"],
                    total=members["total"],
                    message=members["message"],
                    updated_at=members["updated_at"],
                )
            case kind:
                raise ValueError(kind)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptMessage(f"an event that cannot be read: {payload[:200]!r}") from error


def state_event(key: str, record: RunRecord) -> StateEvent:
    """Return what a record says, as an event."""
    event = StateEvent(
        type="state",
        key=key,
        state=record.state,
        when=record.when.isoformat(),
        worker=record.worker,
        started_at=_iso(record.started_at),
        completed_at=_iso(record.completed_at),
        error=record.error,
    )
    if record.state is ExecutionState.CANCELLED and record.reason is not None:
        event["reason"] = record.reason
    return event


def progress_event(key: str, progress: ProgressRecord | None) -> ProgressEvent:
    """Return how far a key has come, as an event."""
    known = ProgressRecord() if progress is None else progress
    return ProgressEvent(
        type="progress",
        key=key,
        current=None if progress is None else known.current,
        total=known.total,
        message=known.message,
        updated_at=_iso(known.updated_at),
    )


def tells_the_same(event: ExecutionEvent, last: ExecutionEvent | None) -> bool:
    """Tell whether an event repeats the one before: as far as both say something, they agree."""
    if last is None:
        return False
    new, known = cast("dict[str, object]", event), cast("dict[str, object]", last)
    common = (new.keys() & known.keys()) - {"when"}
    return all(new[name] == known[name] for name in common) and _same_time(new.get("when"), known.get("when"))


def _same_time(one: object, other: object) -> bool:
    if one == other or not isinstance(one, str) or not isinstance(other, str):
        return one is None or other is None or one == other
    try:
        return abs(datetime.fromisoformat(one) - datetime.fromisoformat(other)) < _SAME_TIME
    except (ValueError, TypeError):
        return False


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
