"""An instrument that listens to nothing; one that does overrides what it wants to hear."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from docket_anyio.abc import Delivery, Instrument, Outcome, Settlement


class Listener(Instrument):
    """Passes over whatever happens in a worker."""

    def worker_started(self, worker: str, tasks: Sequence[str]) -> None:
        """See ``Instrument``."""

    def worker_stopping(self, worker: str, running: int) -> None:
        """See ``Instrument``."""

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        """See ``Instrument``."""

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        """See ``Instrument``."""

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: str) -> None:
        """See ``Instrument``."""

    def task_unknown(self, worker: str, delivery: Delivery) -> None:
        """See ``Instrument``."""

    def entry_discarded(self, worker: str, receipt: bytes, problem: str) -> None:
        """See ``Instrument``."""

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:
        """See ``Instrument``."""

    def redis_back(self, worker: str, doing: str) -> None:
        """See ``Instrument``."""
