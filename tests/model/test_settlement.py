"""From how an attempt ended to what happens next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from attrs import evolve, frozen

from docket_anyio import Cron, ExponentialRetry, Perpetual, Retry
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import Cancelled, Failed, LeaseLost, Outcome, ShutDown, Succeeded, TimedOut
from docket_anyio._model.settlement import (
    Again,
    Attempt,
    Continue,
    Finish,
    HandBack,
    LetGo,
    Settlement,
    SettlementPolicy,
    decide,
)
from docket_anyio._policies.retry import ForcedRetry
from docket_anyio.exceptions import InvalidSetting, TaskTimeout

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
    precedence: int = 1

    def settle(self, attempt: Attempt) -> Settlement:
        return self.answer


@frozen
class Never:
    """A policy that has no opinion."""

    precedence: int = 1

    def settle(self, attempt: Attempt) -> None:
        return None


def settle(
    outcome: Outcome, *policies: SettlementPolicy, attempt: int = 1, cancel_requested: bool = False
) -> Settlement:
    took = timedelta(seconds=10)
    return decide(outcome, policies, number=attempt, now=NOW, duration=took, cancel_requested=cancel_requested)


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


def test_policies_are_asked_in_the_order_of_their_precedence() -> None:
    assert settle(Failed(ERROR), Always(HandBack(), 2), Never(0), Always(LetGo(), 1)) == LetGo()


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


def test_a_retry_for_chosen_exceptions() -> None:
    chosen = Retry(attempts=3, on=(ValueError, TimeoutError))
    assert settle(Failed(ERROR), chosen) == Again(NOW, 2)
    assert settle(TimedOut(LATE), chosen) == Again(NOW, 2)
    assert settle(Failed(KeyError("other")), chosen) == Finish(ExecutionState.FAILED, error=ANY)


@pytest.mark.parametrize(("number", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (63, 60), (10_000, 60)])
def test_an_exponential_retry_waits_twice_as_long_each_time_up_to_its_maximum(number: int, seconds: int) -> None:
    policy = ExponentialRetry(None, timedelta(seconds=1), timedelta(seconds=60))
    assert settle(Failed(ERROR), policy, attempt=number) == Again(NOW + timedelta(seconds=seconds), number + 1)


def test_jitter_moves_a_delay_by_a_part_of_it() -> None:
    policy = ExponentialRetry(None, timedelta(seconds=10), jitter=0.5)
    delays = {policy.regular_delay(1) for _ in range(50)}
    assert len(delays) > 1
    assert all(timedelta(seconds=5) <= each <= timedelta(seconds=15) for each in delays)


@pytest.mark.parametrize(
    "arguments",
    [
        {"attempts": 0},
        {"minimum_delay": timedelta(0)},
        {"maximum_delay": timedelta(milliseconds=1)},
        {"jitter": 1.5},
        {"jitter": -0.1},
    ],
)
def test_mistakes_in_an_exponential_retry(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        ExponentialRetry(**arguments)


FORCED = ForcedRetry(delay=timedelta(seconds=5))


@pytest.mark.parametrize(
    ("error", "when"),
    [
        (FORCED, NOW + timedelta(seconds=5)),
        (ForcedRetry(when=LATER), LATER),
        (ExceptionGroup("", [FORCED]), NOW + timedelta(seconds=5)),
        (ExceptionGroup("", [ExceptionGroup("", [FORCED]), FORCED]), NOW + timedelta(seconds=5)),
        # Mixed with others it is a failure like any other.
        (ExceptionGroup("", [FORCED, ERROR]), LATER),
    ],
)
def test_a_body_forces_a_retry_also_from_a_task_group_of_its_own(error: Exception, when: datetime) -> None:
    assert settle(Failed(error), RETRY) == Again(when, 2)


def test_a_forced_retry_is_bounded_by_the_attempts_all_the_same() -> None:
    assert settle(Failed(FORCED), RETRY, attempt=3) == Finish(ExecutionState.FAILED, error=FORCED)


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (Succeeded(b"result"), ExecutionState.COMPLETED),
        (Failed(ERROR), ExecutionState.FAILED),
        (TimedOut(LATE), ExecutionState.FAILED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_perpetual_task_goes_on_whatever_came_of_a_run(outcome: Outcome, ending: ExecutionState) -> None:
    minute = Perpetual(timedelta(minutes=1)).for_run("K", 1)
    assert settle(outcome, minute) == Continue(NOW + timedelta(seconds=50), ending)
    hourly = Cron("@hourly").for_run("K", 1)
    assert settle(outcome, hourly) == Continue(datetime(2026, 11, 22, 4, tzinfo=UTC), ending)


def test_a_perpetual_task_that_cancels_itself_has_ended() -> None:
    last = Perpetual().for_run("K", 1)
    last.cancel()
    assert settle(Succeeded(b"result"), last) == evolve(COMPLETED, quiet=True)
