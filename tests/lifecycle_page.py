"""The page of the documentation about the life of a key: its table and its picture are drawn from the code.

``python -m tests.lifecycle_page`` draws them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from docket_anyio._model.lifecycle import TERMINAL, TRANSITIONS, ExecutionState, Step

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "lifecycle.md"
BEGIN, END = "<!-- drawn from the code by `python -m tests.lifecycle_page`: begin -->", "<!-- end -->"
STATES = (None, *ExecutionState)
# The script that does a step: `_broker/lua/<name>.lua`.
SCRIPTS = {
    Step.ADD_NOW: "schedule",
    Step.ADD_LATER: "schedule",
    Step.REPLACE_NOW: "schedule",
    Step.REPLACE_LATER: "schedule",
    Step.PROMOTE: "promote",
    Step.START: "start",
    Step.EXPIRE: "start",
    Step.COMPLETE: "settle",
    Step.FAIL: "settle",
    Step.STOP: "settle",
    Step.AGAIN_NOW: "again",
    Step.AGAIN_LATER: "again",
    Step.HAND_BACK: "hand_back",
    Step.PARK: "take_slot",
    Step.WAKE: "wake_waiters",
    Step.CANCEL: "cancel",
    Step.CLEAR: "clear",
}
# They lead from everywhere to the same two states; the picture would be nothing but their arrows.
ANEW = {Step.ADD_NOW, Step.ADD_LATER, Step.REPLACE_NOW, Step.REPLACE_LATER}


def drawn() -> str:
    """Return the part of the page that the code decides on."""
    return "\n\n".join([BEGIN, "\n".join(_picture()), "\n".join(_table()), "\n".join(_scripts()), END])


def written(page: str) -> str:
    """Return that part of a page."""
    return page[page.index(BEGIN) : page.index(END) + len(END)]


def redraw(page: str) -> str:
    """Return a page with that part drawn anew."""
    return page.replace(written(page), drawn())


def _picture() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    arrows: dict[tuple[ExecutionState | None, ExecutionState], list[str]] = {}
    for (origin, step), target in TRANSITIONS.items():
        first = origin is None and step in {Step.ADD_NOW, Step.ADD_LATER}
        if first or (origin is not None and step not in ANEW and origin is not target):
            arrows.setdefault((origin, target), []).append(step.value)
    for (origin, target), steps in arrows.items():
        # A colon begins the label, and only one may.
        label = " / ".join(step.replace(": ", " ") for step in steps)
        yield f"    {_node(origin)} --> {_node(target)} : {label}"
    for state in ExecutionState:
        if state in TERMINAL:
            yield f"    {_node(state)} --> [*]"
    yield "```"


def _table() -> Iterator[str]:
    yield "| step | " + " | ".join(_name(state) for state in STATES) + " |"
    yield "|---" * (len(STATES) + 1) + "|"
    for step in Step:
        targets = [TRANSITIONS.get((state, step)) for state in STATES]
        yield f"| {step.value} | " + " | ".join("·" if each is None else each.value for each in targets) + " |"


def _scripts() -> Iterator[str]:
    yield "| script | what it does | the steps |"
    yield "|---|---|---|"
    for name in dict.fromkeys(SCRIPTS[step] for step in Step):
        header = (files("docket_anyio._broker") / "lua" / f"{name}.lua").read_text("utf-8").split("\n")[0]
        steps = "; ".join(step.value for step in Step if SCRIPTS[step] == name)
        yield f"| `{name}.lua` | {header.removeprefix(f'-- {name}: ')} | {steps} |"


def _node(state: ExecutionState | None) -> str:
    return "[*]" if state is None else state.value


def _name(state: ExecutionState | None) -> str:
    return "(nothing)" if state is None else state.value


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text("utf-8")), "utf-8")
