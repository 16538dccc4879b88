"""What is announced about a key."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio.exceptions import CorruptMessage


@frozen
class StateChanged:
    """A key is in another state now."""

    key: str
    state: ExecutionState
    error: str | None = None


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
        return StateChanged(str(members["key"]), ExecutionState(members["state"]), members.get("error"))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptMessage(f"a state event that cannot be read: {payload[:200]!r}") from error
