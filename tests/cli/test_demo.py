"""The demo: played once on each event loop, and its parts."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from docket_anyio import ExecutionCancelled, ExecutionState
from docket_anyio.cli.demo.journal import Entry, How, Journal, Run
from docket_anyio.cli.demo.screen import dashboard, shows_results
from docket_anyio.cli.demo.timeline import scale, timeline
from docket_anyio.cli.demo.verdict import EXPECTED, report
from docket_anyio.exceptions import TaskTimeout
from tests.cli.commands import Command, Commands

TOTALS = "12 tasks: 7 completed, 2 failed, 3 cancelled. 12 runs in "
GOOD = "Each task ended as it should."


def pass_over(time: float, key: str, words: str) -> None: ...


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def read_all(descriptor: int) -> str:
    """Read until the other side of a terminal is closed."""
    read = b""
    while True:
        try:
            more = os.read(descriptor, 65536)
        except OSError:  # what Linux makes of the end
            more = b""
        if not more:
            return read.decode()
        read += more


@pytest.mark.slow
def test_cut_short(commands: Commands) -> None:
    """By Ctrl-C, on two event loops, and because nobody reads on."""
    interrupted = [commands.start("demo", "--backend", backend) for backend in ("asyncio", "trio")]
    reading, writing = os.pipe()
    unread = commands.start("demo", stdout=writing)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    for each in interrupted:
        each.wait_output("starts")
        each.process.send_signal(signal.SIGINT)
        assert each.wait() == 130
        assert "Traceback" not in each.output()
    assert unread.wait() == 1
    assert unread.output() == ""


@pytest.mark.slow
def test_on_every_event_loop(commands: Commands) -> None:
    """Three at once: each takes some seconds, and little of a processor."""
    with terminal() as (ours, theirs):
        screen_like = {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40", "PYTHONIOENCODING": "utf-8"}
        lively = commands.start("demo", "--backend", "asyncio+uvloop", stdout=theirs, **screen_like)
        os.close(theirs)
        plain = [commands.start("demo", "--backend", backend) for backend in ("asyncio", "trio")]
        screen = read_all(ours)

    for each in plain:
        assert_played(each)
    assert lively.wait() == 0
    for part in (TOTALS, GOOD, "4 of 4 slots busy", "0 of 4 slots busy", "█", "✓", "✗", "⊘", "TaskTimeout"):
        assert part in screen


def assert_played(command: Command) -> None:
    assert command.wait() == 0
    output = command.output()
    assert TOTALS in output
    assert output.endswith(f"{GOOD}\n")
    for line in (
        "greet      completed after running ",
        "fetch      attempt 2 failed, again in ",
        "fetch      starts again, attempt 3",
        "report     failed after running ",
        "charge     failed after running ",
        "greet-bob  is cancelled by the producer while it is queued",
        "greet-bob  cancelled before it started",
        "renewal    is cancelled by the producer while it is scheduled",
        "broadcast  is cancelled by the producer while it is running",
        "broadcast  cancelled after running ",
    ):
        assert line in output
    assert output.isascii()


async def test_what_is_not_as_expected_is_told(anyio_backend: object) -> None:
    journal = Journal(pass_over)
    for key, expected in EXPECTED.items():
        result = {
            ValueError: ValueError(),
            TaskTimeout: TaskTimeout(),
            ExecutionCancelled: ExecutionCancelled("K"),
        }.get(
            expected.result,  # type: ignore[arg-type]
            expected.result,
        )
        runs = [Run(0.0, 0.5, How.SUCCEEDED) for _ in range(expected.attempts)]
        journal.entries[key] = Entry(key, 0.0, [0.0], "", runs, state=expected.state, ended=1.0, result=result)
    journal.most_at_once = 4
    assert report(journal, 4).problems == []

    del journal.entries["renewal"]
    journal.entries["fetch"].runs.pop()
    journal.entries["charge"].result = TypeError()
    journal.entries["greet"].state = ExecutionState.FAILED
    assert report(journal, 5).problems == [
        "the state of greet is 'failed', not 'completed'",
        "the number of runs of fetch is 2, not 3",
        "the result of charge is <class 'TypeError'>, not <class 'ValueError'>",
        "renewal was never added",
        "up to 4 tasks ran at once, not 5",
    ]


RETRIED = Entry(
    "fetch", 0.0, [1.0, 4.0], runs=[Run(2.0, 3.0, How.FAILED), Run(4.0)], state=ExecutionState.COMPLETED, ended=5.0
)


@pytest.mark.parametrize(
    ("entry", "now", "cells"),
    [
        (Entry("later", 0.0, [9.0]), 3.0, "┈┈┈┈┈┈       "),
        (Entry("queued", 1.0, [2.0]), 4.0, "  ┈┈░░░░     "),
        (Entry("runs", 0.0, [0.0], runs=[Run(1.0)]), 3.0, "░░████       "),
        (RETRIED, 6.0, "┈┈░░██┈┈██✓  "),
        (Entry("gone", 0.0, [9.0], state=ExecutionState.CANCELLED, ended=1.0), 6.0, "┈┈⊘          "),
    ],
    ids=lambda value: value.key if isinstance(value, Entry) else None,
)
def test_a_time_line(entry: Entry, now: float, cells: str) -> None:
    assert timeline(entry, now, width=13, seconds=6).plain == cells


def test_the_scale_of_a_time_line() -> None:
    assert scale(13, 6).plain == "0s1s2s3s4s5s "


@pytest.mark.parametrize("width", [40, 60, 80, 100, 130, 200])
async def test_the_screen_fits(anyio_backend: object, width: int) -> None:
    journal = Journal(pass_over)
    journal.entries["fetch"] = RETRIED
    console = Console(width=width, force_terminal=True)
    with console.capture() as captured:
        console.print(dashboard(journal, 4, width))
    assert "fetch" in captured.get()
    assert ("result" in captured.get()) == shows_results(width) == (width >= 100)
