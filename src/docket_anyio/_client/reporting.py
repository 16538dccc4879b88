"""Progress: tell from a body how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import evolve, field, frozen

from docket_anyio._client.current import current_execution
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._injection.marker import OfOneRun
from docket_anyio.exceptions import NotOpen


@frozen(eq=False)
class Progress(OfOneRun["Progress"]):
    """Tell how far the run has come; ``execution.progress`` and ``execution.events()`` tell others.

    Give it as a parameter's default: ``async def load(progress: Progress = Progress())``. Each run starts with 0 of 100
    and is the only one that reports through the value that it is given.
    """

    _run: ExecutionProgress | None = field(default=None, kw_only=True, repr=False, alias="run")

    async def __aenter__(self) -> Progress:  # noqa: ASYNC910 - nothing to wait for
        return evolve(self, run=current_execution.get().progress)

    @property
    def current(self) -> int | None:
        """How much is done, as far as this run knows."""
        return self._of_run.current

    @property
    def total(self) -> int:
        """How much there is to do; 100 where nobody has said."""
        return self._of_run.total

    @property
    def message(self) -> str | None:
        """What was said last."""
        return self._of_run.message

    @property
    def updated_at(self) -> datetime | None:
        """When that was."""
        return self._of_run.updated_at

    async def increment(self, amount: int = 1) -> None:
        """Say that more is done, at least 1.

        Raises:
            InvalidSetting: The amount is below 1. It is a ``ValueError``.
            NotOpen: This is the marker in the signature.
            RedisUnavailable: Redis cannot be reached; it may have been counted.
        """
        await self._of_run.increment(amount)

    async def set_total(self, total: int) -> None:
        """Say how much there is to do, at least 1.

        Raises:
            InvalidSetting: The total is below 1. It is a ``ValueError``.
            NotOpen: This is the marker in the signature.
            RedisUnavailable: Redis cannot be reached. Saying it again is safe.
        """
        await self._of_run.set_total(total)

    async def set_message(self, message: str | None) -> None:
        """Say what is being done; ``None`` takes back what was said.

        Raises:
            NotOpen: This is the marker in the signature.
            RedisUnavailable: Redis cannot be reached. Saying it again is safe.
        """
        await self._of_run.set_message(message)

    async def sync(self) -> None:
        """Read again how far it has come; others may report too.

        Raises:
            NotOpen: This is the marker in the signature.
            RedisUnavailable: Redis cannot be reached.
        """
        await self._of_run.sync()

    def elsewhere(self, there: Callable[[ExecutionProgress], ExecutionProgress]) -> Progress:
        """Return what stands for it in another process. Not for users.

        Args:
            there: Returns what stands there for the progress of a run.
        """
        return evolve(self, run=there(self._of_run))

    @property
    def _of_run(self) -> ExecutionProgress:
        if self._run is None:
            raise NotOpen("a Progress tells something only in the body of a task that was given it")
        return self._run
