"""The instruments of one worker, told together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

from attrs import define, field

from docket_anyio._model.message import Delivery, DropReason
from docket_anyio._model.outcome import Outcome
from docket_anyio._model.settlement import Settlement
from docket_anyio._model.snapshot import Depth
from docket_anyio.abc import Instrument

_LOGGER: Final = logging.getLogger("docket_anyio.worker")


@define(eq=False)
class Instruments:
    """Passes on to every instrument what happens in a worker. See ``Instrument`` for what each method tells."""

    worker: str
    _given: Iterable[Instrument]
    _all: list[Instrument] = field(init=False)
    _begun: set[bytes] = field(factory=set[bytes], init=False)
    """The receipts of the runs that are neither settled nor abandoned."""

    def __attrs_post_init__(self) -> None:
        self._all = list(self._given)

    def worker_started(self, tasks: Mapping[str, str]) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.worker_started(self.worker, tasks))

    def worker_stopping(self, running: int) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.worker_stopping(self.worker, running))

    def run_started(self, delivery: Delivery, *, lateness: timedelta) -> None:
        """See ``Instrument``."""
        self._begun.add(delivery.receipt)
        self._tell(lambda each: each.run_started(self.worker, delivery, lateness=lateness))

    def run_settled(self, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta) -> None:
        """See ``Instrument``."""
        self._begun.discard(delivery.receipt)
        self._tell(lambda each: each.run_settled(self.worker, delivery, outcome, settlement, duration=duration))

    def run_left(self, delivery: Delivery) -> None:
        """The task of a run ends: where it began and was not settled, it is abandoned."""
        if delivery.receipt in self._begun:
            self._begun.discard(delivery.receipt)
            self._tell(lambda each: each.run_abandoned(self.worker, delivery))

    def run_still_running(self, delivery: Delivery, *, since: timedelta) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.run_still_running(self.worker, delivery, since=since))

    def run_superseded(self, delivery: Delivery, where: str) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.run_superseded(self.worker, delivery, where))

    def delivery_dropped(self, delivery: Delivery, reason: DropReason) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.delivery_dropped(self.worker, delivery, reason))

    def hook_failed(self, delivery: Delivery, hook: str, error: Exception) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.hook_failed(self.worker, delivery, hook, error))

    def task_unknown(self, delivery: Delivery) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.task_unknown(self.worker, delivery))

    def entry_discarded(self, receipt: bytes, problem: str) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.entry_discarded(self.worker, receipt, problem))

    def docket_measured(self, depth: Depth) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.docket_measured(self.worker, depth))

    def redis_lost(self, doing: str, error: Exception) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.redis_lost(self.worker, doing, error))

    def redis_back(self, doing: str) -> None:
        """See ``Instrument``."""
        self._tell(lambda each: each.redis_back(self.worker, doing))

    def _tell(self, tell: Callable[[Instrument], None]) -> None:
        for each in tuple(self._all):
            try:
                tell(each)
            except Exception:  # a worker must not fall over somebody's counter
                _LOGGER.exception("The instrument %r failed and is told no more", each)
                self._all.remove(each)
