"""How one attempt ended, or why it was not made. Which scope caught the cancellation decides it."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TypeAlias, assert_never

from attrs import frozen

from docket_anyio._model.admission import Deferred, Dropped, NotAdmitted, Parked


class CancelReason(Enum):
    """Why a run was told to stop."""

    USER = "cancelled"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease lost"
    SLOT_LOST = "slot lost"
    TIMEOUT = "timeout"


@frozen
class StopRequest:
    """Why a run is told to stop.

    Attributes:
        reason: The kind of reason.
        words: What who called ``docket.cancel()`` gave as the reason.
        grace: How long the body has to stop; ``None`` for as long as where it runs gives it.
    """

    reason: CancelReason
    words: str | None = None
    grace: timedelta | None = None


@frozen
class Succeeded:
    """The body returned, even if it had been told to stop. The result is pickled; ``None`` where it was ``None``."""

    result: bytes | None = None


@frozen
class Failed:
    """The body raised, could not be called, or left by a cancellation of its own."""

    error: Exception


@frozen
class TimedOut:
    """The body's own deadline stopped it."""

    error: TimeoutError


@frozen
class Cancelled:
    """``docket.cancel()`` stopped the body; ``reason`` is what was given as that."""

    reason: str | None = None


@frozen
class ShutDown:
    """The worker stopped the body because it had to leave."""


@frozen
class SlotLost:
    """The worker stopped the body because the slot of its ``ConcurrencyLimit`` had gone to another run."""


@frozen
class LeaseLost:
    """The delivery is no longer this worker's."""


Outcome: TypeAlias = Succeeded | Failed | TimedOut | Cancelled | ShutDown | SlotLost | LeaseLost | NotAdmitted


def cause(outcome: Outcome) -> str | None:
    """Return what stopped an attempt; ``None`` where it ended by itself, or never began."""
    match outcome:
        case Cancelled():
            return CancelReason.USER.value
        case ShutDown():
            return CancelReason.SHUTDOWN.value
        case LeaseLost():
            return CancelReason.LEASE_LOST.value
        case SlotLost():
            return CancelReason.SLOT_LOST.value
        case TimedOut():
            return "timed out"
        case Succeeded() | Failed() | Deferred() | Dropped() | Parked():
            return None
        case _:
            assert_never(outcome)
