"""A handle on a task that was added: how it stands, and what came of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

import anyio
from anyio import move_on_after
from attrs import Factory, define, field, frozen

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.events import StateChanges
from docket_anyio._client.arguments import Arguments
from docket_anyio._client.events import ExecutionEvents, Settable, open_events
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._model.codec import load
from docket_anyio._model.events import ExecutionEvent, StateChanged
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.record import ProgressRecord, RunRecord
from docket_anyio._model.settings import check_aware
from docket_anyio.exceptions import CorruptMessage, ExecutionCancelled, ExecutionGone, RedisUnavailable, TaskFailed

R = TypeVar("R")

# Pub/sub may lose an announcement (a failover does): the record is read again this often, in seconds.
_BACKSTOP: Final = 5.0
# How long, in seconds, the announcement of an end may take to arrive after the record has gone.
_ON_ITS_WAY: Final = 1.0


class Disposition(Enum):
    """What came of an attempt to add a task."""

    LOADED = "loaded"
    SCHEDULED = "scheduled"
    ALREADY_SCHEDULED = "already_scheduled"
    STRUCK = "struck"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@frozen
class _End:
    """How an execution ended."""

    state: ExecutionState
    error: str | None
    result_key: str | None


def _any_progress(execution: Execution[Any]) -> ExecutionProgress:
    return ExecutionProgress(execution._broker, execution.key)  # noqa: SLF001 - the default of a field of it


@define(eq=False)
class Execution(Generic[R]):
    """A task that was added, known by its key.

    Attributes that tell how it stands are as of the last ``sync()``.
    """

    _broker: Broker = field(repr=False, alias="broker")
    key: str
    function_name: str
    function: Callable[..., Any] = field(repr=False)
    _arguments: Arguments = field(repr=False, alias="arguments")
    when: datetime
    attempt: int = 1
    generation: int = 0
    redelivered: bool = False
    disposition: Disposition = Disposition.LOADED
    state: ExecutionState = ExecutionState.SCHEDULED
    worker: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    result_key: str | None = None
    schedule_exception: Exception | None = None
    progress: ExecutionProgress = field(default=Factory(_any_progress, takes_self=True), repr=False)

    @property
    def args(self) -> tuple[object, ...]:
        """The arguments by position.

        Raises:
            CorruptMessage: They cannot be unpickled here.
        """
        return self._arguments.args

    @property
    def kwargs(self) -> dict[str, object]:
        """The arguments by name.

        Raises:
            CorruptMessage: They cannot be unpickled here.
        """
        return self._arguments.kwargs

    async def sync(self) -> None:
        """Read again how it stands, and how far it has come.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        self._take_all(*await self._broker.records.read_with_progress(self.key))

    def events(self, *, ready: Settable | None = None) -> AbstractAsyncContextManager[ExecutionEvents]:
        """Follow it: ``async with execution.events() as events: async for event in events: ...``.

        The first event is the state and the second the progress, as they are; each change since follows. There are no
        more after the last state of the execution. Events are dicts; look at ``event["type"]``, which is ``"state"`` or
        ``"progress"``. A change about the time of a read, on entering or after a lost connection, may be told twice.

        Args:
            ready: An event, set once changes are seen as they happen; that is so on entering the block.

        Raises:
            ExecutionGone: Nothing is recorded of it. Like the next also raised when an event is asked for.
            RedisUnavailable: Redis cannot be reached.
        """
        return open_events(self._broker, self.key, ready=ready, reader=self._take_all)

    async def subscribe(self, *, ready: Settable | None = None) -> AsyncGenerator[ExecutionEvent]:  # noqa: ASYNC900 - pydocket's
        """Give the events that ``events()`` gives, without its block.

        To leave it early, put it into ``contextlib.aclosing``: else the subscription stays until Python finds it.

        Args:
            ready: An event, set when the first event is given.

        Raises:
            ExecutionGone: Nothing is recorded of it.
            RedisUnavailable: Redis cannot be reached.
        """
        async with self.events(ready=ready) as events:
            async for event in events:
                yield event  # noqa: ASYNC119 - a subscription holds no cancel scope and no task

    async def get_result(self, *, timeout: timedelta | None = None, deadline: datetime | None = None) -> R:  # noqa: ASYNC109 - pydocket's signature; a scope does as well
        """Wait until it has ended, and return what it returned.

        ``with anyio.fail_after(5): await execution.get_result()`` bounds the wait as well as ``timeout`` does. Being
        cancelled while waiting changes nothing: ask again whenever you like.

        Args:
            timeout: How long to wait.
            deadline: Until when to wait.

        Raises:
            Exception: What the task itself raised.
            ExecutionCancelled: It was cancelled.
            TaskFailed: It failed with something that cannot be read back.
            ExecutionGone: Nothing is known of it any more.
            TimeoutError: It had not ended in time.
            ValueError: Both ``timeout`` and ``deadline`` are given.
            InvalidTime: The deadline has no time zone.
            RedisUnavailable: Redis cannot be reached.
        """
        with anyio.fail_after(self._patience(timeout, deadline)):
            return await self._result(await self._wait_ended())

    def _patience(self, timeout: timedelta | None, deadline: datetime | None) -> float | None:
        if timeout is not None and deadline is not None:
            raise ValueError("give a timeout or a deadline, not both")
        if deadline is not None:
            timeout = check_aware("the deadline", deadline) - self._broker.clock.now()
        return None if timeout is None else max(0.0, timeout.total_seconds())

    async def _wait_ended(self) -> _End:
        record = await self._broker.records.read(self.key)
        while (end := self._end(record)) is None:
            if record is None:
                raise self._gone()
            try:
                # Subscribe, then read, then wait: a change in between is not missed.
                async with self._broker.events.watch(self.key) as changes:
                    return await self._watch(changes)
            except RedisUnavailable:
                # The subscription broke. Where Redis is gone for longer, this read says so.
                record = await self._broker.records.read(self.key)
        return end

    async def _watch(self, changes: StateChanges) -> _End:
        change: StateChanged | None = None
        while True:
            record = await self._broker.records.read(self.key)
            if (end := self._end(record)) is not None:
                return end
            # With an execution_ttl of zero the record is gone as soon as its end is announced.
            if record is None and change is not None and change.state.terminal:
                return _End(change.state, change.error, result_key=None)
            with move_on_after(_BACKSTOP if record is not None else _ON_ITS_WAY) as patience:  # noqa: ASYNC912 - next() waits
                # What is no state event was published by somebody all the same: reading again does no harm.
                with suppress(CorruptMessage):
                    change = await changes.next()
            if record is None and patience.cancelled_caught:
                raise self._gone()

    def _gone(self) -> ExecutionGone:
        return ExecutionGone(f"nothing is recorded of the execution {self.key!r}")

    def _end(self, record: RunRecord | None) -> _End | None:
        if record is None or not record.state.terminal:
            return None
        self._take(record)
        return _End(record.state, record.error, record.result_key)

    async def _result(self, end: _End) -> R:
        if end.state is ExecutionState.CANCELLED:
            raise ExecutionCancelled(f"the execution {self.key!r} was cancelled")
        stored = None if end.result_key is None else await self._broker.records.read_result(end.result_key)
        if end.state is ExecutionState.FAILED:
            self._raise(stored, end.error)
        if end.result_key is None:
            return cast("R", None)  # the task returned None, which is not stored  # noqa: ASYNC910 - private; get_result() has asked Redis before
        if stored is None:
            raise ExecutionGone(f"the result of the execution {self.key!r} is not kept any more")
        return cast("R", load(stored, f"the result of the execution {self.key!r}"))  # noqa: ASYNC910 - private; get_result() has asked Redis before

    def _raise(self, stored: bytes | None, error: str | None) -> NoReturn:
        if stored is None:
            raise TaskFailed(error or f"the execution {self.key!r} failed")
        try:
            exception = load(stored, f"the exception of the execution {self.key!r}")
        except CorruptMessage as corrupt:
            raise TaskFailed(error or str(corrupt)) from corrupt
        if not isinstance(exception, BaseException):
            raise TaskFailed(error or f"the execution {self.key!r} failed")
        raise exception

    def _take_all(self, record: RunRecord | None, progress: ProgressRecord | None) -> None:
        self._take(record)
        self.progress.take(progress)

    def _take(self, record: RunRecord | None) -> None:
        self.state = ExecutionState.SCHEDULED if record is None else record.state
        self.worker = None if record is None else record.worker
        self.started_at = None if record is None else record.started_at
        self.completed_at = None if record is None else record.completed_at
        self.error = None if record is None else record.error
        self.result_key = None if record is None else record.result_key
