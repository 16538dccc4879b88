"""The life of a key, as a table: which step leads from which state to which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class ExecutionState(Enum):
    """Where a key stands; the values are those of the ``state`` field in Redis."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Tell whether nothing more happens to this execution."""
        return self in TERMINAL


class Step(Enum):
    """What can happen to a key. Each is one Lua script, or one of its answers."""

    ADD_NOW = "add, due now"
    ADD_LATER = "add, due later"
    REPLACE_NOW = "replace, due now"
    REPLACE_LATER = "replace, due later"
    PROMOTE = "promote"
    START = "start"
    EXPIRE = "start: expired"
    COMPLETE = "settle: completed"
    FAIL = "settle: failed"
    STOP = "settle: cancelled"
    AGAIN_NOW = "again, due now"
    AGAIN_LATER = "again, due later"
    HAND_BACK = "hand back"
    PARK = "wait for a slot"
    WAKE = "wake"
    CANCEL = "cancel"
    CLEAR = "clear"


TERMINAL = frozenset({ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED})


def _table() -> Mapping[tuple[ExecutionState | None, Step], ExecutionState]:
    state, nothing = ExecutionState, None
    free = (nothing, *sorted(TERMINAL, key=lambda each: each.value))
    waiting = (state.SCHEDULED, state.QUEUED)
    table: dict[tuple[ExecutionState | None, Step], ExecutionState] = {}
    for origin in free:
        table[origin, Step.ADD_NOW] = state.QUEUED
        table[origin, Step.ADD_LATER] = state.SCHEDULED
    for origin in (*free, *waiting, state.RUNNING):
        table[origin, Step.REPLACE_NOW] = state.QUEUED
        table[origin, Step.REPLACE_LATER] = state.SCHEDULED
    for origin in waiting:
        table[origin, Step.CANCEL] = state.CANCELLED
        table[origin, Step.CLEAR] = state.CANCELLED
    # It is asked to stop, and runs until it has. From then on no step but its end leads anywhere, except to a new run.
    table[state.RUNNING, Step.CANCEL] = state.RUNNING
    table[state.SCHEDULED, Step.PROMOTE] = state.QUEUED
    # A redelivered message is started again by the worker that took it over.
    for origin in (state.QUEUED, state.RUNNING):
        table[origin, Step.START] = state.RUNNING
        table[origin, Step.EXPIRE] = state.CANCELLED
        table[origin, Step.HAND_BACK] = state.QUEUED
    # What waits for a slot of a ConcurrencyLimit is scheduled, too.
    table[state.RUNNING, Step.PARK] = state.SCHEDULED
    table[state.SCHEDULED, Step.WAKE] = state.QUEUED
    table[state.RUNNING, Step.AGAIN_NOW] = state.QUEUED
    table[state.RUNNING, Step.AGAIN_LATER] = state.SCHEDULED
    # pydocket's clients call a run cancelled when they ask it to stop. If it finishes all the same, it has finished.
    for origin in (state.RUNNING, state.CANCELLED):
        table[origin, Step.COMPLETE] = state.COMPLETED
        table[origin, Step.FAIL] = state.FAILED
        table[origin, Step.STOP] = state.CANCELLED
    # A worker refuses what is stricken without starting it.
    table[state.QUEUED, Step.STOP] = state.CANCELLED
    return MappingProxyType(table)


TRANSITIONS = _table()


def advance(state: ExecutionState | None, step: Step) -> ExecutionState | None:
    """Return the state that ``step`` leads to, which is ``state`` itself where the step is refused.

    Args:
        state: Where the key stands; ``None`` where nothing is recorded of it.
        step: What is tried.
    """
    return TRANSITIONS.get((state, step), state)
