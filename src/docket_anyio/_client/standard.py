"""The tasks that every docket knows."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

import anyio
from anyio.lowlevel import checkpoint

_LOGGER: Final = logging.getLogger("docket_anyio.tasks")


async def trace(message: str) -> None:
    """Log a message."""
    await checkpoint()
    _LOGGER.info("%s", message)


async def fail(message: str) -> None:
    """Fail.

    Raises:
        RuntimeError: Always, with the message.
    """
    raise RuntimeError(message)


async def sleep(seconds: float) -> None:
    """Sleep for so many seconds."""
    _LOGGER.info("Sleeping for %s", timedelta(seconds=seconds))
    await anyio.sleep(seconds)


async def default_fallback_task(*_args: object, **_kwargs: object) -> None:
    """Take the place of a task that a worker does not know: do nothing, so that its message does not come again."""
    await checkpoint()


STANDARD_TASKS: Final = (trace, fail, sleep)
