"""The end of a process whose worker cannot end, because a thread of it goes on."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from threading import Timer
from types import TracebackType
from typing import Self

from attrs import define, field

from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Outcome
from docket_anyio._model.settlement import Settlement
from docket_anyio.abc import Instrument
from docket_anyio.cli.complaints import FAILED, complain


@define(eq=False)
class LastResort(Instrument):
    """Ends the process when the worker was told to stop and has not done so in all the time that it is given.

    Args:
        patience: All that time.
    """

    _patience: timedelta
    _stuck: dict[bytes, str] = field(factory=dict[bytes, str], init=False)
    _timer: Timer | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def worker_stopping(self, worker: str, running: int) -> None:  # noqa: ARG002 - an instrument's signature
        """See ``Instrument``."""
        # Not by the event loop, which may be what is stuck.
        self._timer = Timer(self._patience.total_seconds(), self._end, [worker])
        self._timer.daemon = True
        self._timer.start()

    def run_still_running(self, worker: str, delivery: Delivery, *, since: timedelta) -> None:  # noqa: ARG002
        """See ``Instrument``."""
        self._stuck[delivery.receipt] = f"{delivery.message.task}{{{delivery.message.key}}}"

    def run_settled(
        self,
        worker: str,  # noqa: ARG002 - an instrument's signature, like the next ones
        delivery: Delivery,
        outcome: Outcome,  # noqa: ARG002
        settlement: Settlement,  # noqa: ARG002
        *,
        duration: timedelta,  # noqa: ARG002
    ) -> None:
        """See ``Instrument``."""
        self._stuck.pop(delivery.receipt, None)

    def run_abandoned(self, worker: str, delivery: Delivery) -> None:  # noqa: ARG002
        """See ``Instrument``."""
        self._stuck.pop(delivery.receipt, None)

    def _end(self, worker: str) -> None:
        still = ", ".join([*self._stuck.values()]) or "nothing that would say so"
        complain(f"the worker {worker!r} cannot stop; still in threads: {still}. They are delivered again later")
        sys.stdout.flush()
        # Python would wait for these threads, and nobody can end them. The operating system does; whoever has sent the
        # signal would send SIGKILL next, with the same consequences and less to read.
        os._exit(FAILED)
