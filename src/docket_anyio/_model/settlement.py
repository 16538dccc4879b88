"""From how an attempt ended to what happens next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias, assert_never, runtime_checkable

from attrs import frozen

from docket_anyio._model.admission import Deferred, Dropped, Parked
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import Cancelled, Failed, LeaseLost, Outcome, ShutDown, SlotLost, Succeeded, TimedOut


@frozen
class Finish:
    """The execution ends here: record the state and what came of it. ``result`` is pickled.

    ``reason`` is why it was cancelled, in the words of whoever did that.
    ``quiet`` is the end of a chain of runs: if this run was superseded, its chain goes on, and no end is told.
    """

    state: ExecutionState
    result: bytes | None = None
    error: Exception | None = None
    quiet: bool = False
    reason: str | None = None


@frozen
class Again:
    """The same key runs once more at ``when``: a retry, or the same attempt where it was not admitted."""

    when: datetime
    attempt: int


@frozen
class Continue:
    """The execution ends here, and the same key runs anew at ``when``, from its first attempt."""

    when: datetime
    ending: ExecutionState
    arguments: tuple[bytes, bytes] | None = None  # pickled; None: the same again


@frozen
class HandBack:
    """Back into the queue, the attempt not counted."""


@frozen
class LetGo:
    """The delivery is not this worker's any more: write nothing."""


Settlement: TypeAlias = Finish | Again | Continue | HandBack | LetGo


@frozen
class Attempt:
    """One attempt that has ended by itself, or by its own deadline."""

    number: int
    outcome: Succeeded | Failed | TimedOut
    ended_at: datetime
    duration: timedelta


@runtime_checkable
class SettlementPolicy(Protocol):
    """What a task's signature says about what happens after an attempt."""

    @property
    def precedence(self) -> int:
        """Who is asked first, where a task has several: those with the lower number."""
        ...

    def settle(self, attempt: Attempt) -> Settlement | None:
        """Return what should happen next, or ``None`` to have no opinion."""
        ...


@frozen
class Decided:
    """What happens next is settled already, by somebody who was asked before."""

    settlement: Settlement
    precedence: int = 0

    def settle(self, attempt: Attempt) -> Settlement:  # noqa: ARG002 - a policy's signature
        """Return it."""
        return self.settlement


def decide(
    outcome: Outcome,
    policies: Iterable[SettlementPolicy],
    *,
    number: int,
    now: datetime,
    duration: timedelta,
    cancel_requested: bool,
) -> Settlement:
    """Decide what happens after an attempt.

    Args:
        outcome: How the attempt ended.
        policies: The task's own, asked in the order of their precedence; the first with an opinion decides.
        number: The number of the attempt that ended, from 1.
        now: The time of the decision.
        duration: How long the attempt took.
        cancel_requested: ``docket.cancel()`` was called while the body ran. What ended by itself all the same keeps
            its outcome, but nothing starts again.
    """
    match outcome:
        case Cancelled():
            return Finish(ExecutionState.CANCELLED, reason=outcome.reason)
        case Dropped():
            return Finish(ExecutionState.CANCELLED)
        case ShutDown() | SlotLost():
            return HandBack()
        case LeaseLost() | Parked():
            return LetGo()
        case Deferred():
            return Finish(ExecutionState.CANCELLED) if cancel_requested else Again(outcome.when, number)
        case Succeeded() | Failed() | TimedOut():
            if not cancel_requested:
                attempt = Attempt(number, outcome, now, duration)
                for policy in sorted(policies, key=lambda each: each.precedence):
                    settlement = policy.settle(attempt)
                    if settlement is not None:
                        return settlement
            return finish(outcome)
        case _:
            assert_never(outcome)


def retries(
    outcome: Outcome, policies: Iterable[SettlementPolicy], *, number: int, now: datetime, cancel_requested: bool
) -> bool:
    """Tell whether another attempt follows.

    Args:
        outcome: How the attempt ended.
        policies: The task's own.
        number: The number of the attempt, from 1.
        now: The time.
        cancel_requested: ``docket.cancel()`` was called while the body ran.
    """
    duration = timedelta(0)  # it decides about the next run, not about the next attempt
    settlement = decide(outcome, policies, number=number, now=now, duration=duration, cancel_requested=cancel_requested)
    return isinstance(settlement, Again)


def without_successor(settlement: Settlement, outcome: Outcome) -> Settlement:
    """Return what happens instead where no run may follow: a retry is cancelled, and what repeats has ended.

    Args:
        settlement: What would happen otherwise.
        outcome: How the attempt ended.
    """
    match settlement, outcome:
        case Again(), _:
            return Finish(ExecutionState.CANCELLED)
        case Continue(), Succeeded() | Failed() | TimedOut():
            return finish(outcome, quiet=True)
        case _:
            return settlement


def finish(outcome: Succeeded | Failed | TimedOut, *, quiet: bool = False) -> Finish:
    """Return the end of an execution with the outcome of its last attempt.

    Args:
        outcome: How the attempt ended.
        quiet: See ``Finish``.
    """
    if isinstance(outcome, Succeeded):
        return Finish(ExecutionState.COMPLETED, result=outcome.result, quiet=quiet)
    return Finish(ExecutionState.FAILED, error=outcome.error, quiet=quiet)
