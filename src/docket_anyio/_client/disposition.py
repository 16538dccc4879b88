"""What came of an attempt to add a task."""

from __future__ import annotations

from enum import Enum


class Disposition(Enum):
    """What came of an attempt to add a task.

    ``LOADED``: none was made through this handle. ``SCHEDULED``: it was added. ``ALREADY_SCHEDULED``: one of its key
    waits or runs, and was left as it is. ``STRUCK``: a strike keeps it off the docket. ``FAILED``: Redis refused it;
    ``schedule_exception`` says why. ``SUPERSEDED``: its key was scheduled anew meanwhile, or has ended.
    """

    LOADED = "loaded"
    SCHEDULED = "scheduled"
    ALREADY_SCHEDULED = "already_scheduled"
    STRUCK = "struck"
    FAILED = "failed"
    SUPERSEDED = "superseded"
