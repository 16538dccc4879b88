"""ExecutionTasks: a task group for the body."""

from __future__ import annotations

from typing import Any, cast

from anyio import create_task_group
from anyio.abc import TaskGroup

from docket_anyio._injection.marker import Marker, OfThisProcess


class BodyTasks(Marker, OfThisProcess[Any]):
    """Says that the body wants a task group around it."""

    single = True

    def for_run(self, key: str, attempt: int) -> TaskGroup:  # noqa: ARG002 - a marker's signature
        """Return the group for one run, not entered yet."""
        return create_task_group()


def ExecutionTasks() -> TaskGroup:  # noqa: N802 - named like the other markers
    """Ask for a task group.

    ``async def fetch(urls: list[str], tasks: TaskGroup = ExecutionTasks()): ...``. The run ends when everything started
    in it has: that counts against the ``Timeout``, and is cancelled with the task. What fails in it fails the run, with
    an exception group; where the body alone fails, with the body's exception.
    """
    return cast("TaskGroup", cast("Any", BodyTasks()))
