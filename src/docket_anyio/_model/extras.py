"""What our workers can do and pydocket's cannot, although they share a docket."""

from __future__ import annotations

from enum import Enum


class Extra(Enum):
    """Something that holds only where every worker of a docket honours it. Ours say so with each heartbeat."""

    EXPIRY = "expiry"
    PAUSE = "pause"
    PRIORITY = "priority"
    CANCEL = "cancel"
