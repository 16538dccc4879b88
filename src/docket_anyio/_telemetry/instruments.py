"""The instruments of one worker, told together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from attrs import frozen

from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Outcome
from docket_anyio._model.settlement import Settlement
from docket_anyio.abc import Instrument


@frozen
class Instruments:
    """Passes on to every instrument what happens in a worker."""

    worker: str
    _all: Sequence[Instrument]

    def worker_started(self, tasks: Sequence[str]) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.worker_started(self.worker, tasks)

    def worker_stopping(self, running: int) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.worker_stopping(self.worker, running)

    def run_started(self, delivery: Delivery, *, lateness: timedelta) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.run_started(self.worker, delivery, lateness=lateness)

    def run_settled(self, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.run_settled(self.worker, delivery, outcome, settlement, duration=duration)

    def run_superseded(self, delivery: Delivery, where: str) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.run_superseded(self.worker, delivery, where)

    def delivery_dropped(self, delivery: Delivery, reason: str) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.delivery_dropped(self.worker, delivery, reason)

    def task_unknown(self, delivery: Delivery) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.task_unknown(self.worker, delivery)

    def entry_discarded(self, receipt: bytes, problem: str) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.entry_discarded(self.worker, receipt, problem)

    def redis_lost(self, doing: str, error: Exception) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.redis_lost(self.worker, doing, error)

    def redis_back(self, doing: str) -> None:
        """See ``Instrument``."""
        for each in self._all:
            each.redis_back(self.worker, doing)
