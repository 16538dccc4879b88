"""Checks that options share."""

from __future__ import annotations

from datetime import datetime, timedelta

from docket_anyio.exceptions import InvalidSetting, InvalidTime


def check_positive(name: str, value: timedelta) -> timedelta:
    """Return a duration that must be longer than nothing.

    Raises:
        InvalidSetting: It is zero or negative.
    """
    if value <= timedelta(0):
        raise InvalidSetting(f"{name} must be longer than zero, not {value}")
    return value


def check_milliseconds(name: str, value: timedelta) -> timedelta:
    """Return a duration that Redis has to be able to count.

    Raises:
        InvalidSetting: It is shorter than a millisecond.
    """
    if value < timedelta(milliseconds=1):
        raise InvalidSetting(f"{name} must be at least a millisecond, not {value}")
    return value


def check_not_negative(name: str, value: timedelta) -> timedelta:
    """Return a duration that may be zero.

    Raises:
        InvalidSetting: It is negative.
    """
    if value < timedelta(0):
        raise InvalidSetting(f"{name} must not be negative, but is {value}")
    return value


def check_at_least(name: str, value: int, least: int) -> int:
    """Return a number that must not be below ``least``.

    Raises:
        InvalidSetting: It is.
    """
    if value < least:
        raise InvalidSetting(f"{name} must be at least {least}, not {value}")
    return value


def check_aware(name: str, value: datetime) -> datetime:
    """Return a time that has a time zone.

    Raises:
        InvalidTime: It has none.
    """
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidTime(f"{name} is {value!r}, which has no time zone; use datetime.now(UTC) or the like")
    return value
