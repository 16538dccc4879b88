"""Checks that options share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from docket_anyio._model.settings import check_at_least, check_aware, check_not_negative, check_positive
from docket_anyio.exceptions import InvalidSetting, InvalidTime

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("value", [SECOND, timedelta(microseconds=1), timedelta.max])
def test_a_positive_duration(value: timedelta) -> None:
    assert check_positive("pause", value) == value


@pytest.mark.parametrize("value", [timedelta(0), -SECOND])
def test_no_positive_duration(value: timedelta) -> None:
    with pytest.raises(InvalidSetting, match=f"pause must be longer than zero, not {value}"):
        check_positive("pause", value)


@pytest.mark.parametrize("value", [SECOND, timedelta(0)])
def test_a_duration_that_may_be_zero(value: timedelta) -> None:
    assert check_not_negative("pause", value) == value


def test_a_negative_duration() -> None:
    with pytest.raises(InvalidSetting, match="pause must not be negative, but is"):
        check_not_negative("pause", -SECOND)


@pytest.mark.parametrize("value", [3, 4])
def test_a_number_that_is_large_enough(value: int) -> None:
    assert check_at_least("slots", value, 3) == value


@pytest.mark.parametrize("value", [2, 0, -1])
def test_a_number_that_is_too_small(value: int) -> None:
    with pytest.raises(InvalidSetting, match=f"slots must be at least 3, not {value}"):
        check_at_least("slots", value, 3)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-5))])
def test_a_time_with_a_zone(zone: timezone) -> None:
    when = datetime(2026, 11, 22, tzinfo=zone)
    assert check_aware("when", when) is when


def test_a_time_without_a_zone() -> None:
    with pytest.raises(InvalidTime, match=r"when is datetime.* which has no time zone; use datetime.now\(UTC\)"):
        check_aware("when", datetime(2026, 11, 22))  # noqa: DTZ001 - the point


def test_the_errors_have_bases_of_the_standard_library() -> None:
    assert issubclass(InvalidSetting, ValueError)
    assert issubclass(InvalidTime, TypeError)
