"""What a body can ask about the worker that runs it."""

from __future__ import annotations

import logging
from typing import Any, cast

from docket_anyio._client.current import current_docket, current_execution
from docket_anyio._injection.marker import OfOneRun, OfThisProcess
from docket_anyio._worker.worker import Worker, current_worker


class _CurrentWorker(OfThisProcess[Worker]):
    async def __aenter__(self) -> Worker:  # noqa: ASYNC910 - nothing to wait for
        return current_worker.get()


class _TaskLogger(OfOneRun["logging.LoggerAdapter[logging.Logger]"]):
    async def __aenter__(self) -> logging.LoggerAdapter[logging.Logger]:  # noqa: ASYNC910 - nothing to wait for
        execution = current_execution.get()
        labels: dict[str, object] = {
            **current_docket.get().labels(),
            **current_worker.get().labels(),
            **execution.specific_labels(),
        }
        return logging.LoggerAdapter(logging.getLogger(f"docket.task.{execution.function_name}"), labels)


def CurrentWorker() -> Worker:  # noqa: N802 - pydocket's name
    """Ask for the worker that runs the task.

    ``async def drain(worker: Worker = CurrentWorker()): worker.stop()``
    """
    return cast("Worker", _CurrentWorker())


def TaskLogger() -> logging.LoggerAdapter[logging.Logger]:  # noqa: N802 - pydocket's name
    """Ask for a logger whose lines carry the names of the docket, the worker and the task, as ``extra``.

    It is ``docket.task.<name>``, as pydocket has it.
    """
    return cast("logging.LoggerAdapter[logging.Logger]", cast("Any", _TaskLogger()))
