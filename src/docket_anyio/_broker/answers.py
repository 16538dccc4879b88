"""What goes into the transitions of a key, and what comes out."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._redis.transport import Reply
from docket_anyio.exceptions import NotHonoured


class Refusal(Enum):
    """Why a task was not added."""

    TAKEN = 0
    STALE = -1
    SUPERSEDED = -2


def scheduled(reply: Reply) -> int | Refusal | NotHonoured:
    """Return the generation, or why a task was not added."""
    match reply:
        case 0 | -1 | -2:
            return Refusal(reply)
        case int():
            return reply
        case [bytes(what), bytes(worker)]:
            return NotHonoured(what.decode(), worker.decode(errors="replace"))
        case _:
            raise TypeError(f"schedule answered {reply!r}")


class Answer(Enum):
    """What a script says of a delivery."""

    STARTED = b"started"
    SETTLED = b"settled"
    AGAIN = b"again"
    QUEUED = b"queued"
    SUPERSEDED = b"superseded"
    CANCELLED = b"cancelled"
    EXPIRED = b"expired"
    PAUSED = b"paused"
    GONE = b"gone"


@frozen
class Promotion:
    """How many tasks went to the stream, and when the next is due, in seconds since the epoch."""

    moved: int
    next_due: float | None


@frozen
class Ending:
    """How an execution ended, as it is recorded. ``result`` is pickled; ``result_key`` says where it is already.

    ``reason`` is why it was cancelled, in the words of whoever did that.

    Of a run that was superseded nothing is recorded. Its end is announced all the same, unless it is ``quiet``.
    """

    state: ExecutionState
    error: str | None = None
    reason: str | None = None
    result: bytes | None = None
    result_key: str | None = None
    quiet: bool = False
