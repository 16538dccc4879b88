"""The transitions of a key: each method is one script and one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

from attrs import define, frozen

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.codec import encode_message, encode_result, encode_result_entry
from docket_anyio._model.events import encode_state_event
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, TaskMessage
from docket_anyio._redis.client import Redis
from docket_anyio._redis.script import Script
from docket_anyio._redis.transport import Argument, Reply

_SCHEDULE = scripts.load("schedule")
_PROMOTE = scripts.load("promote")
_CANCEL = scripts.load("cancel")
_START = scripts.load("start")
_SETTLE = scripts.load("settle")
_AGAIN = scripts.load("again")
_HAND_BACK = scripts.load("hand_back")
_RENEW = scripts.load("renew")
_RENEWED_AT_ONCE = 1000


class Answer(Enum):
    """What a script says of a delivery."""

    STARTED = b"started"
    SETTLED = b"settled"
    AGAIN = b"again"
    QUEUED = b"queued"
    SUPERSEDED = b"superseded"
    CANCELLED = b"cancelled"
    GONE = b"gone"


@frozen
class Promotion:
    """How many tasks went to the stream, and when the next is due, in seconds since the epoch."""

    moved: int
    next_due: float | None


@frozen
class Ending:
    """How an execution ended, as it is recorded. ``result`` is pickled."""

    state: ExecutionState
    error: str | None = None
    result: bytes | None = None


@define(eq=False)
class Queue:
    """The messages of a docket and the records of its keys.

    Args:
        redis: Where they are.
        keys: Under which names.
        execution_ttl: How long a record and a result are kept after the end; zero keeps nothing.
    """

    _redis: Redis
    _keys: Keys
    _execution_ttl: timedelta

    async def schedule(self, message: TaskMessage, *, due: bool, replace: bool = False) -> int | None:
        """Add a task, or put it in the place of what is under its key.

        Args:
            message: The task.
            due: It goes to the stream at once, and is not parked until its time.
            replace: Whatever waits under the key is dropped, and what runs is superseded.

        Returns:
            The generation, or ``None`` where the key is taken and nothing was changed.
        """
        keys, key = self._keys, message.key
        reply = await self._run(
            _SCHEDULE,
            (
                keys.runs(key),
                keys.parked(key),
                keys.queue,
                keys.stream,
                keys.known(key),
                keys.stream_id(key),
                keys.state_channel(key),
                keys.wake_channel,
            ),
            (
                key,
                message.when.timestamp(),
                int(due),
                int(replace),
                _waiting_event(message, due=due),
                *encode_message(message),
            ),
        )
        return reply if isinstance(reply, int) and reply > 0 else None

    async def promote(self, now: datetime, *, limit: int) -> Promotion:
        """Move tasks that are due to the stream, at most ``limit`` of them."""
        keys = self._keys
        reply = await self._run(
            _PROMOTE, (keys.queue, keys.stream), (keys.prefix, now.timestamp(), limit), repeatable=True
        )
        match reply:
            case [int(moved), None]:
                return Promotion(moved, next_due=None)
            case [int(moved), bytes(next_due)]:
                return Promotion(moved, next_due=float(next_due))
            case _:
                raise TypeError(f"promote answered {reply!r}")

    async def cancel(self, key: str, now: datetime) -> ExecutionState | None:
        """Drop what waits under a key, and ask the worker that runs it to stop.

        Returns:
            The state before, or ``None`` where the key was unknown.
        """
        keys = self._keys
        reply = await self._run(
            _CANCEL,
            (
                keys.runs(key),
                keys.stream,
                keys.known(key),
                keys.parked(key),
                keys.queue,
                keys.stream_id(key),
                keys.progress(key),
                keys.state_channel(key),
                keys.cancel_channel(key),
            ),
            (
                key,
                now.isoformat(),
                self._seconds_to_live,
                encode_state_event(key, ExecutionState.CANCELLED, completed_at=now.isoformat()),
            ),
            repeatable=True,
        )
        return ExecutionState(reply.decode()) if isinstance(reply, bytes) and reply else None

    async def start(self, delivery: Delivery, worker: str, now: datetime) -> Answer:
        """Begin a run, unless it is superseded or cancelled; then the delivery is settled."""
        keys, message, started_at = self._keys, delivery.message, now.isoformat()
        reply = await self._run(
            _START,
            (
                keys.runs(message.key),
                keys.progress(message.key),
                keys.known(message.key),
                keys.stream_id(message.key),
                keys.state_channel(message.key),
                keys.stream,
            ),
            (
                *_delivered(delivery),
                worker,
                started_at,
                encode_state_event(message.key, ExecutionState.RUNNING, worker=worker, started_at=started_at),
                self._seconds_to_live,
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def settle(self, delivery: Delivery, ending: Ending, now: datetime) -> Answer:
        """End a run and its execution: record, result, event and acknowledgement in one. Safe to repeat."""
        keys, message, completed_at = self._keys, delivery.message, now.isoformat()
        result_key = f"{message.key}:{message.generation}"
        reply = await self._run(
            _SETTLE,
            (
                keys.runs(message.key),
                keys.progress(message.key),
                keys.state_channel(message.key),
                keys.stream,
                keys.result(result_key),
            ),
            (
                message.generation,
                delivery.receipt,
                GROUP,
                ending.state.value,
                completed_at,
                self._seconds_to_live,
                encode_state_event(message.key, ending.state, completed_at=completed_at, error=ending.error),
                ending.error or "",
                result_key,
                "" if ending.result is None else self._stored(ending.result, result_key, now),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def again(self, delivery: Delivery, successor: TaskMessage, *, due: bool) -> Answer:
        """End a run and put its successor in its place. Safe to repeat."""
        keys, key = self._keys, successor.key
        reply = await self._run(
            _AGAIN,
            (
                keys.runs(key),
                keys.parked(key),
                keys.queue,
                keys.stream,
                keys.progress(key),
                keys.state_channel(key),
                keys.wake_channel,
            ),
            (
                *_delivered(delivery),
                successor.when.timestamp(),
                int(due),
                self._seconds_to_live,
                _waiting_event(successor, due=due),
                *encode_message(successor),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def hand_back(self, delivery: Delivery) -> Answer:
        """Return a delivery to the queue, the attempt not counted. Safe to repeat."""
        keys, message = self._keys, delivery.message
        reply = await self._run(
            _HAND_BACK,
            (
                keys.runs(message.key),
                keys.stream,
                keys.progress(message.key),
                keys.state_channel(message.key),
            ),
            (
                *_delivered(delivery),
                message.when.timestamp(),
                self._seconds_to_live,
                _waiting_event(message, due=True),
                *encode_message(message),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def discard(self, receipt: bytes) -> None:
        """Take an entry that is no message off the stream."""
        with redis_errors():
            await self._redis.transport.execute_all(
                (("XACK", self._keys.stream, GROUP, receipt), ("XDEL", self._keys.stream, receipt)), repeatable=True
            )

    async def renew(self, worker: str, receipts: Sequence[bytes]) -> list[bytes]:
        """Renew the leases of deliveries.

        Returns:
            The receipts of those that are not this worker's any more.
        """
        lost: list[bytes] = []
        for first in range(0, len(receipts), _RENEWED_AT_ONCE):
            some = receipts[first : first + _RENEWED_AT_ONCE]
            reply = await self._run(_RENEW, (self._keys.stream,), (GROUP, worker, *some), repeatable=True)
            if isinstance(reply, list):
                lost += [each for each in reply if isinstance(each, bytes)]
        return lost  # noqa: ASYNC910 - nothing in hand, nothing to ask

    async def is_empty(self) -> bool:
        """Tell whether nothing waits and nothing runs, on any worker."""
        with redis_errors():
            # A transaction: a task that is promoted between the two questions would be in neither answer.
            replies = await self._redis.transport.execute_all(
                (("MULTI",), ("XLEN", self._keys.stream), ("ZCARD", self._keys.queue), ("EXEC",)), repeatable=True
            )
        return replies[-1] == [0, 0]

    @property
    def _seconds_to_live(self) -> int:
        # Whole seconds on the wire; less than one must not become "keep nothing".
        return 0 if not self._execution_ttl else max(1, int(self._execution_ttl.total_seconds()))

    def _stored(self, result: bytes, result_key: str, now: datetime) -> str:
        if self._keys.bare_results:
            return encode_result(result)
        return encode_result_entry(
            result,
            collection=self._keys.results,
            key=result_key,
            created_at=now,
            time_to_live=timedelta(seconds=self._seconds_to_live),
        )

    async def _run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, repeatable: bool = False
    ) -> Reply:
        with redis_errors():
            return await self._redis.run_script(script, keys, args, repeatable=repeatable)


def _delivered(delivery: Delivery) -> tuple[str, int, bytes, str]:
    return (delivery.message.key, delivery.message.generation, delivery.receipt, GROUP)


def _waiting_event(message: TaskMessage, *, due: bool) -> str:
    state = ExecutionState.QUEUED if due else ExecutionState.SCHEDULED
    return encode_state_event(message.key, state, when=message.when.isoformat())
