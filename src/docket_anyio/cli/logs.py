"""Where the log of a worker process goes: to stderr, coloured on a terminal."""

from __future__ import annotations

import logging
from typing import Final

import typer
from rich.console import Console
from rich.logging import RichHandler

_PLAIN: Final = "[%(asctime)s] %(levelname)s %(name)s: %(message)s"


LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def parse_level(text: str | int) -> int:
    """Read from which level on to log.

    Raises:
        BadParameter: There is no such level.
    """
    if isinstance(text, int):
        return text
    if text.upper() not in LEVELS:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(LEVELS)}")
    return logging.getLevelNamesMapping()[text.upper()]


def set_up_logging(level: int) -> None:
    """Show the log of this process on stderr."""
    console = Console(stderr=True)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, omit_repeated_times=False)
        logging.basicConfig(level=level, format="%(message)s", datefmt="[%X]", handlers=[handler])
    else:
        logging.basicConfig(level=level, format=_PLAIN)
