from __future__ import annotations

from datetime import timedelta

import pytest
import typer

from docket_anyio.cli.durations import parse_duration, parse_positive_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("5", timedelta(seconds=5)),
        ("0", timedelta(0)),
        ("0.5", timedelta(milliseconds=500)),
        ("5s", timedelta(seconds=5)),
        ("0.5s", timedelta(milliseconds=500)),
        (".5s", timedelta(milliseconds=500)),
        ("250ms", timedelta(milliseconds=250)),
        ("1.5ms", timedelta(microseconds=1500)),
        ("5m", timedelta(minutes=5)),
        ("5 m", timedelta(minutes=5)),
        (" 2h ", timedelta(hours=2)),
        ("1.5h", timedelta(minutes=90)),
        ("01:30", timedelta(minutes=1, seconds=30)),
        ("90:00", timedelta(minutes=90)),
        ("0:00.5", timedelta(milliseconds=500)),
        ("01:00:00", timedelta(hours=1)),
        ("36:00:01", timedelta(hours=36, seconds=1)),
    ],
)
def test_what_is_a_duration(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "abc",
        "-3",
        "-0.5s",
        "5d",
        "5sec",
        "1e3",
        "nan",
        "inf",
        "1:5",
        "01:60",
        "1:02:3",
        "1:60:00",
        "5 5",
        "1,5s",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration; write it as"):
        parse_duration(text)


def test_too_long() -> None:
    with pytest.raises(typer.BadParameter, match="is too long"):
        parse_duration("9" * 30 + "h")


def test_a_default_is_a_duration_already() -> None:
    assert parse_duration(timedelta(seconds=3)) == timedelta(seconds=3)


@pytest.mark.parametrize("text", ["0", "0ms", "00:00"])
def test_some_must_be_longer_than_nothing(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be longer than zero"):
        parse_positive_duration(text)
    assert parse_positive_duration("1ms") == timedelta(milliseconds=1)
