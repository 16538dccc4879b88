"""What a worker does, as log lines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from docket_anyio._model.admission import Deferred, Dropped, Parked
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Failed, Outcome, TimedOut
from docket_anyio._model.settlement import Again, Continue, Finish, HandBack, LetGo, Settlement
from docket_anyio.abc import Instrument

_LOGGER: Final = logging.getLogger("docket_anyio.worker")


def _bracket(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"[{seconds * 1000:6.0f}ms]" if seconds < 100 else f"[{seconds:6.0f}s ]"


def _call(delivery: Delivery) -> str:
    return f"{delivery.message.task}{{{delivery.message.key}}}"


def _fields(worker: str, delivery: Delivery) -> dict[str, object]:
    message = delivery.message
    return {
        "docket.worker": worker,
        "docket.task": message.task,
        "docket.key": message.key,
        "docket.when": message.when.isoformat(),
        "docket.attempt": message.attempt,
    }


class LogInstrument(Instrument):
    """Writes a line for what happens, to the logger ``docket_anyio.worker``."""

    def worker_started(self, worker: str, tasks: Sequence[str]) -> None:
        """See ``Instrument``."""
        _LOGGER.info("Starting worker %r with the tasks: %s", worker, ", ".join(tasks))

    def worker_stopping(self, worker: str, running: int) -> None:
        """See ``Instrument``."""
        _LOGGER.info("Shutdown requested, worker %r is finishing %d active tasks...", worker, running)

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        """See ``Instrument``."""
        arrow = "↪" if delivery.message.attempt == 1 else "↬"
        _LOGGER.info("%s %s %s", arrow, _bracket(lateness), _call(delivery), extra=_fields(worker, delivery))

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        """See ``Instrument``."""
        line = "%s %s %s%s"
        extra = _fields(worker, delivery)
        error = outcome.error if isinstance(outcome, Failed | TimedOut) else None
        match settlement:
            case Finish():
                arrow, end = ("↩", "") if settlement.state is not ExecutionState.CANCELLED else ("✗", " (cancelled)")
            case Again() | Continue():
                arrow, end = "↫", ""
            case HandBack():
                arrow, end = "↫", " (handed back)"
            case LetGo():
                arrow, end = "✗", " (lease lost)"
        level = logging.INFO if error is None else logging.ERROR
        if isinstance(outcome, Deferred | Dropped | Parked):
            end = f" ({outcome.reason})"
        if isinstance(outcome, Deferred | Parked):
            # Whoever waits for long is asked again and again.
            arrow, level = "⏳", logging.DEBUG
        _LOGGER.log(level, line, arrow, _bracket(duration), _call(delivery), end, exc_info=error, extra=extra)

    def run_superseded(self, worker: str, delivery: Delivery, where: str) -> None:  # noqa: ARG002 - for counters
        """See ``Instrument``."""
        _LOGGER.info("↬ %s (superseded)", _call(delivery), extra=_fields(worker, delivery))

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: str) -> None:
        """See ``Instrument``."""
        _LOGGER.info("↬ %s (%s)", _call(delivery), reason, extra=_fields(worker, delivery))

    def task_unknown(self, worker: str, delivery: Delivery) -> None:
        """See ``Instrument``."""
        _LOGGER.warning("Unknown task %s", _call(delivery), extra=_fields(worker, delivery))

    def entry_discarded(self, worker: str, receipt: bytes, problem: str) -> None:
        """See ``Instrument``."""
        _LOGGER.error("Discarded the stream entry %s: %s", receipt.decode(), problem, extra={"docket.worker": worker})

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:
        """See ``Instrument``."""
        _LOGGER.warning(
            "Worker %r cannot go on with %s and keeps trying: %s", worker, doing, error, extra={"docket.worker": worker}
        )

    def redis_back(self, worker: str, doing: str) -> None:
        """See ``Instrument``."""
        _LOGGER.info("Worker %r goes on with %s", worker, doing, extra={"docket.worker": worker})
