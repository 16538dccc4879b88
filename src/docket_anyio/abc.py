"""What may be added: classes to derive from, and the values that they are told of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from docket_anyio._model.admission import Deferred as Deferred
from docket_anyio._model.admission import Dropped as Dropped
from docket_anyio._model.admission import Parked as Parked
from docket_anyio._model.message import Delivery as Delivery
from docket_anyio._model.message import DropReason as DropReason
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
from docket_anyio._model.snapshot import Depth as Depth


class ResultStorage(Protocol):
    """Where results are kept instead of in the docket's Redis: any ``AsyncKeyValue`` of ``py-key-value-aio`` is one.

    A result is put there before its run is recorded as ended, so that whoever hears of the end finds it; the two are
    not one step, and what is put for a run that was superseded meanwhile stays until its time has passed.
    """

    async def put(self, key: str, value: Mapping[str, Any], *, ttl: int) -> None:
        """Keep a value, which JSON can express, for ``ttl`` seconds."""
        ...

    async def get(self, key: str) -> Mapping[str, Any] | None:
        """Return the value that was put under a key, or ``None`` where there is none any more."""
        ...


class CredentialProvider(Protocol):
    """Knows the credentials for Redis at any time; redis-py's class of this name is one.

    It is asked for every new connection. One that is open keeps those that it was made with.
    """

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the password, or the user's name and the password."""
        ...


class Instrument:
    """Is told what happens in a worker, as it happens: override what you want to know.

    It must not block. One that raises is logged and told no more, as trio has it with its instruments.

    What is told of a run is told in the run's own task: a ``ContextVar`` that is set when it begins is seen by its
    body, and by no other run.
    """

    def worker_started(self, worker: str, tasks: Mapping[str, str]) -> None:
        """The worker can claim deliveries; ``tasks`` are the names of what it can run, with their parameters."""

    def worker_stopping(self, worker: str, running: int) -> None:
        """The worker claims nothing more; so many runs are to end yet."""

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        """A run begins, so long after its task was due. It is settled later, or abandoned."""

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        """A run has ended, and what follows is recorded.

        ``LetGo`` means that nothing is: the lease was lost, as the outcome says then, or the run was superseded.
        """

    def run_abandoned(self, worker: str, delivery: Delivery) -> None:
        """The worker ended before a run was settled; it is delivered again when its lease has run out."""

    def run_still_running(self, worker: str, delivery: Delivery, *, since: timedelta) -> None:
        """A body goes on in a thread although it was told to stop so long ago; told once, when its grace has passed.

        It keeps its slot and its lease until it ends. It is settled later, or abandoned.
        """

    def run_superseded(self, worker: str, delivery: Delivery, where: str) -> None:
        """The key was scheduled anew: seen by the ``worker`` before the run, ``on_complete``, or at a ``retry``.

        One that had begun is settled next, with ``LetGo``.
        """

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: DropReason) -> None:
        """A delivery was taken off the stream and not run."""

    def hook_failed(self, worker: str, delivery: Delivery, hook: str, error: Exception) -> None:
        """A handler raised, or dependencies failed to close after a failure. The outcome stays as it was."""

    def task_unknown(self, worker: str, delivery: Delivery) -> None:
        """No task of that name is registered here; the run counts as completed."""

    def entry_discarded(self, worker: str, receipt: bytes, problem: str) -> None:
        """An entry of the stream was no message, and was taken off it."""

    def docket_measured(self, worker: str, depth: Depth) -> None:
        """With each heartbeat: how much there is to do."""

    def redis_lost(self, worker: str, doing: str, error: Exception) -> None:
        """Redis cannot be reached, or refuses; what was being done is tried again until it works."""

    def redis_back(self, worker: str, doing: str) -> None:
        """It works again."""
