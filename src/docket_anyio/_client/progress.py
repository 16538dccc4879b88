"""How far an execution has come, as its body tells."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Protocol, Self

import anyio
from attrs import define, evolve, field

from docket_anyio._broker.broker import Broker
from docket_anyio._client.events import Settable, open_events
from docket_anyio._model.events import ProgressEvent
from docket_anyio._model.record import ProgressRecord
from docket_anyio._model.settings import check_at_least

_UNSET = ProgressRecord()


class HasBroker(Protocol):
    """A docket that is open."""

    @property
    def broker(self) -> Broker:
        """What it remembers."""
        ...


@define(eq=False)
class ExecutionProgress:
    """How far an execution has come.

    It tells what the last ``sync()`` read, or what stood there after the last report made through it. The progress is
    dropped when the run ends. A run that its key is not about any more (it was replaced, or has ended) may go on to
    report; nobody else hears of it.
    """

    docket: HasBroker = field(repr=False)
    key: str
    _generation: int = field(default=0, repr=False, alias="generation")
    _known: ProgressRecord | None = field(default=None, init=False)
    _turns: anyio.Lock | None = field(default=None, init=False, repr=False)

    @classmethod
    async def create(cls, docket: HasBroker, key: str) -> Self:
        """Return the progress of a key, read from Redis.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        progress = cls(docket, key)
        await progress.sync()
        return progress

    @property
    def _broker(self) -> Broker:
        return self.docket.broker

    @property
    def current(self) -> int | None:
        """How much is done; ``None`` where nobody has said anything yet."""
        return None if self._known is None else self._known.current

    @property
    def total(self) -> int:
        """How much there is to do; 100 where nobody has said."""
        return (self._known or _UNSET).total

    @property
    def message(self) -> str | None:
        """What was said last."""
        return (self._known or _UNSET).message

    @property
    def updated_at(self) -> datetime | None:
        """When that was."""
        return (self._known or _UNSET).updated_at

    async def increment(self, amount: int = 1) -> None:
        """Say that more is done, at least 1.

        Raises:
            InvalidSetting: The amount is below 1. It is a ``ValueError``.
            RedisUnavailable: Redis cannot be reached; it may have been counted.
        """
        check_at_least("the amount of progress", amount, 1)
        async with self._turn():
            now = self._broker.clock.now()
            told = await self._broker.progress.increment(self.key, amount, now, generation=self._generation)
            done = (self.current or 0) + amount
            self._known = told or evolve(self._known or _UNSET, current=done, updated_at=now)

    async def set_total(self, total: int) -> None:
        """Say how much there is to do, at least 1.

        Raises:
            InvalidSetting: The total is below 1. It is a ``ValueError``.
            RedisUnavailable: Redis cannot be reached. Saying it again is safe.
        """
        check_at_least("the total of a progress", total, 1)
        async with self._turn():
            now = self._broker.clock.now()
            told = await self._broker.progress.set_total(self.key, total, now, generation=self._generation)
            self._known = told or evolve(self._known or _UNSET, total=total, updated_at=now)

    async def set_message(self, message: str | None) -> None:
        """Say what is being done; ``None`` takes back what was said.

        Raises:
            RedisUnavailable: Redis cannot be reached. Saying it again is safe.
        """
        async with self._turn():
            now = self._broker.clock.now()
            told = await self._broker.progress.set_message(self.key, message, now, generation=self._generation)
            self._known = told or evolve(self._known or _UNSET, message=message, updated_at=now)

    async def sync(self) -> None:
        """Read again how far it has come.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        async with self._turn():
            _, progress = await self._broker.records.read_with_progress(self.key)
            self.take(progress)

    def _turn(self) -> anyio.Lock:
        # Replies may be taken in another order than that of the reports: with one at a time, the last one tells.
        if self._turns is None:
            self._turns = anyio.Lock()
        return self._turns

    @property
    def known(self) -> ProgressRecord | None:
        """All that it tells. Not for users."""
        return self._known

    def take(self, progress: ProgressRecord | None) -> None:
        """Take over what was read, by the execution that this belongs to. Not for users."""
        self._known = progress

    async def subscribe(self, *, ready: Settable | None = None) -> AsyncGenerator[ProgressEvent]:  # noqa: ASYNC900 - pydocket's
        """Give each report that is made from now on, until the execution ends.

        To leave it early, put it into ``contextlib.aclosing``. ``execution.events()`` needs no such care.

        Args:
            ready: An event, set once reports are seen as they are made.

        Raises:
            ExecutionGone: Nothing is recorded of it.
            RedisUnavailable: Redis cannot be reached.
        """
        known = False
        async with open_events(self._broker, self.key, ready=ready) as events:
            async for event in events:
                if event["type"] == "progress":
                    if known:
                        yield event  # noqa: ASYNC119 - a subscription holds no cancel scope and no task
                    known = True
