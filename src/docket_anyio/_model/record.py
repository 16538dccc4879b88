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
    """The record of a key.

    From ``worker`` to ``result_key`` it says how its last run went; ``expires`` is until when it is to begin, and
    ``priority`` how urgent it is.
    ``cancel_requested`` is the generation of the run that was asked to stop last, with the reason and the grace that
    were given. ``cancelled_early`` tells that the state was only asked for: whoever runs it has not ended it yet.
    """

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
    cancel_requested: int | None = None
    cancel_reason: str | None = None
    cancel_grace: timedelta | None = None
    cancelled_early: bool = False

    @property
    def reason(self) -> str | None:
        """Why its execution was cancelled, if that was said."""
        return self.cancel_reason if self.cancel_requested == self.generation else None


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
