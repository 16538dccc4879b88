"""What a worker does, as log lines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from attrs import define, field

from docket_anyio._model.admission import Deferred, Dropped, NotAdmitted, Parked
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, DropReason
from docket_anyio._model.outcome import Failed, LeaseLost, Outcome, TimedOut, cause
from docket_anyio._model.settlement import Again, Continue, Finish, HandBack, LetGo, Settlement
from docket_anyio.abc import Instrument

_LOGGER: Final = logging.getLogger("docket_anyio.worker")


def format_duration(seconds: float) -> str:
    """Return a duration as log lines show it, always as wide."""
    return f"{seconds * 1000:6.0f}ms" if seconds < 100 else f"{seconds:6.0f}s "


def _bracket(duration: timedelta) -> str:
    return f"[{format_duration(duration.total_seconds())}]"


def _call(delivery: Delivery) -> str:
    return f"{delivery.message.task}{{{delivery.message.key}}}"


def _followed_by(outcome: Outcome, settlement: Settlement) -> tuple[str, str]:
    """Return the arrow of what was recorded, and a remark."""
    if isinstance(outcome, NotAdmitted):
        return ("✗" if isinstance(outcome, Dropped) else "⏳"), f" ({outcome.reason})"
    match settlement:
        case Finish(state=ExecutionState.CANCELLED, reason=reason):
            return "✗", " (cancelled)" if reason is None else f" (cancelled: {reason})"
        case Finish():
            return "↩", ""
        case Again() | Continue():
            return "↫", ""
        case HandBack():
            stopped_by = cause(outcome)
            return "↫", " (handed back)" if stopped_by is None else f" (handed back: {stopped_by})"
        case LetGo():
            return ("✗", " (lease lost)") if isinstance(outcome, LeaseLost) else ("↬", " (superseded)")


@define(eq=False)
class LogInstrument(Instrument):
    """Writes a line for what happens, to the logger ``docket_anyio.worker``.

    Args:
        about: What the records of all lines have as attributes.
    """

    _about: Mapping[str, str] = field(factory=dict[str, str])
    _punctuality: dict[bytes, float] = field(factory=dict[bytes, float], init=False)
    """How late each run began, in seconds: the line of its end tells again."""

    def worker_started(self, worker: str, tasks: Mapping[str, str]) -> None:
        """See ``Instrument``."""
        extra = self._of_worker(worker)
        _LOGGER.info("Starting worker %r with the following tasks:", worker, extra=extra)
        for name, parameters in tasks.items():
            _LOGGER.info("* %s(%s)", name, parameters, extra=extra)

    def worker_stopping(self, worker: str, running: int) -> None:
        """See ``Instrument``."""
        line = "Shutdown requested, worker %r is finishing %d active tasks..."
        _LOGGER.info(line, worker, running, extra=self._of_worker(worker))

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        """See ``Instrument``."""
        self._punctuality[delivery.receipt] = lateness.total_seconds()
        if not _LOGGER.isEnabledFor(logging.INFO):
            return  # to make a line that nobody sees would be the dearest part of it all
        arrow = "↪" if delivery.message.attempt == 1 else "↬"
        extra = self._of_run(worker, delivery, lateness.total_seconds())
        _LOGGER.info("%s %s %s", arrow, _bracket(lateness), _call(delivery), extra=extra)

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        """See ``Instrument``."""
        punctuality = self._punctuality.pop(delivery.receipt, None)
        error = outcome.error if isinstance(outcome, Failed | TimedOut) else None
        if error is None and not _LOGGER.isEnabledFor(logging.INFO):
            return
        extra = {**self._of_run(worker, delivery, punctuality), "duration": duration.total_seconds()}
        if (stopped_by := cause(outcome)) is not None:
            extra["docket.cause"] = stopped_by
        arrow, remark = _followed_by(outcome, settlement)
        bracket, call = _bracket(duration), _call(delivery)
        if error is not None:
            _LOGGER.error("↩ %s %s", bracket, call, exc_info=error, extra=extra)
            if arrow == "↩":
                return
        # Whoever waits for long is asked again and again.
        level = logging.DEBUG if isinstance(outcome, Deferred | Parked) else logging.INFO
        _LOGGER.log(level, "%s %s %s%s", arrow, bracket, call, remark, extra=extra)

    def run_abandoned(self, worker: str, delivery: Delivery) -> None:
        """See ``Instrument``."""
        extra = self._of_run(worker, delivery, self._punctuality.pop(delivery.receipt, None))
        _LOGGER.warning("✗ %s (not settled, it will be delivered again)", _call(delivery), extra=extra)

    def run_still_running(self, worker: str, delivery: Delivery, *, since: timedelta) -> None:
        """See ``Instrument``."""
        extra = {**self._of_run(worker, delivery), "duration": since.total_seconds()}
        line = "⏳ %s %s (still runs in its thread, so long after it was told to stop)"
        _LOGGER.warning(line, _bracket(since), _call(delivery), extra=extra)

    def run_superseded(self, worker: str, delivery: Delivery, where: str) -> None:
        """See ``Instrument``."""
        if where == "worker":  # else there is a line for its end
            _LOGGER.info("↬ %s (superseded)", _call(delivery), extra=self._of_run(worker, delivery))

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: DropReason) -> None:
        """See ``Instrument``."""
        extra = self._of_run(worker, delivery)
        match reason:
            case DropReason.STRICKEN:
                _LOGGER.warning("🗙 %s (stricken)", _call(delivery), extra=extra)
            case DropReason.HANDED_BACK:
                _LOGGER.info("↫ %s (handed back)", _call(delivery), extra=extra)
            case DropReason.CANCELLED | DropReason.EXPIRED | DropReason.GONE | DropReason.ENOUGH:
                _LOGGER.info("✗ %s (%s)", _call(delivery), reason.value, extra=extra)

    def hook_failed(self, worker: str, delivery: Delivery, hook: str, error: Exception) -> None:
        """See ``Instrument``."""
        _LOGGER.error("%s: %s failed", _call(delivery), hook, exc_info=error, extra=self._of_run(worker, delivery))

    def task_unknown(self, worker: str, delivery: Delivery) -> None:
        """See ``Instrument``."""
        _LOGGER.warning("Unknown task %s", _call(delivery), extra=self._of_run(worker, delivery))

    def entry_discarded(self, worker: str, receipt: bytes, problem: str) -> None:
        """See ``Instrument``."""
        _LOGGER.error("Discarded the stream entry %s: %s", receipt.decode(), problem, extra=self._of_worker(worker))

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:
        """See ``Instrument``."""
        line = "Worker %r cannot go on with %s and keeps trying: %s"
        _LOGGER.warning(line, worker, doing, error, extra=self._of_worker(worker))

    def redis_back(self, worker: str, doing: str) -> None:
        """See ``Instrument``."""
        _LOGGER.info("Worker %r goes on with %s", worker, doing, extra=self._of_worker(worker))

    def _of_worker(self, worker: str) -> dict[str, object]:
        return {**self._about, "docket.worker": worker}

    def _of_run(self, worker: str, delivery: Delivery, punctuality: float | None = None) -> dict[str, object]:
        return {
            **self._of_worker(worker),
            **delivery.message.labels,
            **({} if punctuality is None else {"punctuality": punctuality}),
        }
