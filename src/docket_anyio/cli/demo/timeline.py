"""The life of a task as a line of coloured cells."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio.cli.demo.journal import Entry, How

STYLES: Final = {
    ExecutionState.SCHEDULED: "blue",
    ExecutionState.QUEUED: "yellow",
    ExecutionState.RUNNING: "bold cyan",
    ExecutionState.COMPLETED: "green",
    ExecutionState.FAILED: "red",
    ExecutionState.CANCELLED: "magenta",
}
_SCHEDULED: Final = ("┈", STYLES[ExecutionState.SCHEDULED])
_QUEUED: Final = ("░", STYLES[ExecutionState.QUEUED])
_RUNS: Final = {
    How.RUNNING: ("█", "cyan"),
    How.SUCCEEDED: ("█", STYLES[ExecutionState.COMPLETED]),
    How.FAILED: ("█", STYLES[ExecutionState.FAILED]),
    How.TIMED_OUT: ("█", STYLES[ExecutionState.FAILED]),
    How.CANCELLED: ("█", STYLES[ExecutionState.CANCELLED]),
}
_ENDS: Final = {
    ExecutionState.COMPLETED: "✓",
    ExecutionState.FAILED: "✗",
    ExecutionState.CANCELLED: "⊘",
}


def legend() -> Text:
    """Return what the cells mean."""
    text = Text.assemble(_SCHEDULED, " scheduled  ", _QUEUED, " queued  ", _RUNS[How.RUNNING], " running")
    for state, mark in _ENDS.items():
        text.append("  ").append(mark, STYLES[state]).append(f" {state.value}")
    return text


def scale(width: int, seconds: int) -> Text:
    """Return the seconds above the cells."""
    line = ""
    for second in range(seconds):
        line = line.ljust(_cell(second, width, seconds)) + f"{second}s"
    return Text(line[:width].ljust(width), "dim")


def timeline(entry: Entry, now: float, width: int, seconds: int) -> Text:
    """Return the cells of a task, so many for so many seconds."""
    cells: list[tuple[str, str]] = [(" ", "")] * width

    def paint(began: float, ended: float, what: tuple[str, str]) -> None:
        last = max(began, min(ended, now, entry.ended))
        for index in range(_cell(began, width, seconds), _cell(last, width, seconds)):
            cells[index] = what

    for index, due in enumerate(entry.dues):
        began = entry.added if index == 0 else entry.runs[index - 1].ended
        ended = entry.runs[index].began if index < len(entry.runs) else now
        paint(began, min(due, ended), _SCHEDULED)
        paint(due, ended, _QUEUED)
    for run in entry.runs:
        paint(run.began, run.ended, _RUNS[run.how])
    if entry.state is not None:
        ended = min([entry.ended, *(run.ended for run in entry.runs[-1:])])
        cells[_cell(ended, width, seconds)] = (_ENDS[entry.state], f"bold {STYLES[entry.state]}")
    return Text.assemble(*cells)


def _cell(time: float, width: int, seconds: int) -> int:
    return min(width - 1, int(time / seconds * (width - 1)))
