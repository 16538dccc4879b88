"""Signals stop a worker that has the process to itself."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from anyio import TASK_STATUS_IGNORED, open_signal_receiver
from anyio.abc import TaskStatus

_LOGGER: Final = logging.getLogger("docket_anyio.worker")


async def stop_on_signals(
    stop: Callable[[timedelta | None], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
) -> None:
    """Drain on the first SIGTERM or SIGINT, cancel what runs on the second; the third does what it always does.

    Args:
        stop: Called with the grace that what runs is given; ``None`` for the worker's own.
        task_status: Told when signals are caught.
    """
    with open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        drain, cancel = "initiating graceful shutdown...", "cancelling what still runs..."
        for consequence, grace in ((drain, None), (cancel, timedelta(0))):
            received = await anext(signals)
            _LOGGER.info("Received %s, %s", received.name, consequence)
            stop(grace)
