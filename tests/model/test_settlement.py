"""From how an attempt ended to what happens next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attrs import frozen

from docket_anyio import Retry
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import Cancelled, Failed, LeaseLost, Outcome, ShutDown, Succeeded, TimedOut
from docket_anyio._model.settlement import Again, Finish, HandBack, LetGo, Settlement, SettlementPolicy, decide
from docket_anyio.exceptions import TaskTimeout

NOW = datetime(2026, 11, 22, 3, 50, 3, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
ERROR, LATE = ValueError("no"), TaskTimeout("late")
COMPLETED = Finish(ExecutionState.COMPLETED, result=b"result")
FAILED = Finish(ExecutionState.FAILED, error=ERROR)
TIMED_OUT = Finish(ExecutionState.FAILED, error=LATE)
CANCELLED = Finish(ExecutionState.CANCELLED)
RETRY = Retry(attempts=3, delay=timedelta(seconds=30))
OUTCOMES = [Succeeded(b"result"), Failed(ERROR), TimedOut(LATE), Cancelled(), ShutDown(), LeaseLost()]


@frozen
class Always:
    """A policy that has an opinion on everything it is asked."""

    answer: Settlement

    def settle(self, attempt: int, outcome: Succeeded | Failed | TimedOut, now: datetime) -> Settlement:
        return self.answer


@frozen
class Never:
    """A policy that has no opinion."""

    def settle(self, attempt: int, outcome: Succeeded | Failed | TimedOut, now: datetime) -> None:
        return None


def settle(
    outcome: Outcome, *policies: SettlementPolicy, attempt: int = 1, cancel_requested: bool = False
) -> Settlement:
    return decide(outcome, policies, attempt=attempt, now=NOW, cancel_requested=cancel_requested)


@pytest.mark.parametrize("cancel_requested", [False, True])
@pytest.mark.parametrize("policies", [(), (Never(),)], ids=["none", "without an opinion"])
@pytest.mark.parametrize(
    ("outcome", "settlement"),
    list(zip(OUTCOMES, [COMPLETED, FAILED, TIMED_OUT, CANCELLED, HandBack(), LetGo()], strict=True)),
    ids=lambda value: type(value).__name__,
)
def test_without_policies(
    outcome: Outcome, settlement: Settlement, policies: tuple[SettlementPolicy, ...], *, cancel_requested: bool
) -> None:
    assert settle(outcome, *policies, cancel_requested=cancel_requested) == settlement


@pytest.mark.parametrize("outcome", OUTCOMES[:3], ids=lambda value: type(value).__name__)
def test_a_policy_decides_about_what_ended_by_itself(outcome: Outcome) -> None:
    assert settle(outcome, Always(Again(LATER, 2))) == Again(LATER, 2)


@pytest.mark.parametrize("outcome", OUTCOMES[3:], ids=lambda value: type(value).__name__)
def test_no_policy_is_asked_about_what_was_stopped(outcome: Outcome) -> None:
    assert settle(outcome, Always(Again(LATER, 2))) == settle(outcome)


@pytest.mark.parametrize("outcome", OUTCOMES[:3], ids=lambda value: type(value).__name__)
def test_nothing_starts_again_after_a_cancel(outcome: Outcome) -> None:
    assert settle(outcome, Always(Again(LATER, 2)), cancel_requested=True) == settle(outcome)


def test_the_first_policy_with_an_opinion_decides() -> None:
    assert settle(Failed(ERROR), Never(), Always(HandBack()), Always(LetGo())) == HandBack()


@pytest.mark.parametrize("outcome", [Failed(ERROR), TimedOut(LATE)], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_retry_runs_again_after_its_delay(outcome: Outcome, attempt: int) -> None:
    assert settle(outcome, RETRY, attempt=attempt) == Again(LATER, attempt + 1)


@pytest.mark.parametrize("attempt", [3, 4])
def test_a_retry_gives_up_after_its_attempts(attempt: int) -> None:
    assert settle(Failed(ERROR), RETRY, attempt=attempt) == FAILED
    assert settle(TimedOut(LATE), RETRY, attempt=attempt) == TIMED_OUT


def test_a_retry_has_no_opinion_on_success() -> None:
    assert settle(Succeeded(b"result"), RETRY) == COMPLETED


def test_a_retry_without_a_limit() -> None:
    assert settle(Failed(ERROR), Retry.forever(timedelta(seconds=30)), attempt=10_000) == Again(LATER, 10_001)


def test_by_default_a_retry_tries_once() -> None:
    assert settle(Failed(ERROR), Retry()) == FAILED
