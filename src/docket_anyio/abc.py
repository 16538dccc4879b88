"""What may be added: classes to derive from, and the values that they are told of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from docket_anyio._model.admission import Deferred as Deferred
from docket_anyio._model.admission import Dropped as Dropped
from docket_anyio._model.admission import Parked as Parked
from docket_anyio._model.message import Delivery as Delivery
from docket_anyio._model.message import TaskMessage as TaskMessage
from docket_anyio._model.outcome import Cancelled as Cancelled
from docket_anyio._model.outcome import Failed as Failed
from docket_anyio._model.outcome import LeaseLost as LeaseLost
from docket_anyio._model.outcome import Outcome as Outcome
from docket_anyio._model.outcome import ShutDown as ShutDown
from docket_anyio._model.outcome import SlotLost as SlotLost
from docket_anyio._model.outcome import Succeeded as Succeeded
from docket_anyio._model.outcome import TimedOut as TimedOut
from docket_anyio._model.settlement import Again as Again
from docket_anyio._model.settlement import Continue as Continue
from docket_anyio._model.settlement import Finish as Finish
from docket_anyio._model.settlement import HandBack as HandBack
from docket_anyio._model.settlement import LetGo as LetGo
from docket_anyio._model.settlement import Settlement as Settlement


class Instrument:
    """Is told what happens in a worker, as it happens: override what you want to know.

    It must not block. One that raises is logged and told no more, as trio has it with its instruments.
    """

    def worker_started(self, worker: str, tasks: Sequence[str]) -> None:
        """The worker can claim deliveries; ``tasks`` are the names of what it can run."""

    def worker_stopping(self, worker: str, running: int) -> None:
        """The worker claims nothing more; so many runs are to end yet."""

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        """A run begins, so long after its task was due."""

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        """A run has ended, and what follows is recorded."""

    def run_superseded(self, worker: str, delivery: Delivery, where: str) -> None:
        """The key was scheduled anew: seen by the ``worker`` before the run, ``on_complete``, or at a ``retry``."""

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: str) -> None:
        """A delivery was taken off the stream and not run: cancelled while it waited, stricken, or handed back."""

    def task_unknown(self, worker: str, delivery: Delivery) -> None:
        """No task of that name is registered here; the run counts as completed."""

    def entry_discarded(self, worker: str, receipt: bytes, problem: str) -> None:
        """An entry of the stream was no message, and was taken off it."""

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:
        """Redis cannot be reached, or refuses; what was being done is tried again until it works."""

    def redis_back(self, worker: str, doing: str) -> None:
        """It works again."""
