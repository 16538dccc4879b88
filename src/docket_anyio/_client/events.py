"""Following an execution: how it stands, and then everything that is announced of it, to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol, Self, TypeAlias

import anyio
from anyio import move_on_after
from anyio.lowlevel import checkpoint
from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.events import Announcements
from docket_anyio._model.events import ExecutionEvent, progress_event, state_event, tells_the_same
from docket_anyio._model.record import ProgressRecord, RunRecord
from docket_anyio.exceptions import CorruptMessage, ExecutionGone, RedisUnavailable

Reader: TypeAlias = Callable[[RunRecord | None, ProgressRecord | None], None]

# Pub/sub may lose an announcement (a failover does): the record is read again after so many seconds of silence.
_BACKSTOP: Final = 5.0
# How long, in seconds, the announcement of an end may take to arrive after the record has gone.
_ON_ITS_WAY: Final = 1.0
# Between a subscription that broke and the next, in seconds: where Redis is gone for longer, reading says so.
_PAUSE: Final = 0.05


class Settable(Protocol):
    """An event of any library: AnyIO's, asyncio's, trio's."""

    def set(self) -> object:
        """Let those go on who wait for it."""
        ...


@define(eq=False)
class ExecutionEvents:
    """The events of one execution, for ``async for``: a state, its progress, and then each that is announced.

    After the last state of the execution there are no more. One that repeats what the one before of its type told is
    left out. Read by one task at a time.
    """

    _broker: Broker
    _key: str
    _ready: Settable | None
    _reader: Reader | None
    _subscription: AsyncExitStack
    _announcements: Announcements | None = field(default=None, init=False)
    _must_read: bool = field(default=False, init=False)
    _gone: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)
    _last: dict[str, ExecutionEvent] = field(factory=dict[str, ExecutionEvent], init=False)
    _unread: deque[ExecutionEvent] = field(factory=deque[ExecutionEvent], init=False)

    async def start(self) -> None:
        """Subscribe, and read how it stands.

        Raises:
            ExecutionGone: Nothing is recorded of it.
            RedisUnavailable: Redis cannot be reached.
        """
        while self._announcements is None or self._must_read:
            await self._try_to_advance()
        await checkpoint()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ExecutionEvent:
        """Wait for the next event. A checkpoint; a cancelled call takes none.

        Raises:
            StopAsyncIteration: The execution has ended.
            ExecutionGone: Nothing is recorded of it.
            RedisUnavailable: Redis cannot be reached. What was missed is made up for if the next call can reach it.
        """
        await checkpoint()
        while not self._unread:
            if self._ended:
                raise StopAsyncIteration
            await self._try_to_advance()
        return self._unread.popleft()

    async def _try_to_advance(self) -> None:
        try:
            await self._advance()
        except RedisUnavailable:
            await self._start_over()

    async def _advance(self) -> None:
        if self._announcements is None:
            # Subscribe, then read, then wait: what changes in between is not missed.
            self._announcements = await self._subscription.enter_async_context(self._broker.events.watch_all(self._key))
            self._must_read = True
        if self._must_read:
            await self._read()
            self._must_read = False
            self._tell_ready()
        else:
            await self._wait(self._announcements)

    async def _start_over(self) -> None:
        self._announcements = None
        await self._subscription.aclose()
        await self._read()
        await anyio.sleep(_PAUSE)

    async def _wait(self, announcements: Announcements) -> None:
        try:
            with move_on_after(_ON_ITS_WAY if self._gone else _BACKSTOP) as patience:
                self._hear(await announcements.next())
        except CorruptMessage:
            await checkpoint()  # published by somebody all the same
            return
        if patience.cancelled_caught:
            if self._gone:
                raise self._nothing_recorded()
            self._must_read = True

    def _hear(self, event: ExecutionEvent) -> None:
        self._gone = False
        self._tell(event)
        # Each run of a perpetual task ends, and so does a superseded one: has the execution ended with it?
        self._must_read = event["type"] == "state" and event["state"].terminal

    async def _read(self) -> None:
        record, progress = await self._broker.records.read_with_progress(self._key)
        if self._reader is not None:
            self._reader(record, progress)
        self._take(record, progress)

    def _take(self, record: RunRecord | None, progress: ProgressRecord | None) -> None:
        if record is None:
            self._take_none()
            return
        self._gone, self._ended = False, record.state.terminal
        self._tell(state_event(self._key, record))
        # The progress goes with the end; that is nothing to tell, except to who has not heard of it at all.
        if not self._ended or "progress" not in self._last:
            self._tell(progress_event(self._key, progress))

    def _take_none(self) -> None:
        last = self._last.get("state")
        if last is None:
            raise self._nothing_recorded()
        # With an execution_ttl of zero the record is gone as soon as its end is announced.
        self._ended = last["type"] == "state" and last["state"].terminal
        self._gone = not self._ended

    def _tell(self, event: ExecutionEvent) -> None:
        if not tells_the_same(event, self._last.get(event["type"])):
            self._unread.append(event)
        self._last[event["type"]] = event

    def _tell_ready(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.set()

    def _nothing_recorded(self) -> ExecutionGone:
        return ExecutionGone(f"nothing is recorded of the execution {self._key!r}")


@asynccontextmanager
async def open_events(
    broker: Broker, key: str, *, ready: Settable | None, reader: Reader | None = None
) -> AsyncGenerator[ExecutionEvents]:
    """Follow a key, until the block is left.

    Args:
        broker: What remembers it.
        key: What to follow.
        ready: Set once changes are seen as they happen.
        reader: Given whatever is read of it.

    Raises:
        ExecutionGone: Nothing is recorded of it.
        RedisUnavailable: Redis cannot be reached.
    """
    # Neither a subscription nor what holds it has a cancel scope or a task, so a generator may yield in here.
    async with AsyncExitStack() as subscription:
        events = ExecutionEvents(broker, key, ready, reader, subscription)
        await events.start()
        yield events
