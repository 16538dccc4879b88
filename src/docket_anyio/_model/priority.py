"""Which of the tasks that are due a worker takes first."""

from __future__ import annotations

from enum import Enum

from docket_anyio.exceptions import InvalidSetting


class Priority(Enum):
    """How soon a task that is due is to begin, measured against the others that wait."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def check_priority(priority: Priority) -> Priority:
    """Return the priority that a user gave.

    Raises:
        InvalidSetting: It is none.
    """
    if not isinstance(priority, Priority):  # pyright: ignore[reportUnnecessaryIsInstance] - users may have no types
        raise InvalidSetting(f"priority is {priority!r}, and is to be one of {', '.join(map(str, Priority))}")
    return priority
