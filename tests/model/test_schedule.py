"""When something is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from docket_anyio._model.schedule import cron_fields, jittered, next_cron, next_interval, spread
from docket_anyio.exceptions import InvalidSetting

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", datetime(2026, 11, 22, 12, 5, tzinfo=UTC)),
        ("@hourly", datetime(2026, 11, 22, 13, tzinfo=UTC)),
        ("@daily", datetime(2026, 11, 23, tzinfo=UTC)),
        ("@midnight", datetime(2026, 11, 23, tzinfo=UTC)),
        ("@weekly", datetime(2026, 11, 29, tzinfo=UTC)),
        ("@monthly", datetime(2026, 12, 1, tzinfo=UTC)),
        ("@yearly", datetime(2027, 1, 1, tzinfo=UTC)),
        ("@annually", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 9 * * 1", datetime(2026, 11, 23, 9, tzinfo=UTC)),
    ],
)
def test_cron(expression: str, expected: datetime) -> None:
    assert next_cron(cron_fields(expression), NOON, UTC) == expected


def test_cron_goes_by_the_clocks_of_its_time_zone() -> None:
    assert next_cron("0 9 * * *", NOON, NEW_YORK) == datetime(2026, 11, 22, 14, tzinfo=UTC)
    # The clocks go back on the 1st of November: nine in the morning is an hour later for the rest of the world.
    before = datetime(2026, 10, 31, 12, tzinfo=UTC)
    assert next_cron("0 9 * * *", before, NEW_YORK) == datetime(2026, 10, 31, 13, tzinfo=UTC)
    after = datetime(2026, 10, 31, 20, tzinfo=UTC)
    assert next_cron("0 9 * * *", after, NEW_YORK) == datetime(2026, 11, 1, 14, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["", "* * *", "61 * * * *", "@often", "0 0 30 2 *", "x * * * *"])
def test_what_is_no_crontab_expression(expression: str) -> None:
    with pytest.raises(InvalidSetting, match="no crontab expression that ever matches"):
        cron_fields(expression)


def test_an_interval_is_from_start_to_start() -> None:
    minute = timedelta(minutes=1)
    assert next_interval(minute, now=NOON, duration=timedelta(seconds=10)) == NOON + timedelta(seconds=50)
    assert next_interval(minute, now=NOON, duration=2 * minute) == NOON


def test_spread() -> None:
    hour = timedelta(hours=1)
    assert spread(1, start=NOON, over=hour) == [NOON + hour / 2]
    assert spread(3, start=NOON, over=hour) == [NOON, NOON + hour / 2, NOON + hour]
    assert spread(0, start=NOON, over=hour) == []


def test_jitter_never_goes_before_the_start() -> None:
    minute = timedelta(minutes=1)
    assert jittered([NOON, NOON + minute], shifts=[-1, 1], jitter=minute, start=NOON) == [NOON, NOON + 2 * minute]
