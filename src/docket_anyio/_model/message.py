"""Messages: a task that was asked for, and the same in a worker's hands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from types import MappingProxyType

from attrs import frozen

from docket_anyio._model.priority import Priority

NO_HEADERS: Mapping[str, bytes] = MappingProxyType({})


@frozen
class TaskMessage:
    """A task as it was asked for. The arguments stay pickled until a run needs them."""

    key: str
    task: str
    when: datetime
    args: bytes
    kwargs: bytes
    attempt: int = 1
    generation: int = 0  # 0 means: from before generations were counted, never superseded
    headers: Mapping[str, bytes] = NO_HEADERS
    expires: datetime | None = None  # known to who adds it; stands in the record, since pydocket would lose a field
    priority: Priority = Priority.NORMAL

    @property
    def result_key(self) -> str:
        """Where its result is kept (WIRE section 10)."""
        return f"{self.key}:{self.generation}"

    @property
    def labels(self) -> Mapping[str, str | int]:
        """What spans and log lines of its runs are labelled with."""
        return labels_of_call(self.task, self.key, self.when, self.attempt)


@frozen
class Delivery:
    """A message in one worker's hands, until it is settled or its lease runs out."""

    receipt: bytes
    message: TaskMessage
    redelivered: bool = False


def labels_of_call(task: str, key: str, when: datetime, attempt: int) -> Mapping[str, str | int]:
    """Return what spans and log lines of a call are labelled with."""
    return {"docket.task": task, "docket.key": key, "docket.when": when.isoformat(), "docket.attempt": attempt}


class DropReason(Enum):
    """Why a delivery was not run."""

    STRICKEN = "stricken"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    GONE = "gone"
    ENOUGH = "has run as often as it may"
    HANDED_BACK = "handed back"


@frozen
class Undecodable:
    """A stream entry that is no message, and why not."""

    receipt: bytes
    problem: str
