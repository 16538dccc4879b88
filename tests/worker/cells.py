"""The matrix of cancellation: what makes a body stop, how it takes it, and the one outcome that there is then.

``python -m tests.worker.cells`` writes the table of the documentation anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from docket_anyio.abc import Cancelled, Failed, Finish, HandBack, Outcome, Settlement, ShutDown, Succeeded, TimedOut
from docket_anyio.exceptions import StrayCancellation, TaskTimeout
from tests.worker.bodies import KINDS, Manner

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "cancellation.md"
BEGIN, END = "<!-- written by `python -m tests.worker.cells`: begin -->", "<!-- end -->"


@frozen
class Cell:
    """One cause, and what comes of it wherever the body runs and on whatever event loop.

    Attributes:
        words: The cause, for the documentation.
        causes: What happens to the run, in order.
        manner: How the body takes it.
        outcome: The outcome.
        settlement: What follows.
        error: What it has failed with.
        follows: What follows, for the documentation.
    """

    words: str
    causes: tuple[Literal["timeout", "cancel", "stop", "host"], ...]
    manner: Manner
    outcome: type[Outcome]
    settlement: type[Settlement]
    follows: str
    error: type[BaseException] | None = None


CELLS: Final = {
    "cancel": Cell("`docket.cancel()`", ("cancel",), "obey", Cancelled, Finish, "cancelled"),
    "timeout": Cell("its `Timeout` has passed", ("timeout",), "obey", TimedOut, Finish, "failed", TaskTimeout),
    "stop": Cell("SIGTERM, or `worker.stop()`, and its grace is over", ("stop",), "obey", ShutDown, HandBack, "queued"),
    "host": Cell("whoever runs the worker is cancelled", ("host",), "obey", ShutDown, HandBack, "queued"),
    "stray": Cell("a cancellation of the body's own", (), "stray", Failed, Finish, "failed", StrayCancellation),
    "finishes": Cell("told to stop, and it finishes anyway", ("stop",), "finish", Succeeded, Finish, "completed"),
    "raises": Cell("told to stop, and its clean-up raises", ("stop",), "fail", Failed, Finish, "failed", ValueError),
    "two at once": Cell(
        "`Timeout` and `docket.cancel()` before it looks",
        ("timeout", "cancel"),
        "dawdle",
        Cancelled,
        Finish,
        "cancelled",
    ),
}


def drawn() -> str:
    """Return the part of the page that the matrix decides on."""
    return "\n".join([BEGIN, "", *_table(), "", END])


def written(page: str) -> str:
    """Return that part of a page."""
    return page[page.index(BEGIN) : page.index(END) + len(END)]


def _table() -> Iterator[str]:
    yield f"| what happens | {' | '.join(KINDS)} | the task is then |"
    yield "|---" * (len(KINDS) + 2) + "|"
    for cell in CELLS.values():
        error = "" if cell.error is None else f" (`{cell.error.__name__}`)"
        outcomes = " | ".join([f"`{cell.outcome.__name__}`{error}"] * len(KINDS))
        yield f"| {cell.words} | {outcomes} | {cell.follows} |"


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    PAGE.write_text(page.replace(written(page), drawn()), "utf-8")
