"""Perpetual and Cron: run a task again and again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Self

from attrs import define, evolve, field, frozen

from docket_anyio._executors.remote import Export, Handle
from docket_anyio._injection.marker import CompletionRole, Marker
from docket_anyio._model.codec import dump_arguments
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import Succeeded
from docket_anyio._model.payloads import max_payload_bytes
from docket_anyio._model.schedule import cron_fields, next_cron, next_interval
from docket_anyio._model.settings import check_aware, check_not_negative
from docket_anyio._model.settlement import Attempt, Continue, Settlement, finish


@define(eq=False)
class _Wishes:
    """What the body of one run asks for the next."""

    cancelled: bool = False
    when: datetime | None = None
    delay: timedelta | None = None
    arguments: tuple[bytes, bytes] | None = None

    def wish(self, **changes: Any) -> None:
        """Change some of them."""
        self.take(changes)

    def take(self, changes: Mapping[str, Any]) -> None:
        """Take over what has changed."""
        for name, value in changes.items():
            setattr(self, name, value)


@define(eq=False)
class _WishesElsewhere(_Wishes):
    """The same in another process, where the worker has to be told of them."""

    handle: Handle = field(kw_only=True)

    def wish(self, **changes: Any) -> None:
        self.take(changes)
        self.handle.tell("take", changes)


class _Repeats(Marker, CompletionRole[Any]):
    """What the two have in common: all but when the next run is due if the body does not say."""

    precedence: ClassVar[int] = 2  # a failure is first offered to a retry

    automatic: bool
    _wishes: _Wishes

    def regular_when(self, attempt: Attempt) -> datetime:
        """Return when the next run is due."""
        raise NotImplementedError

    @property
    def cancelled(self) -> bool:
        """Whether the body has asked that this run be the last."""
        return self._wishes.cancelled

    def cancel(self) -> None:
        """Let this run be the last."""
        self._wishes.wish(cancelled=True)

    def perpetuate(self, *args: Any, **kwargs: Any) -> None:
        """Call the task with these arguments the next time, not with the same again.

        Raises:
            NotSerializable: They cannot be pickled.
            PayloadTooLarge: They are larger than the docket's ``max_payload_bytes``.
        """
        arguments = dump_arguments(args, kwargs, "perpetual", at_most=max_payload_bytes.get())
        self._wishes.wish(arguments=arguments)

    def after(self, delay: timedelta) -> None:
        """Run next so long after the end of this run.

        Raises:
            InvalidSetting: The delay is negative.
        """
        self._wishes.wish(delay=check_not_negative("the delay of a perpetual task", delay), when=None)

    def at(self, when: datetime) -> None:
        """Run next at this time.

        Raises:
            InvalidTime: The time has no time zone.
        """
        self._wishes.wish(when=check_aware("when", when), delay=None)

    def elsewhere(self, export: Export) -> Self:
        """Return what stands for it in another process."""
        return self._with(_WishesElsewhere(handle=export(self._wishes)))

    def _with(self, wishes: _Wishes) -> Self:
        """Return one with other wishes."""
        raise NotImplementedError

    def settle(self, attempt: Attempt) -> Settlement:
        """Return what should happen next."""
        if self._wishes.cancelled:
            return finish(attempt.outcome, quiet=True)
        succeeded = isinstance(attempt.outcome, Succeeded)
        ending = ExecutionState.COMPLETED if succeeded else ExecutionState.FAILED
        return Continue(self._next_when(attempt), ending, arguments=self._wishes.arguments)

    def _next_when(self, attempt: Attempt) -> datetime:
        if self._wishes.when is not None:
            return self._wishes.when
        if self._wishes.delay is not None:
            return attempt.ended_at + self._wishes.delay
        return self.regular_when(attempt)


@frozen(eq=False)
class Perpetual(_Repeats):
    """Run the task again after each run, whether it succeeded or failed, until it is cancelled or cancels itself.

    Give it as a parameter's default: ``async def poll(perpetual: Perpetual = Perpetual(every=timedelta(minutes=5)))``.
    A failure is first offered to a ``Retry`` in the same signature.

    Args:
        every: From the start of one run to the start of the next; a run that takes longer is followed at once.
        automatic: Workers add the task when they start, and again whenever it is missing. It must not need arguments.

    Raises:
        InvalidSetting: ``every`` is negative.
    """

    every: timedelta = timedelta(0)
    automatic: bool = False
    _wishes: _Wishes = field(factory=_Wishes, kw_only=True, repr=False, alias="wishes")

    def __attrs_post_init__(self) -> None:
        check_not_negative("the interval of a Perpetual", self.every)

    def for_run(self, key: str, attempt: int) -> Perpetual:  # noqa: ARG002 - a marker's signature
        """Return the value for one run."""
        return self._with(_Wishes())

    def _with(self, wishes: _Wishes) -> Self:
        return evolve(self, wishes=wishes)

    def first_when(self, now: datetime) -> datetime:
        """Return when the first run of an automatic task is due."""
        return now

    def regular_when(self, attempt: Attempt) -> datetime:
        """Return when the next run is due."""
        return next_interval(self.every, now=attempt.ended_at, duration=attempt.duration)


@frozen(eq=False)
class Cron(_Repeats):
    """Run the task whenever a crontab expression matches, exactly at that time.

    Args:
        expression: Five fields, or one of ``@yearly @annually @monthly @weekly @daily @midnight @hourly``.
        automatic: Workers add the task when they start, and again whenever it is missing. It must not need arguments.
        tz: The time zone whose clocks the expression is about.

    Raises:
        InvalidSetting: The expression is none, or never matches.
    """

    expression: str = field(converter=cron_fields)
    automatic: bool = True
    tz: tzinfo = UTC
    _wishes: _Wishes = field(factory=_Wishes, kw_only=True, repr=False, alias="wishes")

    def for_run(self, key: str, attempt: int) -> Cron:  # noqa: ARG002 - a marker's signature
        """Return the value for one run."""
        return self._with(_Wishes())

    def _with(self, wishes: _Wishes) -> Self:
        return evolve(self, wishes=wishes)

    def first_when(self, now: datetime) -> datetime:
        """Return when the first run of an automatic task is due."""
        return next_cron(self.expression, now, self.tz)

    def regular_when(self, attempt: Attempt) -> datetime:
        """Return when the next run is due."""
        return next_cron(self.expression, attempt.ended_at, self.tz)
