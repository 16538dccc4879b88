"""What goes wrong on the command line, told in one line on stderr, and as an exit code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

import typer

from docket_anyio.exceptions import DocketError, DuplicateTask, InvalidSetting, InvalidTask, InvalidURL

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2

_LOGGER: Final = logging.getLogger("docket_anyio.cli")
_USAGE_ERRORS: Final = (DuplicateTask, InvalidSetting, InvalidTask, InvalidURL)


def complain(message: str) -> None:
    """Say in one line what is wrong."""
    print("docket-anyio:", " ".join(message.split()), file=sys.stderr)


@contextmanager
def complaints() -> Generator[None]:
    """Turn our own exceptions into a line and an exit code: 2 for what was asked wrongly, 1 for what went wrong.

    The log has the traceback, on level DEBUG.

    Raises:
        Exit: With that code.
    """
    try:
        yield
    except DocketError as error:
        _complain_about(error)
        raise typer.Exit(USAGE if isinstance(error, _USAGE_ERRORS) else FAILED) from error
    except ExceptionGroup as group:
        ours, others = group.split(DocketError)
        if ours is None or others is not None:
            raise
        # Several services of a worker have met with a trouble at once.
        _complain_about(*_flat(ours))
        raise typer.Exit(FAILED) from group


def _complain_about(*errors: Exception) -> None:
    for error in errors:
        _LOGGER.debug("What went wrong:", exc_info=error)
    for line in dict.fromkeys(map(str, errors)):
        complain(line)


def _flat(group: ExceptionGroup[DocketError]) -> Iterator[DocketError]:
    for each in group.exceptions:
        if isinstance(each, DocketError):
            yield each
        else:
            yield from _flat(each)
