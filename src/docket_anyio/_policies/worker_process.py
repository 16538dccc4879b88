"""WorkerProcess: the body runs in a process of its worker's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from attrs import field, frozen

from docket_anyio._injection.library import Dependency
from docket_anyio._injection.marker import ExecutorRole, OfThisProcess
from docket_anyio._model.settings import check_at_least, check_not_negative
from docket_anyio.exceptions import InvalidTask


@frozen(eq=False)
class WorkerProcess(ExecutorRole):
    """Run the body in another process, so that what it computes takes nothing away from other tasks.

    Give it as a parameter's default: ``def shrink(path: str, process: WorkerProcess = WorkerProcess()): ...``. A plain
    function runs in a thread there, an ``async def`` in an event loop of the worker's kind. The processes are the
    worker's, are kept, and run one body at a time each. What the body is called with and what it returns is pickled.

    Args:
        grace: How long the body may take to stop when it is told to, before its process is killed; who cancels it may
            say something else.
        max_tasks: Replace the process once it has run so many bodies; never where it is left out.
        max_memory: Replace the process when it holds more bytes of memory after the body.

    Raises:
        InvalidSetting: ``grace`` is negative, or a maximum is below 1.
    """

    grace: timedelta = timedelta(seconds=5)
    max_tasks: int | None = field(default=None, kw_only=True)
    max_memory: int | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_not_negative("the grace of a WorkerProcess", self.grace)
        for name, value in (("max_tasks", self.max_tasks), ("max_memory", self.max_memory)):
            if value is not None:
                check_at_least(f"the {name} of a WorkerProcess", value, 1)

    def check_function(
        self,
        task: str,
        parameter: str,
        *,
        is_async: bool,  # noqa: ARG002 - either will do
        asked: Mapping[str, Dependency[Any]],
    ) -> None:
        """Check that the function can run in another process.

        Raises:
            InvalidTask: It asks for what cannot leave this one.
        """
        for name, each in asked.items():
            if isinstance(each, OfThisProcess):
                raise InvalidTask(
                    f"task {task!r}: {parameter!r} asks for a WorkerProcess, where {name!r} cannot be had: it has to "
                    "stay in the process of the worker"
                )
