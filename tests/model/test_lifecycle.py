"""The life of a key, as the table has it."""

from __future__ import annotations

import pytest

from docket_anyio._model.lifecycle import TERMINAL, TRANSITIONS, ExecutionState, Step, advance

SCHEDULED, QUEUED, RUNNING = ExecutionState.SCHEDULED, ExecutionState.QUEUED, ExecutionState.RUNNING
COMPLETED, FAILED, CANCELLED = ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED
STATES = (None, *ExecutionState)
FREE = (None, COMPLETED, FAILED, CANCELLED)


def test_the_values_are_those_on_the_wire() -> None:
    assert [each.value for each in ExecutionState] == [
        "scheduled", "queued", "running", "completed", "failed", "cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize("state", ExecutionState)
def test_three_states_are_the_end(state: ExecutionState) -> None:
    assert state.terminal is (state in {COMPLETED, FAILED, CANCELLED})
    assert state.terminal is (state in TERMINAL)


@pytest.mark.parametrize(
    ("step", "origins", "target"),
    [
        (Step.ADD_NOW, FREE, QUEUED),
        (Step.ADD_LATER, FREE, SCHEDULED),
        (Step.REPLACE_NOW, STATES, QUEUED),
        (Step.REPLACE_LATER, STATES, SCHEDULED),
        (Step.PROMOTE, (SCHEDULED,), QUEUED),
        (Step.START, (QUEUED, RUNNING), RUNNING),
        (Step.EXPIRE, (QUEUED, RUNNING), CANCELLED),
        (Step.COMPLETE, (RUNNING, CANCELLED), COMPLETED),
        (Step.FAIL, (RUNNING, CANCELLED), FAILED),
        (Step.STOP, (QUEUED, RUNNING, CANCELLED), CANCELLED),
        (Step.AGAIN_NOW, (RUNNING,), QUEUED),
        (Step.AGAIN_LATER, (RUNNING,), SCHEDULED),
        (Step.HAND_BACK, (QUEUED, RUNNING), QUEUED),
        (Step.PARK, (RUNNING,), SCHEDULED),
        (Step.WAKE, (SCHEDULED,), QUEUED),
        (Step.CANCEL, (SCHEDULED, QUEUED), CANCELLED),
        (Step.CLEAR, (SCHEDULED, QUEUED), CANCELLED),
    ],
    ids=lambda value: value.name if isinstance(value, Step) else "",
)
def test_a_step_leads_to_one_state_and_is_refused_elsewhere(
    step: Step, origins: tuple[ExecutionState | None, ...], target: ExecutionState
) -> None:
    expected = {state: target if state in origins else state for state in STATES}
    assert {state: advance(state, step) for state in STATES} == expected


def test_every_step_is_in_the_table() -> None:
    assert {step for _, step in TRANSITIONS} == set(Step)


def test_every_state_can_be_reached_and_left() -> None:
    reached: set[ExecutionState | None] = {None}
    while True:
        further = reached | {advance(state, step) for state in reached for step in Step}
        if further == reached:
            break
        reached = further
    assert reached == set(STATES)
    assert {state for state, _ in TRANSITIONS} == set(STATES)


def test_what_completed_or_failed_stays_so_unless_the_key_is_used_anew() -> None:
    anew = {Step.ADD_NOW, Step.ADD_LATER, Step.REPLACE_NOW, Step.REPLACE_LATER}
    for state in (COMPLETED, FAILED):
        assert {step for step in Step if advance(state, step) is not state} == anew
