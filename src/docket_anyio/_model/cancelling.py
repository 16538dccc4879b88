"""Requests to stop an execution, and what came of them."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.record import RunRecord


class Cancellation(Enum):
    """What came of ``docket.cancel()``.

    The last three are told where it was given a ``grace`` to wait for.
    """

    UNKNOWN = "unknown"
    """Nothing is known of the key, and nothing was changed."""
    NEVER_STARTED = "never started"
    """It waited, and will not start any more."""
    ALREADY_FINISHED = "already finished"
    """It had ended before, in whatever way, and nothing was changed."""
    REQUESTED = "requested"
    """It runs, and its worker is told to stop it."""
    STOPPED = "stopped"
    """It ran, and has been stopped."""
    FINISHED_FIRST = "finished first"
    """It ran, and its body ended by itself before it was stopped: it has completed or failed."""
    STILL_RUNNING = "still running"
    """It was told to stop, and has not ended within the grace."""


class Found(Enum):
    """Where a key stood when it was cancelled."""

    UNKNOWN = b"unknown"
    WAITING = b"waiting"
    ENDED = b"ended"
    RUNNING = b"running"


@frozen
class Words:
    """What who cancels a run tells it.

    Attributes:
        reason: Why.
        grace: How long its body has to stop; ``None`` for as long as where it runs gives it.
    """

    reason: str | None = None
    grace: timedelta | None = None


NO_WORDS = Words()


def came_of(record: RunRecord, generation: int) -> Cancellation | None:
    """Return what came of a request to stop a run, or ``None`` where it has not ended yet.

    Args:
        record: What is known of its key now.
        generation: That of the run.
    """
    if record.generation != generation:
        return Cancellation.REQUESTED  # the key was scheduled anew: nobody records the end of the run before
    if not record.state.terminal or record.cancelled_early:
        return None
    return Cancellation.STOPPED if record.state is ExecutionState.CANCELLED else Cancellation.FINISHED_FIRST
