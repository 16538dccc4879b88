"""Retry: run a failed task again."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import evolve, field, frozen

from docket_anyio._model.outcome import Failed, Succeeded, TimedOut
from docket_anyio._model.settings import check_at_least, check_not_negative
from docket_anyio._model.settlement import Again, Settlement


@frozen
class Retry:
    """Run the task again after a failure or a timeout.

    Give it as a parameter's default: ``async def send(to: str, retry: Retry = Retry(attempts=3)): ...``. In the body
    ``retry.attempt`` is the number of the attempt, from 1.

    Args:
        attempts: How many runs there are at most, the first included; ``None`` for no limit.
        delay: How long after a failed run the next one is due.

    Raises:
        InvalidSetting: ``attempts`` is below 1, or ``delay`` is negative.
    """

    attempts: int | None = 1
    delay: timedelta = timedelta(0)
    attempt: int = field(default=1, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.attempts is not None:
            check_at_least("the attempts of a Retry", self.attempts, 1)
        check_not_negative("the delay of a Retry", self.delay)

    @classmethod
    def forever(cls, delay: timedelta = timedelta(0)) -> Retry:
        """Return a policy without a limit."""
        return cls(attempts=None, delay=delay)

    def for_run(self, key: str, attempt: int) -> Retry:  # noqa: ARG002 - a marker's signature
        """Return the value for one run."""
        return evolve(self, attempt=attempt)

    def settle(self, attempt: int, outcome: Succeeded | Failed | TimedOut, now: datetime) -> Settlement | None:
        """Return what should happen next, or ``None`` to have no opinion."""
        if isinstance(outcome, Succeeded) or (self.attempts is not None and attempt >= self.attempts):
            return None
        return Again(when=now + self.delay, attempt=attempt + 1)
