"""What is known about one key at one moment."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState


@frozen
class RunRecord:
    """The record of a key. The last five say how its last run went."""

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
