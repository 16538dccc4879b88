"""WorkerThread: the body runs in a thread of the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from docket_anyio._injection.library import Dependency
from docket_anyio._injection.marker import ExecutorRole
from docket_anyio.exceptions import InvalidTask


@frozen(eq=False)
class WorkerThread(ExecutorRole):
    """Run a plain function in a thread of the worker, which is where plain functions run anyway.

    Say so where it matters to who reads it: ``def shrink(path: str, thread: WorkerThread = WorkerThread()): ...``. An
    ``async def`` cannot run there.
    """

    def check_function(
        self,
        task: str,
        parameter: str,
        *,
        is_async: bool,
        asked: Mapping[str, Dependency[Any]],  # noqa: ARG002 - a thread has all that the worker has
    ) -> None:
        """Check that the function can run in a thread.

        Raises:
            InvalidTask: It is an ``async def``.
        """
        if is_async:
            raise InvalidTask(
                f"task {task!r}: {parameter!r} asks for a WorkerThread, and the task is an async def, which runs in "
                "the event loop: make it a plain def, or leave that out"
            )
