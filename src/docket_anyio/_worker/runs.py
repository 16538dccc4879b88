"""What runs here, and why it was told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import assert_never

from anyio import CancelScope
from attrs import define, field

from docket_anyio._executors.nudge import Nudge
from docket_anyio._injection.opening import Patience
from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Cancelled, CancelReason, LeaseLost, Outcome, ShutDown, SlotLost, StopRequest


@define(eq=False)
class RunScope:
    """The scope of one run, and the first request to stop it.

    ``cancel_requested`` tells whether ``docket.cancel()`` asked for it at all, first or not. ``on_stop`` is called when
    it is told to stop.
    """

    delivery: Delivery
    scope: CancelScope = field(factory=CancelScope, init=False)
    patience: Patience = field(factory=Patience, init=False)
    stop: StopRequest | None = field(default=None, init=False)
    cancel_requested: bool = field(default=False, init=False)
    on_stop: Callable[[], None] | None = field(default=None, init=False)

    @property
    def reason(self) -> CancelReason | None:
        """Why it was told to stop first, if it was."""
        return None if self.stop is None else self.stop.reason

    def cancel(self, reason: CancelReason, *, words: str | None = None, grace: timedelta | None = None) -> None:
        """Tell the run to stop; see ``StopRequest``."""
        if reason is CancelReason.USER:
            self.cancel_requested = True
        if self.stop is None:
            self.stop = StopRequest(reason, words, grace)
            self.scope.cancel(reason.value)
            self.patience.hurry()
            if self.on_stop is not None:
                self.on_stop()

    def outcome(self) -> Outcome:
        """Return what it means that the scope has caught the body."""
        match self.reason:
            case CancelReason.USER:
                return Cancelled(None if self.stop is None else self.stop.words)
            case CancelReason.SHUTDOWN:
                return ShutDown()
            case CancelReason.LEASE_LOST:
                return LeaseLost()
            case CancelReason.SLOT_LOST:
                return SlotLost()
            case CancelReason.TIMEOUT | None:
                raise RuntimeError("the scope of a run was cancelled without a reason of its own")
            case _:
                assert_never(self.reason)


@define(eq=False)
class ActiveRuns:
    """The deliveries in this worker's hands. Each takes a slot from its claim to its settlement."""

    _concurrency: int
    _runs: dict[bytes, RunScope] = field(factory=dict[bytes, RunScope], init=False)
    _changed: Nudge = field(factory=Nudge, init=False)

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[RunScope]:
        return iter(list(self._runs.values()))

    def __contains__(self, receipt: bytes) -> bool:
        return receipt in self._runs

    def add(self, delivery: Delivery) -> RunScope:
        """Take a slot for a delivery."""
        run = self._runs[delivery.receipt] = RunScope(delivery)
        return run

    def remove(self, run: RunScope) -> None:
        """Give the slot back."""
        del self._runs[run.delivery.receipt]
        self._changed.give()

    def resize(self, concurrency: int) -> None:
        """Have so many slots from now on. Where more are taken, none is free until enough were given back."""
        self._concurrency = concurrency
        self._changed.give()

    def deliveries(self) -> list[Delivery]:
        """Return what is in hand."""
        return [run.delivery for run in self]

    def cancel(
        self, receipt: bytes, reason: CancelReason, *, words: str | None = None, grace: timedelta | None = None
    ) -> None:
        """Tell a run to stop, if it still runs; see ``StopRequest``."""
        if (run := self._runs.get(receipt)) is not None:
            run.cancel(reason, words=words, grace=grace)

    def cancel_all(self, reason: CancelReason) -> None:
        """Tell every run to stop."""
        for run in self:
            run.cancel(reason)

    @property
    def free(self) -> int:
        """How many slots are free; less than none where there were more of them before."""
        return self._concurrency - len(self._runs)

    async def wait_free(self) -> int:
        """Wait until a slot is free, and return how many are."""
        while self.free <= 0:
            await self._changed.wait()
        return self.free  # noqa: ASYNC910 - whoever waits for it goes on to ask Redis

    async def wait_changed(self) -> None:
        """Wait until a slot is given back."""
        await self._changed.wait()

    async def wait_idle(self) -> None:  # noqa: ASYNC910 - whoever waits for it goes on to ask Redis
        """Wait until nothing runs here."""
        while self._runs:
            await self._changed.wait()
