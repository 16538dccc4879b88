"""What is known about one key at one moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.priority import Priority

# What makes an execution that has expired differ from one that was cancelled: on the wire both are cancelled.
EXPIRED: Final = "ExecutionExpired: it had not begun when it expired"


@frozen
class RunRecord:
    """The record of a key. The last seven say how its last run went, until when it is to begin, how urgent it is."""

    state: ExecutionState
    task: str
    args: bytes
    kwargs: bytes
    when: datetime
    generation: int = 0
    worker: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    result_key: str | None = None
    expires: datetime | None = None
    priority: Priority = Priority.NORMAL


@frozen
class ProgressRecord:
    """How far the run of a key has come, as its body tells."""

    current: int = 0
    total: int = 100
    message: str | None = None
    updated_at: datetime | None = None


def seconds_to_live(execution_ttl: timedelta) -> int:
    """Return for how many seconds a record is kept after the end; zero for not at all."""
    # Whole seconds on the wire; less than one must not become "keep nothing".
    return 0 if not execution_ttl else max(1, int(execution_ttl.total_seconds()))
