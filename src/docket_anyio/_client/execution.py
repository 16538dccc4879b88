"""A handle on a task that was added: how it stands, and what came of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, Final, Generic, NoReturn, Self, TypeVar, cast

import anyio
from anyio import move_on_after
from attrs import Factory, define, field, frozen

from docket_anyio._broker.answers import Answer, Ending
from docket_anyio._broker.broker import Broker
from docket_anyio._broker.events import StateChanges
from docket_anyio._client.disposition import Disposition
from docket_anyio._client.events import ExecutionEvents, Settable, open_events
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._client.registry import TaskFunction
from docket_anyio._client.request import Home
from docket_anyio._client.running import Running
from docket_anyio._model.codec import decode_message, load, result_payload
from docket_anyio._model.events import ExecutionEvent, StateChanged
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.record import EXPIRED, ProgressRecord, RunRecord
from docket_anyio._model.settings import check_aware
from docket_anyio.exceptions import (
    CorruptMessage,
    ExecutionCancelled,
    ExecutionExpired,
    ExecutionGone,
    RedisUnavailable,
    TaskFailed,
)

R = TypeVar("R")

# Pub/sub may lose an announcement (a failover does): the record is read again this often, in seconds.
_BACKSTOP: Final = 5.0
# How long, in seconds, the announcement of an end may take to arrive after the record has gone.
_ON_ITS_WAY: Final = 1.0


@frozen
class _End:
    """How an execution ended."""

    state: ExecutionState
    error: str | None
    reason: str | None
    result_key: str | None


def _any_progress(execution: Execution[Any]) -> ExecutionProgress:
    return ExecutionProgress(execution.docket, execution.key)


@define(eq=False)
class Execution(Running, Generic[R]):
    """A task that was added, or is to be, known by its key.

    ``docket.add()`` and ``docket.get_execution()`` return them. Attributes that tell how it stands are as of the last
    ``sync()``, or of what was done through this handle since.
    """

    disposition: Disposition = field(default=Disposition.LOADED, kw_only=True)
    state: ExecutionState = field(default=ExecutionState.SCHEDULED, kw_only=True)
    worker: str | None = field(default=None, kw_only=True)
    started_at: datetime | None = field(default=None, kw_only=True)
    completed_at: datetime | None = field(default=None, kw_only=True)
    error: str | None = field(default=None, kw_only=True)
    result_key: str | None = field(default=None, kw_only=True)
    schedule_exception: Exception | None = field(default=None, kw_only=True)
    progress: ExecutionProgress = field(default=Factory(_any_progress, takes_self=True), repr=False, kw_only=True)

    @classmethod
    async def from_message(
        cls,
        docket: Home,
        message: Mapping[bytes, bytes],
        redelivered: bool = False,  # noqa: FBT001, FBT002 - pydocket's signature, and so is sync
        fallback_task: TaskFunction | None = None,
        message_id: bytes | None = None,
        sync: bool = True,  # noqa: FBT001, FBT002
    ) -> Self:
        """Return the execution that an entry of the stream is about.

        Args:
            docket: Where it is.
            message: The fields of the entry.
            redelivered: It was in another worker's hands before.
            fallback_task: Its function where the task is not registered.
            message_id: The entry's id.
            sync: Read how it stands.

        Raises:
            InvalidTask: The task is not registered, and there is no fallback. It is a ``ValueError``.
            CorruptMessage: A field is missing or cannot be read.
            RedisUnavailable: Redis cannot be reached.
        """
        asked = decode_message(message)
        function = docket.registry.function(asked.task, fallback_task)
        execution = cls.of(docket, function, asked, redelivered=redelivered, message_id=message_id)
        if sync:
            await execution.sync()
        return execution  # noqa: ASYNC910 - pydocket's signature; without sync there is nothing to wait for

    async def schedule(
        self,
        replace: bool = False,  # noqa: FBT001, FBT002 - pydocket's signature
        reschedule_message: bytes | None = None,
        expected_generation: int = 0,
    ) -> Disposition:
        """Put it on its docket; see ``Docket.schedule``.

        Raises:
            InvalidKey: As for ``Docket.schedule``, like all others.
            InvalidTime: ``when`` has no time zone.
            NotSerializable: The arguments cannot be pickled.
            NotOpen: The docket is not open.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        return await self._home.schedule(
            self, replace=replace, reschedule_message=reschedule_message, expected_generation=expected_generation
        )

    async def claim(self, worker: str) -> bool:
        """Begin its run by hand, as a worker does: what it does next is up to you, and so is to mark its end.

        Args:
            worker: In whose name.

        Returns:
            Whether it runs now. If not, it was cancelled, has expired or ended, or was superseded.

        Raises:
            RedisUnavailable: Redis cannot be reached. Claiming again is safe.
        """
        answer = await self._broker.queue.start(self.delivery(), worker, self._broker.clock.now())
        await self.sync()
        return answer is Answer.STARTED

    async def mark_as_completed(self, result_key: str | None = None) -> None:
        """Record that it has completed; for who claimed it by hand. A worker does so by itself.

        Args:
            result_key: Where in ``docket.result_storage`` its result was put.

        Raises:
            RedisUnavailable: Redis cannot be reached. Marking again is safe.
        """
        await self._mark(Ending(ExecutionState.COMPLETED, result_key=result_key))

    async def mark_as_failed(self, error: str | None = None, result_key: str | None = None) -> None:
        """Record that it has failed; for who claimed it by hand.

        Args:
            error: What went wrong, in words.
            result_key: Where in ``docket.result_storage`` its exception was put.

        Raises:
            RedisUnavailable: Redis cannot be reached. Marking again is safe.
        """
        await self._mark(Ending(ExecutionState.FAILED, error=error, result_key=result_key))

    async def mark_as_cancelled(self) -> None:
        """Record that it was cancelled; for who claimed it by hand. ``docket.cancel()`` asks others to stop it, too.

        Raises:
            RedisUnavailable: Redis cannot be reached. Marking again is safe.
        """
        await self._mark(Ending(ExecutionState.CANCELLED))

    async def is_superseded(self) -> bool:
        """Tell whether its key was scheduled anew since, so that its end is nobody's concern any more.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        record = await self._broker.records.read(self.key)
        return record is not None and 0 < self.generation < record.generation

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
            timeout: How long to wait; zero looks once, and waits for nothing but the answer.
            deadline: Until when to wait; one that has passed is a timeout of zero.

        Raises:
            Exception: What the task itself raised.
            ExecutionCancelled: It was cancelled; its ``reason`` is why, if that was said. ``ExecutionExpired``, which
                is one, if it had waited for too long.
            TaskFailed: It failed with something that cannot be read back.
            ExecutionGone: Nothing is known of it any more.
            TimeoutError: It had not ended in time.
            ValueError: Both ``timeout`` and ``deadline`` are given.
            InvalidTime: The deadline has no time zone.
            RedisUnavailable: Redis cannot be reached.
        """
        patience = self._patience(timeout, deadline)
        if patience == 0:
            return await self._result(await self._ended_by_now())
        with anyio.fail_after(patience):
            return await self._result(await self._wait_ended())

    def _patience(self, timeout: timedelta | None, deadline: datetime | None) -> float | None:
        if timeout is not None and deadline is not None:
            raise ValueError("give a timeout or a deadline, not both")
        if deadline is not None:
            timeout = check_aware("the deadline", deadline) - self._broker.clock.now()
        return None if timeout is None else max(0.0, timeout.total_seconds())

    async def _ended_by_now(self) -> _End:
        end = await self._find_end()
        if end is None:
            raise TimeoutError(f"the execution {self.key!r} has not ended yet")
        return end

    async def _wait_ended(self) -> _End:
        # Where nothing is kept, a first look could see it run, and nobody would tell of an end just after.
        end = await self._find_end() if self._broker.execution_ttl else None
        while end is None:
            try:
                # Subscribe, then read, then wait: a change in between is not missed.
                async with self._broker.events.watch(self.key) as changes:
                    end = await self._watch(changes)
            except RedisUnavailable:
                # The subscription broke. Where Redis is gone for longer, this read says so.
                end = await self._find_end()
        return end  # noqa: ASYNC910 - private; it has looked, or watched

    async def _find_end(self) -> _End | None:
        record = await self._broker.records.read(self.key)
        if record is None:
            raise self._gone()
        return self._end(record)

    async def _watch(self, changes: StateChanges) -> _End:
        change: StateChanged | None = None
        while True:
            record = await self._broker.records.read(self.key)
            if (end := self._end(record)) is not None:
                return end
            # With an execution_ttl of zero the record is gone as soon as its end is announced.
            if record is None and change is not None and change.state.terminal:
                return _End(change.state, change.error, change.reason, result_key=None)
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
        return _End(record.state, record.error, record.reason, record.result_key)

    async def _result(self, end: _End) -> R:
        if end.error == EXPIRED:
            raise ExecutionExpired(self.key)
        if end.state is ExecutionState.CANCELLED:
            raise ExecutionCancelled(self.key, end.reason)
        value = None if end.result_key is None else await self._broker.results.get(end.result_key)
        stored = None if value is None else result_payload(value)
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

    async def _mark(self, ending: Ending) -> None:
        now = self._broker.clock.now()
        answer = await self._broker.queue.settle(self.delivery(), ending, now)
        await self.sync()
        if answer is Answer.SETTLED:
            # With an execution_ttl of zero there is no record to read.
            self.state, self.completed_at = ending.state, now
            self.error, self.result_key = ending.error, ending.result_key

    @property
    def _broker(self) -> Broker:
        return self._home.broker

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


current_execution: Final[ContextVar[Execution[Any]]] = ContextVar("current_execution")
"""The execution that the running code is the run of."""
