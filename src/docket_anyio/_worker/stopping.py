"""What the body of a run goes by when it asks whether it is to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import isfinite
from threading import get_ident

from anyio import CancelScope, current_effective_deadline, current_time, from_thread, get_cancelled_exc_class
from attrs import define, field

from docket_anyio._executors.stopping import BodyStopped, StopSign
from docket_anyio._model.outcome import CancelReason, StopRequest
from docket_anyio._worker.runs import RunScope


@define(eq=False)
class RunStopSign(StopSign):
    """Tells by the scope of a run, and by those that bound its body.

    Args:
        run: The run.
        limits: The scopes that bound its body; their deadlines are set when it begins.
        now: Tells the time in the event loop.
    """

    _run: RunScope
    _limits: Sequence[CancelScope]
    _now: Callable[[], datetime]
    _thread: int = field(factory=get_ident, init=False)
    _cancelled: type[BaseException] = field(factory=get_cancelled_exc_class, init=False)
    _began: tuple[datetime, float] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self._limits:
            self._began = self._now(), current_time()

    @property
    def requested(self) -> bool:
        """See ``StopSign``."""
        if self._run.stop is not None:
            return True
        if get_ident() == self._thread:
            return self._out_of_time(current_time())
        try:
            from_thread.check_cancelled()
        except self._cancelled:
            return True
        except RuntimeError:  # no thread of AnyIO's, so there is no more to know
            return False
        return False

    @property
    def because(self) -> StopRequest | None:
        """See ``StopSign``."""
        if self._run.stop is None and self.requested and self._out_of_time(self._loop_time()):
            return StopRequest(CancelReason.TIMEOUT)
        return self._run.stop

    @property
    def deadline(self) -> datetime | None:
        """See ``StopSign``."""
        deadlines = [each.deadline for each in self._limits if isfinite(each.deadline)]
        if self._began is None or not deadlines:
            return None
        # By the event loop's clock, which cannot be read in a thread.
        wall, loop = self._began
        return wall + timedelta(seconds=min(deadlines) - loop)

    def check(self) -> None:
        """See ``StopSign``."""
        if get_ident() != self._thread:
            self._check_in_thread()
        elif self._run.stop is not None or self._limits:
            # Cancelled scopes inside of the body are its own affair, and a shield keeps all of this from it.
            now = current_time()
            if (self._run.stop is not None or self._out_of_time(now)) and current_effective_deadline() <= now:
                raise BodyStopped

    def _check_in_thread(self) -> None:
        try:
            from_thread.check_cancelled()
        except RuntimeError:  # no thread of AnyIO's
            if self._run.stop is not None:
                raise BodyStopped from None

    def _out_of_time(self, now: float) -> bool:
        return any(each.deadline <= now for each in self._limits)

    def _loop_time(self) -> float:
        return current_time() if get_ident() == self._thread else from_thread.run_sync(current_time)
