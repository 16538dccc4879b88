"""What runs here, and why it was told to stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from anyio import CancelScope, Event
from attrs import define, field

from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Cancelled, CancelReason, LeaseLost, Outcome, ShutDown


@define(eq=False)
class RunScope:
    """The scope of one run, and the first reason it was cancelled for.

    ``cancel_requested`` tells whether ``docket.cancel()`` asked for it at all, first or not.
    """

    delivery: Delivery
    scope: CancelScope = field(factory=CancelScope, init=False)
    reason: CancelReason | None = field(default=None, init=False)
    cancel_requested: bool = field(default=False, init=False)

    def cancel(self, reason: CancelReason) -> None:
        """Tell the run to stop."""
        if reason is CancelReason.USER:
            self.cancel_requested = True
        if self.reason is None:
            self.reason = reason
            self.scope.cancel(reason.value)

    def outcome(self) -> Outcome:
        """Return what it means that the scope has caught the body."""
        match self.reason:
            case CancelReason.USER:
                return Cancelled()
            case CancelReason.SHUTDOWN:
                return ShutDown()
            case CancelReason.LEASE_LOST:
                return LeaseLost()
            case None:
                raise RuntimeError("the scope of a run was cancelled without a reason")
            case _:
                assert_never(self.reason)


@define(eq=False)
class ActiveRuns:
    """The deliveries in this worker's hands. Each takes a slot from its claim to its settlement."""

    _concurrency: int
    _runs: dict[bytes, RunScope] = field(factory=dict[bytes, RunScope], init=False)
    _changed: Event = field(factory=Event, init=False)

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
        self._changed.set()
        self._changed = Event()

    def deliveries(self) -> list[Delivery]:
        """Return what is in hand."""
        return [run.delivery for run in self]

    def cancel(self, receipt: bytes, reason: CancelReason) -> None:
        """Tell a run to stop, if it still runs."""
        if (run := self._runs.get(receipt)) is not None:
            run.cancel(reason)

    def cancel_all(self, reason: CancelReason) -> None:
        """Tell every run to stop."""
        for run in self:
            run.cancel(reason)

    @property
    def free(self) -> int:
        """How many slots are free."""
        return self._concurrency - len(self._runs)

    async def wait_free(self) -> int:
        """Wait until a slot is free, and return how many are."""
        while not self.free:
            await self._changed.wait()
        return self.free  # noqa: ASYNC910 - whoever waits for it goes on to ask Redis

    async def wait_changed(self) -> None:
        """Wait until a slot is given back."""
        await self._changed.wait()

    async def wait_idle(self) -> None:  # noqa: ASYNC910 - whoever waits for it goes on to ask Redis
        """Wait until nothing runs here."""
        while self._runs:
            await self._changed.wait()
