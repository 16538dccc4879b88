"""The transitions of a key: each method is one script and one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define
from redis.exceptions import ResponseError

from docket_anyio._broker import scripts
from docket_anyio._broker.answers import Answer, Ending, Promotion, Refusal, scheduled
from docket_anyio._broker.errors import redis_errors, refused
from docket_anyio._broker.keys import GROUP
from docket_anyio._broker.results import stored
from docket_anyio._broker.stops import Stops
from docket_anyio._broker.strikes import BEFORE_ALL
from docket_anyio._model.codec import encode_message, result_value
from docket_anyio._model.events import encode_state_event
from docket_anyio._model.extras import Extra
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, TaskMessage
from docket_anyio._model.record import EXPIRED
from docket_anyio._redis.transport import Argument
from docket_anyio.exceptions import NotHonoured, RedisRefused

_SCHEDULE = scripts.load("schedule")
_PROMOTE = scripts.load("promote")
_START = scripts.load("start")
_SETTLE = scripts.load("settle")
_AGAIN = scripts.load("again")
_HAND_BACK = scripts.load("hand_back")
_ALWAYS = datetime.fromtimestamp(0, UTC)


@define(eq=False)
class Queue(Stops):
    """The messages of a docket and the records of its keys.

    Args:
        redis: Where they are.
        keys: Under which names.
        execution_ttl: How long a record and a result are kept after the end; zero keeps nothing.
    """

    async def schedule(
        self,
        message: TaskMessage,
        *,
        due: bool,
        replace: bool = False,
        last_strike: str = BEFORE_ALL,
        expected_generation: int = 0,
        heard_since: datetime = _ALWAYS,
    ) -> int | Refusal:
        """Add a task, or put it in the place of what is under its key.

        Args:
            message: The task.
            due: It goes to the stream at once, and is not parked until its time.
            replace: Whatever waits under the key is dropped, and what runs is superseded.
            last_strike: Where the last strike stands that the caller has looked at: none is newer, or it is ``STALE``.
            expected_generation: Where the key has come to a newer one, it is ``SUPERSEDED``; 0 for any.
            heard_since: Workers that were not heard of since then have nothing to say about an expiry or a priority.

        Returns:
            The generation, or why nothing was changed.

        Raises:
            NotHonoured: The task is to expire, or has a priority, and a worker would pass over that.
        """
        keys, args = self._schedule_call(
            message,
            due=due,
            replace=replace,
            last_strike=last_strike,
            expected_generation=expected_generation,
            heard_since=heard_since,
        )
        answer = scheduled(await self._run(_SCHEDULE, keys, args))
        if isinstance(answer, NotHonoured):
            raise answer
        return answer

    async def schedule_many(
        self,
        messages: Sequence[tuple[TaskMessage, bool]],
        *,
        replace: bool = False,
        last_strike: str = BEFORE_ALL,
        heard_since: datetime = _ALWAYS,
    ) -> list[int | Refusal | RedisRefused | NotHonoured]:
        """Add many tasks in one round trip; each is a transition of its own.

        Args:
            messages: The tasks, and whether each is due at once.
            replace: See ``schedule``.
            last_strike: See ``schedule``.
            heard_since: See ``schedule``.

        Returns:
            For each the generation, or why nothing was changed.
        """
        calls = [
            self._schedule_call(message, due=due, replace=replace, last_strike=last_strike, heard_since=heard_since)
            for message, due in messages
        ]
        with redis_errors():
            replies = await self._redis.run_scripts(_SCHEDULE, calls)
        return [refused(each) if isinstance(each, ResponseError) else scheduled(each) for each in replies]

    def _schedule_call(
        self,
        message: TaskMessage,
        *,
        due: bool,
        replace: bool,
        last_strike: str,
        heard_since: datetime,
        expected_generation: int = 0,
    ) -> tuple[tuple[str, ...], tuple[Argument, ...]]:
        keys, key = self._keys, message.key
        return (
            (
                keys.runs(key),
                keys.parked(key),
                keys.queue,
                keys.known(key),
                keys.stream_id(key),
                keys.state_channel(key),
                keys.wake_channel,
                keys.strikes,
                keys.workers,
                keys.honouring(Extra.EXPIRY),
                keys.honouring(Extra.PRIORITY),
            ),
            (
                keys.prefix,
                key,
                message.when.timestamp(),
                int(due),
                int(replace),
                _waiting_event(message, due=due),
                last_strike,
                expected_generation,
                "" if message.expires is None else message.expires.timestamp(),
                heard_since.timestamp(),
                *encode_message(message),
            ),
        )

    async def promote(self, now: datetime, *, limit: int) -> Promotion:
        """Move tasks that are due to the stream, at most ``limit`` of them."""
        keys = self._keys
        reply = await self._run(_PROMOTE, (keys.queue,), (keys.prefix, now.timestamp(), limit), repeatable=True)
        match reply:
            case [int(moved), None]:
                return Promotion(moved, next_due=None)
            case [int(moved), bytes(next_due)]:
                return Promotion(moved, next_due=float(next_due))
            case _:
                raise TypeError(f"promote answered {reply!r}")

    async def start(self, delivery: Delivery, worker: str, now: datetime) -> Answer:
        """Begin a run of a worker's delivery, unless it is superseded, cancelled or expired: that settles it.

        Where the docket is paused nothing is changed, and the worker is to hand the delivery back.
        """
        keys, message, started_at = self._keys, delivery.message, now.isoformat()
        reply = await self._run(
            _START,
            (
                keys.runs(message.key),
                keys.progress(message.key),
                keys.known(message.key),
                keys.stream_id(message.key),
                keys.state_channel(message.key),
                keys.stream_with(delivery.receipt),
                keys.paused,
            ),
            (
                keys.prefix,
                *_delivered(delivery),
                worker,
                now.timestamp(),
                started_at,
                encode_state_event(message.key, ExecutionState.RUNNING, worker=worker, started_at=started_at),
                self._seconds_to_live,
                EXPIRED,
                encode_state_event(message.key, ExecutionState.CANCELLED, completed_at=started_at, error=EXPIRED),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def settle(self, delivery: Delivery, ending: Ending, now: datetime) -> Answer:
        """End a run and its execution: record, result, event and acknowledgement in one. Safe to repeat."""
        keys, message, completed_at = self._keys, delivery.message, now.isoformat()
        result_key = ending.result_key or ("" if ending.result is None else message.result_key)
        reply = await self._run(
            _SETTLE,
            (
                keys.runs(message.key),
                keys.progress(message.key),
                keys.state_channel(message.key),
                keys.stream_with(delivery.receipt),
                keys.result(result_key or message.result_key),
            ),
            (
                keys.prefix,
                message.generation,
                delivery.receipt,
                GROUP,
                ending.state.value,
                completed_at,
                self._seconds_to_live,
                encode_state_event(
                    message.key, ending.state, completed_at=completed_at, error=ending.error, reason=ending.reason
                ),
                ending.error or "",
                result_key,
                "" if ending.result is None else self._stored(ending.result, result_key, now),
                int(ending.quiet),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def again(
        self,
        delivery: Delivery,
        successor: TaskMessage,
        now: datetime,
        *,
        due: bool,
        ended: ExecutionState | None = None,
    ) -> Answer:
        """End a run and put its successor in its place. Safe to repeat.

        Args:
            delivery: The run that has ended.
            successor: What comes next under the same key.
            now: The time.
            due: It goes to the stream at once.
            ended: The state that is announced of the run that has ended; ``None`` for a retry, which is no end.
        """
        keys, key = self._keys, successor.key
        reply = await self._run(
            _AGAIN,
            (
                keys.runs(key),
                keys.parked(key),
                keys.queue,
                keys.stream_with(delivery.receipt),
                keys.progress(key),
                keys.state_channel(key),
                keys.wake_channel,
            ),
            (
                keys.prefix,
                *_delivered(delivery),
                successor.when.timestamp(),
                int(due),
                self._seconds_to_live,
                now.isoformat(),
                _waiting_event(successor, due=due),
                "" if ended is None else encode_state_event(key, ended, completed_at=now.isoformat()),
                *encode_message(successor),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def hand_back(self, delivery: Delivery, worker: str, now: datetime) -> Answer:
        """Return a worker's delivery to the queue, the attempt not counted. Safe to repeat.

        One that was asked to stop ends as cancelled instead.
        """
        keys, message = self._keys, delivery.message
        reply = await self._run(
            _HAND_BACK,
            (
                keys.runs(message.key),
                keys.stream_with(delivery.receipt),
                keys.progress(message.key),
                keys.state_channel(message.key),
            ),
            (
                keys.prefix,
                *_delivered(delivery),
                worker,
                message.when.timestamp(),
                self._seconds_to_live,
                now.isoformat(),
                _waiting_event(message, due=True),
                *encode_message(message),
            ),
            repeatable=True,
        )
        return Answer(reply)

    async def discard(self, receipt: bytes) -> None:
        """Take an entry that is no message off the stream."""
        stream = self._keys.stream_with(receipt)
        with redis_errors():
            await self._redis.transport.execute_all(
                (("XACK", stream, GROUP, receipt), ("XDEL", stream, receipt)), repeatable=True
            )

    async def is_empty(self) -> bool:
        """Tell whether nothing waits and nothing runs, on any worker."""
        with redis_errors():
            # A transaction: a task that is promoted between the two questions would be in neither answer.
            ready = [("XLEN", each) for each in self._keys.streams]
            replies = await self._redis.transport.execute_all(
                (("MULTI",), *ready, ("ZCARD", self._keys.queue), ("EXEC",)), repeatable=True
            )
        match replies[-1]:
            case [int(), int(), int(), int()] as counts:
                return not any(counts)
            case answer:
                raise RedisRefused(f"Redis does not tell whether the docket is empty, but {answer!r}")

    def _stored(self, result: bytes, result_key: str, now: datetime) -> str:
        return stored(self._keys, result_key, result_value(result), now=now, seconds=self._seconds_to_live)


def _delivered(delivery: Delivery) -> tuple[str, int, bytes, str]:
    return (delivery.message.key, delivery.message.generation, delivery.receipt, GROUP)


def _waiting_event(message: TaskMessage, *, due: bool) -> str:
    state = ExecutionState.QUEUED if due else ExecutionState.SCHEDULED
    return encode_state_event(message.key, state, when=message.when.isoformat())
