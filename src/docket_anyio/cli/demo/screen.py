"""What the demo looks like on a terminal: a table that lives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from docket_anyio.cli.demo.journal import Entry, Journal, in_words
from docket_anyio.cli.demo.timeline import STYLES, legend, scale, timeline

_SECONDS: Final = 6
"""How many seconds the time line has at first. On a slow machine it grows."""
_TIME: Final = "time"
_WIDTHS: Final = {"task": 9, "what happens": 25, "state": 9, "tries": 5, "ran": 6, "result": 30}
_LAYOUTS: Final = (
    ("task", "what happens", _TIME, "state", "tries", "ran", "result"),
    ("task", _TIME, "state", "tries", "ran", "result"),
    ("task", _TIME, "state", "tries", "ran"),
    ("task", _TIME, "state"),
)
"""What to show, for terminals of less and less width."""
_LEAST_TIME, _MOST_TIME = 26, 48
_GAP: Final = 2


def dashboard(journal: Journal, concurrency: int, width: int) -> RenderableType:
    """Return everything as it stands now.

    Args:
        journal: What has happened.
        concurrency: How many slots the worker has.
        width: How many columns there are.
    """
    busy = journal.running()
    slots = Text.assemble("worker  ", ("●" * busy, "cyan"), ("○" * (concurrency - busy), "dim"))
    slots.append(f"  {busy} of {concurrency} slots busy")
    return Group(Text(), slots, Text(), _table(journal, width), Text(), legend(), Text())


def shows_results(width: int) -> bool:
    """Tell whether the table has room for what the tasks returned and raised."""
    return "result" in _fit(width)


def _table(journal: Journal, width: int) -> Table:
    now = journal.now()
    seconds = max(_SECONDS, math.ceil(now))
    columns = _fit(width)
    cells = columns[_TIME]
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for column, column_width in columns.items():
        heading = scale(cells, seconds) if column == _TIME else column
        table.add_column(heading, width=column_width, no_wrap=True, overflow="ellipsis")
    for entry in journal.entries.values():
        time = timeline(entry, now, cells, seconds)
        table.add_row(*(time if column == _TIME else _cell(entry, column, now) for column in columns))
    return table


def _fit(width: int) -> dict[str, int]:
    """Return the columns that fit, and how wide they are. The time line has what is left, then the results."""
    layout = next((each for each in _LAYOUTS if _spare(each, width) >= _LEAST_TIME), _LAYOUTS[-1])
    widths = {column: _WIDTHS.get(column, 0) for column in layout}
    spare = _spare(layout, width)
    widths[_TIME] = max(1, min(spare, _MOST_TIME))
    if "result" in widths:
        widths["result"] += spare - widths[_TIME]
    return widths


def _spare(layout: Sequence[str], width: int) -> int:
    return width - sum(_WIDTHS.get(column, 0) + _GAP for column in layout)


def _cell(entry: Entry, column: str, now: float) -> Text:
    phase = entry.phase(now)
    match column:
        case "task":
            return Text(entry.key)
        case "what happens":
            return Text(entry.shows, "dim")
        case "state":
            return Text(phase.value, STYLES[phase])
        case "tries":
            return Text(str(len(entry.runs) or ""))
        case "ran":
            return Text(f"{entry.ran_for(now):.2f} s" if entry.runs else "")
        case _:
            return Text("" if entry.state is None else in_words(entry.result), STYLES[phase])
