"""Durations as people type them: ``5``, ``0.5s``, ``250ms``, ``5m``, ``2h``, ``01:30``, ``01:00:00``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import typer

_WITH_UNIT: Final = re.compile(r"(?P<number>\d+(\.\d+)?|\.\d+) ?(?P<unit>ms|s|m|h)?")
_WITH_COLONS: Final = re.compile(r"((?P<hours>\d+):(?=[0-5]\d:))?(?P<minutes>\d+):(?P<seconds>[0-5]\d(\.\d+)?)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_FORMS: Final = "write it as 5, 0.5s, 250ms, 5m, 2h, 01:30 or 01:00:00"


def parse_duration(text: str | timedelta) -> timedelta:
    """Read a duration. A number without a unit is of seconds; ``mm:ss`` and ``hh:mm:ss`` work too.

    Args:
        text: What was typed; a default, which is a duration already, is returned as it is.

    Raises:
        BadParameter: It is no duration, or a negative one.
    """
    if isinstance(text, timedelta):
        return text
    seconds = _seconds(text.strip())
    if seconds is None:
        raise typer.BadParameter(f"{text!r} is not a duration; {_FORMS}")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too long") from None


def parse_positive_duration(text: str | timedelta) -> timedelta:
    """Read a duration that is longer than nothing.

    Raises:
        BadParameter: It is not.
    """
    duration = parse_duration(text)
    if duration <= timedelta(0):
        raise typer.BadParameter("must be longer than zero")
    return duration


def _seconds(text: str) -> float | None:
    if match := _WITH_UNIT.fullmatch(text):
        return float(match["number"]) * _SECONDS[match["unit"] or "s"]
    if match := _WITH_COLONS.fullmatch(text):
        return int(match["hours"] or 0) * 3600 + int(match["minutes"]) * 60 + float(match["seconds"])
    return None
