"""What a process of the pool logs and prints, done by its worker."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from docket_anyio._executors.frames import Log
from docket_anyio._model.codec import load
from docket_anyio.exceptions import CorruptMessage


def handle_record(log: Log) -> None:
    """Let the logger of the same name handle a record."""
    logger = logging.getLogger(log.logger)
    if not logger.isEnabledFor(log.level):
        return
    try:
        record = logging.makeLogRecord(load(log.record, "a log record"))
    except CorruptMessage:
        logger.log(log.level, "%s", log.text)
    else:
        logger.handle(record)


def print_output(data: bytes) -> None:
    """Print what was printed."""
    with suppress(OSError, ValueError, AttributeError):  # standard output is closed, or there is none
        sys.stdout.write(data.decode(errors="backslashreplace"))
