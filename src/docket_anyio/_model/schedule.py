"""When something is due: pure functions of a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Final

from cronsim import CronSim, CronSimError

from docket_anyio.exceptions import InvalidSetting

_NAMES: Final = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)


def cron_fields(expression: str) -> str:
    """Return a crontab line as its five fields, a name such as ``@daily`` written out.

    Raises:
        InvalidSetting: It is neither, or it never matches.
    """
    fields = _NAMES.get(expression, expression)
    try:
        # Looking for a match finds out the 30th of February, too.
        next(CronSim(fields, datetime(2024, 1, 1)))  # noqa: DTZ001 - any time does
    except (CronSimError, StopIteration) as error:
        raise InvalidSetting(f"{expression!r} is no crontab expression that ever matches: {error}") from error
    return fields


def next_cron(fields: str, after: datetime, tz: tzinfo) -> datetime:
    """Return the next time after ``after`` that matches, as the clocks of ``tz`` show it.

    An hour that the clocks leave out or show twice is handled as Debian's cron does (cronsim's documentation).
    """
    return next(CronSim(fields, after.astimezone(tz)))


def next_interval(every: timedelta, *, now: datetime, duration: timedelta) -> datetime:
    """Return when the next run is due, ``every`` after the start of one that took ``duration`` and has just ended."""
    return max(now, now + every - duration)


def spread(count: int, *, start: datetime, over: timedelta) -> list[datetime]:
    """Return ``count`` times evenly from ``start`` to ``start + over``, both included; a single one in the middle.

    Args:
        count: How many.
        start: The first.
        over: How long after it the last is.
    """
    if count == 1:
        return [start + over / 2]
    return [start + over * (index / (count - 1)) for index in range(count)]


def jittered(
    times: Sequence[datetime], *, shifts: Sequence[float], jitter: timedelta, start: datetime
) -> list[datetime]:
    """Return the times moved by a part of ``jitter``, none before ``start``.

    Args:
        times: What to move.
        shifts: A number from -1 to 1 for each.
        jitter: By how much at most.
        start: The earliest there may be.
    """
    return [max(start, when + jitter * shift) for when, shift in zip(times, shifts, strict=True)]
