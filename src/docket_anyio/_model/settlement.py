"""From how an attempt ended to what happens next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias, assert_never, runtime_checkable

from attrs import frozen

from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import Cancelled, Failed, LeaseLost, Outcome, ShutDown, Succeeded, TimedOut


@frozen
class Finish:
    """The execution ends here: record the state and what came of it. ``result`` is pickled.

    ``quiet`` is the end of a chain of runs: if this run was superseded, its chain goes on, and no end is told.
    """

    state: ExecutionState
    result: bytes | None = None
    error: Exception | None = None
    quiet: bool = False


@frozen
class Again:
    """The same key runs once more at ``when``."""

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
    """Somebody else has the delivery now: write nothing."""


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
            return Finish(ExecutionState.CANCELLED)
        case ShutDown():
            return HandBack()
        case LeaseLost():
            return LetGo()
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
