"""Timeout: end a body that takes too long."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import anyio
from anyio import CancelScope
from attrs import define, evolve, field, frozen

from docket_anyio._executors.remote import Export, Handle
from docket_anyio._injection.marker import BodyRole, Marker
from docket_anyio._model.outcome import TimedOut
from docket_anyio._model.settings import check_positive
from docket_anyio.exceptions import NotOpen, TaskTimeout


@frozen(eq=False)
class Timeout(Marker, BodyRole[Any]):
    """Cancel the body once it has run for ``base``; the run has then failed with ``TaskTimeout``.

    Give it as a parameter's default: ``async def send(to: str, timeout: Timeout = Timeout(timedelta(minutes=1)))``.
    It is a cancel scope of its own, so a body that finishes all the same has finished.

    Args:
        base: How long a body may take.

    Raises:
        InvalidSetting: ``base`` is not longer than zero.
    """

    base: timedelta
    _scope: CancelScope | None = field(default=None, kw_only=True, repr=False)
    _key: str = field(default="", kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        check_positive("a Timeout", self.base)

    @property
    def scope(self) -> CancelScope:
        """The scope around the body.

        Raises:
            NotOpen: This is the marker in the signature, and not the value that a run was given.
        """
        if self._scope is None:
            raise NotOpen("a Timeout has a time only in the body of a task that was given it")
        return self._scope

    def for_run(self, key: str, attempt: int) -> Timeout:  # noqa: ARG002 - a marker's signature
        """Return the value for one run, with a scope of its own."""
        return evolve(self, key=key, scope=CancelScope())

    def start(self) -> None:
        """Let the time begin, or begin anew. For the body that is done when it is called."""
        self.scope.deadline = anyio.current_time() + self.base.total_seconds()

    def remaining(self) -> timedelta:
        """Return how long the body may still run; negative once the time is over."""
        return timedelta(seconds=self.scope.deadline - anyio.current_time())

    def expired(self) -> bool:
        """Tell whether the time is over."""
        return self.remaining() <= timedelta(0)

    def extend(self, by: timedelta | None = None) -> None:
        """Let the body run longer.

        Args:
            by: How much longer; as long again as at first where it is left out.
        """
        self.scope.deadline += (self.base if by is None else by).total_seconds()

    def outcome(self) -> TimedOut:
        """Return what it means that the scope has caught the body."""
        seconds = self.base.total_seconds()
        return TimedOut(TaskTimeout(f"Docket task {self._key} exceeded timeout of {seconds:g}s"))

    def elsewhere(self, export: Export) -> Timeout:
        """Return what stands for it in another process."""
        return _TimeoutElsewhere(self.base, export(self))


@define(eq=False)
class _Until:
    """When the time is over, by the clock of the process: the event loop's cannot be read in every thread."""

    at: float


@frozen(eq=False)
class _TimeoutElsewhere(Timeout):
    """A timeout whose scope has stayed with the worker. Its time begins when it arrives, just before the body."""

    _handle: Handle = field(repr=False, alias="handle")
    _until: _Until = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_until", _Until(time.monotonic() + self.base.total_seconds()))

    def __reduce__(self) -> tuple[Any, tuple[timedelta, Handle]]:
        return _TimeoutElsewhere, (self.base, self._handle)

    def remaining(self) -> timedelta:
        return timedelta(seconds=self._until.at - time.monotonic())

    def extend(self, by: timedelta | None = None) -> None:
        self._until.at += (self.base if by is None else by).total_seconds()
        self._handle.tell("extend", by)
