"""What is on a docket at one moment, and who works on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage


@frozen
class WorkerInfo:
    """A worker that lives: when it was heard of last, and what it can run."""

    name: str
    last_seen: datetime
    tasks: frozenset[str]


@frozen
class Waiting:
    """A task that waits for its time, or for a worker."""

    message: TaskMessage
    state: ExecutionState


@frozen
class InHand:
    """A task that a worker has, and since when."""

    message: TaskMessage
    worker: str
    since: datetime


@frozen
class Survey:
    """The tasks of a docket. ``total`` counts also those that are not listed."""

    total: int
    waiting: Sequence[Waiting]
    in_hand: Sequence[InHand]


@frozen
class Depth:
    """How many tasks are due or run, and how many are for later."""

    due: int
    later: int


@frozen
class Standing:
    """What the record of a key says beside a message of it."""

    state: ExecutionState | None = None
    generation: int = 0
    started_at: datetime | None = None

    def is_over_for(self, message: TaskMessage) -> bool:
        """Tell whether the message will not run: it was cancelled or superseded while it waited."""
        if message.generation == 0:
            return self.state is ExecutionState.CANCELLED
        return self.state in {None, ExecutionState.CANCELLED} or self.generation > message.generation
