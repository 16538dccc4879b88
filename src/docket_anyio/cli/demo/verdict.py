"""How the demo is to end, and whether it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio.cli.demo.journal import Entry, Journal, in_words
from docket_anyio.exceptions import ExecutionCancelled, TaskTimeout


@frozen
class Expected:
    """How one task is to end. ``result`` is what it returns, or the class of what it raises."""

    state: ExecutionState
    attempts: int
    result: object


_CANCELLED: Final = ExecutionState.CANCELLED
_COMPLETED: Final = ExecutionState.COMPLETED
_FAILED: Final = ExecutionState.FAILED

_HEADING: Final = f"{'task':<10} {'state':<10} {'tries':>5} {'ran':>7}  result"

EXPECTED: Final[Mapping[str, Expected]] = MappingProxyType(
    {
        "greet": Expected(_COMPLETED, 1, "Hello, Ann!"),
        "fetch": Expected(_COMPLETED, 3, "200 OK"),
        "report": Expected(_FAILED, 1, TaskTimeout),
        "charge": Expected(_FAILED, 1, ValueError),
        "resize-1": Expected(_COMPLETED, 1, "1.jpg resized"),
        "resize-2": Expected(_COMPLETED, 1, "2.jpg resized"),
        "resize-3": Expected(_COMPLETED, 1, "3.jpg resized"),
        "resize-4": Expected(_COMPLETED, 1, "4.jpg resized"),
        "broadcast": Expected(_CANCELLED, 1, ExecutionCancelled),
        "greet-bob": Expected(_CANCELLED, 0, ExecutionCancelled),
        "greet-eve": Expected(_COMPLETED, 1, "Hello, Eve!"),
        "renewal": Expected(_CANCELLED, 0, ExecutionCancelled),
    }
)


@frozen
class Report:
    """How it went.

    ``lines`` has one on each task: its state, how often and how long it ran, and its result or exception. ``problems``
    is what did not end as it should.
    """

    lines: list[str]
    totals: str
    problems: list[str]


def report(journal: Journal, concurrency: int) -> Report:
    """Compare what has happened with what should have."""
    now = journal.now()
    problems = [each for key, expected in EXPECTED.items() for each in _problems_of(key, expected, journal)]
    if journal.most_at_once != concurrency:
        problems.append(f"up to {journal.most_at_once} tasks ran at once, not {concurrency}")
    return Report([_HEADING, *(_line(entry, now) for entry in journal.entries.values())], _totals(journal), problems)


def _line(entry: Entry, now: float) -> str:
    ran = f"{entry.ran_for(now):.2f} s" if entry.runs else "-"
    result = "-" if entry.state is None else in_words(entry.result)
    return f"{entry.key:<10} {entry.phase(now).value:<10} {len(entry.runs):>5} {ran:>7}  {result}"


def _totals(journal: Journal) -> str:
    entries, now = journal.entries.values(), journal.now()
    states = Counter(entry.phase(now) for entry in entries)
    counts = ", ".join(f"{states[state]} {state.value}" for state in ExecutionState if states[state])
    runs = sum(len(entry.runs) for entry in entries)
    return f"{len(entries)} tasks: {counts}. {runs} runs in {now:.1f} s, up to {journal.most_at_once} at once."


def _problems_of(key: str, expected: Expected, journal: Journal) -> list[str]:
    entry = journal.entries.get(key)
    if entry is None:
        return [f"{key} was never added"]
    result = type(entry.result) if isinstance(expected.result, type) else entry.result
    found = (
        ("state", entry.phase(journal.now()).value, expected.state.value),
        ("number of runs", len(entry.runs), expected.attempts),
        ("result", result, expected.result),
    )
    return [f"the {what} of {key} is {actual!r}, not {wanted!r}" for what, actual, wanted in found if actual != wanted]
