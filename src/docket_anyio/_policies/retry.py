"""Retry: run a failed task again."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, ClassVar, NoReturn

from attrs import evolve, field, frozen

from docket_anyio._injection.marker import FailureRole, Marker
from docket_anyio._model.outcome import Failed, Succeeded
from docket_anyio._model.settings import check_at_least, check_aware, check_not_negative, check_positive
from docket_anyio._model.settlement import Again, Attempt, Settlement
from docket_anyio._policies.control import has_only, sole_leaf
from docket_anyio.exceptions import InvalidSetting


class ForcedRetry(Exception):
    """Raised by ``retry.after()`` and ``retry.at()`` to end a run and ask for another."""

    def __init__(self, delay: timedelta | None = None, when: datetime | None = None) -> None:
        super().__init__(delay, when)
        self.delay = delay
        self.when = when


class _RunAgain(Marker, FailureRole[Any]):
    """What the kinds of retry have in common: all but how long they wait."""

    precedence: ClassVar[int] = 1

    attempts: int | None
    on: tuple[type[Exception], ...]

    def regular_delay(self, number: int) -> timedelta:
        """Return how long after attempt ``number`` the next is due."""
        raise NotImplementedError

    def after(self, delay: timedelta) -> NoReturn:
        """End this run, and run again after ``delay`` if attempts are left.

        Raises:
            ForcedRetry: Always; let it pass.
            InvalidSetting: The delay is negative.
        """
        raise ForcedRetry(delay=check_not_negative("the delay of a retry", delay))

    def in_(self, delay: timedelta) -> NoReturn:
        """Do what ``after`` does; pydocket's older name for it."""
        self.after(delay)

    def at(self, when: datetime) -> NoReturn:
        """End this run, and run again at ``when`` if attempts are left.

        Raises:
            ForcedRetry: Always; let it pass.
            InvalidTime: The time has no time zone.
        """
        raise ForcedRetry(when=check_aware("when", when))

    def settle(self, attempt: Attempt) -> Settlement | None:
        """Return what should happen next, or ``None`` to have no opinion."""
        if isinstance(attempt.outcome, Succeeded) or (self.attempts is not None and attempt.number >= self.attempts):
            return None
        error = attempt.outcome.error
        forced = sole_leaf(error, ForcedRetry) if isinstance(attempt.outcome, Failed) else None
        if forced is not None:
            return Again(forced.when or attempt.ended_at + (forced.delay or timedelta(0)), attempt.number + 1)
        if not has_only(error, self.on):
            return None
        return Again(attempt.ended_at + self.regular_delay(attempt.number), attempt.number + 1)


@frozen
class Retry(_RunAgain):
    """Run the task again after a failure or a timeout.

    Give it as a parameter's default: ``async def send(to: str, retry: Retry = Retry(attempts=3)): ...``. In the body
    ``retry.attempt`` is the number of the attempt, from 1.

    Args:
        attempts: How many runs there are at most, the first included; ``None`` for no limit.
        delay: How long after a failed run the next one is due.
        on: Only after one of these exceptions, or a group of nothing else. A timeout is a ``TimeoutError``.

    Raises:
        InvalidSetting: ``attempts`` is below 1, or ``delay`` is negative.
    """

    attempts: int | None = 1
    delay: timedelta = timedelta(0)
    on: tuple[type[Exception], ...] = field(default=(Exception,), kw_only=True)
    attempt: int = field(default=1, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_attempts(self.attempts)
        check_not_negative("the delay of a Retry", self.delay)

    @classmethod
    def forever(cls, delay: timedelta = timedelta(0)) -> Retry:
        """Return a policy without a limit."""
        return cls(attempts=None, delay=delay)

    def for_run(self, key: str, attempt: int) -> Retry:  # noqa: ARG002 - a marker's signature
        """Return the value for one run."""
        return evolve(self, attempt=attempt)

    def regular_delay(self, number: int) -> timedelta:  # noqa: ARG002 - the same after each
        """Return how long after attempt ``number`` the next is due."""
        return self.delay


@frozen
class ExponentialRetry(_RunAgain):
    """Run the task again after a failure or a timeout, waiting twice as long each time.

    Args:
        attempts: How many runs there are at most, the first included; ``None`` for no limit.
        minimum_delay: How long after the first failed run the second is due.
        maximum_delay: How long there is between two runs at most.
        jitter: By which part of it each delay is made longer or shorter at random, from 0 to 1, so that tasks that
            failed together do not come back together.
        on: Only after one of these exceptions, or a group of nothing else. A timeout is a ``TimeoutError``.

    Raises:
        InvalidSetting: ``attempts`` is below 1, a delay is not longer than zero, the maximum is below the minimum, or
            ``jitter`` is not from 0 to 1.
    """

    attempts: int | None = 1
    minimum_delay: timedelta = timedelta(seconds=1)
    maximum_delay: timedelta = timedelta(seconds=64)
    jitter: float = field(default=0.0, kw_only=True)
    on: tuple[type[Exception], ...] = field(default=(Exception,), kw_only=True)
    attempt: int = field(default=1, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_attempts(self.attempts)
        check_positive("the minimum_delay of an ExponentialRetry", self.minimum_delay)
        if self.maximum_delay < self.minimum_delay:
            raise InvalidSetting("the maximum_delay of an ExponentialRetry is shorter than its minimum_delay")
        if not 0 <= self.jitter <= 1:
            raise InvalidSetting(f"the jitter of an ExponentialRetry is a part of its delay, not {self.jitter}")

    @classmethod
    def forever(
        cls, delay: timedelta = timedelta(seconds=1), maximum_delay: timedelta = timedelta(seconds=64)
    ) -> ExponentialRetry:
        """Return a policy without a limit on the number of attempts."""
        return cls(None, delay, maximum_delay)

    def for_run(self, key: str, attempt: int) -> ExponentialRetry:  # noqa: ARG002 - a marker's signature
        """Return the value for one run."""
        return evolve(self, attempt=attempt)

    def regular_delay(self, number: int) -> timedelta:
        """Return how long after attempt ``number`` the next is due."""
        # Past 2 ** 62 the product would not fit a timedelta, and any maximum is reached.
        delay = self.maximum_delay
        if number <= 62 and self.minimum_delay <= self.maximum_delay / 2 ** (number - 1):
            delay = self.minimum_delay * 2 ** (number - 1)
        return delay * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - no secret


def _check_attempts(attempts: int | None) -> None:
    if attempts is not None:
        check_at_least("the attempts of a Retry", attempts, 1)
