"""What a worker does, as metrics."""

from __future__ import annotations

from datetime import timedelta

from attrs import define

from docket_anyio._model.admission import Deferred
from docket_anyio._model.message import Delivery, DropReason
from docket_anyio._model.outcome import Failed, Outcome, Succeeded, TimedOut, cause
from docket_anyio._model.settlement import Again, Continue, Settlement
from docket_anyio._model.snapshot import Depth
from docket_anyio._telemetry.meters import (
    QUEUE_DEPTH,
    REDIS_DISRUPTIONS,
    SCHEDULE_DEPTH,
    TASK_DURATION,
    TASK_PUNCTUALITY,
    TASKS_COMPLETED,
    TASKS_FAILED,
    TASKS_PERPETUATED,
    TASKS_REDELIVERED,
    TASKS_RETRIED,
    TASKS_RUNNING,
    TASKS_STARTED,
    TASKS_STOPPED,
    TASKS_STRICKEN,
    TASKS_SUCCEEDED,
    TASKS_SUPERSEDED,
)
from docket_anyio._telemetry.otel import Labels
from docket_anyio.abc import Instrument


@define(eq=False)
class MetricsInstrument(Instrument):
    """Counts what happens.

    Args:
        docket: The labels of the docket.
    """

    _docket: Labels

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        """See ``Instrument``."""
        labels = self._of_run(worker, delivery)
        TASKS_STARTED.add(1, labels)
        if delivery.redelivered:
            TASKS_REDELIVERED.add(1, labels)
        TASKS_RUNNING.add(1, labels)
        TASK_PUNCTUALITY.record(lateness.total_seconds(), labels)

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        """See ``Instrument``."""
        labels = self._of_run(worker, delivery)
        TASKS_RUNNING.add(-1, labels)
        TASKS_COMPLETED.add(1, labels)
        TASK_DURATION.record(duration.total_seconds(), labels)
        if isinstance(outcome, Succeeded):
            TASKS_SUCCEEDED.add(1, labels)
        elif isinstance(outcome, Failed | TimedOut):
            TASKS_FAILED.add(1, labels)
        if (stopped_by := cause(outcome)) is not None:
            TASKS_STOPPED.add(1, {**labels, "docket.cause": stopped_by})
        if isinstance(settlement, Again) and not isinstance(outcome, Deferred):
            TASKS_RETRIED.add(1, labels)
        elif isinstance(settlement, Continue):
            TASKS_PERPETUATED.add(1, labels)

    def run_abandoned(self, worker: str, delivery: Delivery) -> None:
        """See ``Instrument``."""
        labels = self._of_run(worker, delivery)
        TASKS_RUNNING.add(-1, labels)
        TASKS_COMPLETED.add(1, labels)

    def run_superseded(self, worker: str, delivery: Delivery, where: str) -> None:
        """See ``Instrument``."""
        TASKS_SUPERSEDED.add(1, {**self._of_run(worker, delivery), "docket.where": where})

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: DropReason) -> None:
        """See ``Instrument``."""
        if reason is DropReason.STRICKEN:
            TASKS_STRICKEN.add(1, {**self._of_run(worker, delivery), "docket.where": "worker"})

    def docket_measured(self, worker: str, depth: Depth) -> None:  # noqa: ARG002 - every worker of a docket sees the same
        """See ``Instrument``."""
        QUEUE_DEPTH.set(depth.due, self._docket)
        SCHEDULE_DEPTH.set(depth.later, self._docket)

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:  # noqa: ARG002 - lines tell
        """See ``Instrument``."""
        REDIS_DISRUPTIONS.add(1, {**self._docket, "docket.worker": worker})

    def _of_run(self, worker: str, delivery: Delivery) -> Labels:
        return {**self._docket, "docket.worker": worker, "docket.task": delivery.message.task}


@define(eq=False)
class StrikeListMetrics(Instrument):
    """Counts how often a strike list lost its Redis, which has no docket and no worker."""

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:  # noqa: ARG002 - lines tell
        """See ``Instrument``."""
        REDIS_DISRUPTIONS.add(1, {"docket": worker})
