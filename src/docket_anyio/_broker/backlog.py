"""All that waits on a docket: cleared, or looked at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import check_replies, redis_errors
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.codec import decode_message, decode_standing, pairs
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.record import seconds_to_live
from docket_anyio._model.snapshot import Depth, InHand, Standing, Survey, Waiting
from docket_anyio._redis.client import Redis
from docket_anyio._redis.script import Script
from docket_anyio._redis.transport import Argument, Reply
from docket_anyio.exceptions import CorruptMessage

_CLEAR = scripts.load("clear")
_SURVEY = scripts.load("survey")
_START_OF_STREAM = "0-0"
# A script blocks Redis while it runs: it looks at no more than so many at a time.
_AT_ONCE = 1000


@define(eq=False)
class Backlog:
    """The tasks of a docket as a whole.

    Args:
        redis: Where they are.
        keys: Under which names.
        execution_ttl: How long the records of what is cleared are kept; zero keeps none.
    """

    _redis: Redis
    _keys: Keys
    _execution_ttl: timedelta

    async def clear(self, now: datetime, *, at_once: int = _AT_ONCE) -> int:
        """Cancel everything that waits, in as many steps as it takes.

        Args:
            now: The time.
            at_once: How many of the queue and of the stream one step takes.

        Returns:
            How many tasks there were.
        """
        counts = [await self._clear(stream, now, at_once) for stream in self._keys.streams]
        return sum(counts)  # noqa: ASYNC910 - there is always a stream to clear

    async def _clear(self, stream: str, now: datetime, at_once: int) -> int:
        cleared, after = 0, _START_OF_STREAM
        seconds = seconds_to_live(self._execution_ttl)
        while True:
            reply = await self._run(_CLEAR, (stream,), (now.isoformat(), seconds, at_once, GROUP, after))
            match reply:
                case [int(count), None]:
                    return cleared + count
                case [int(count), bytes(position)]:
                    cleared, after = cleared + count, position.decode()
                case _:
                    raise TypeError(f"clear answered {reply!r}")

    async def survey(self, now: datetime, *, at_once: int = _AT_ONCE) -> Survey:
        """Return what waits and what is in workers' hands.

        That is at one moment, but for future tasks past the first ``at_once``: one of those that becomes due just then
        may be missing.

        Args:
            now: The time.
            at_once: How many of the streams are listed; the most urgent, and of those the oldest.
        """
        reply = await self._run(_SURVEY, self._keys.streams, (at_once, GROUP))
        match reply:
            case [int(ready), int(future), list(entries), list(parked), list(further)]:
                waiting, in_hand = _on_stream(entries, now)
                messages = _messages([*parked, *await self._parked(further, at_once)])
                waiting += [Waiting(each, ExecutionState.SCHEDULED) for each in messages]
                return Survey(ready + future, waiting, in_hand)
            case _:
                raise TypeError(f"survey answered {reply!r}")

    async def depth(self, now: datetime) -> Depth:
        """Count what is due or runs, and what is for later. That is nearly at one moment.

        Args:
            now: The time.
        """
        keys, second = self._keys, now.timestamp()
        with redis_errors():
            replies = await self._redis.transport.execute_all(
                (
                    *(("XLEN", each) for each in keys.streams),
                    ("ZCOUNT", keys.queue, "-inf", second),
                    ("ZCOUNT", keys.queue, f"({second}", "+inf"),
                ),
                repeatable=True,
            )
        check_replies(replies)
        match replies:
            case [int(high), int(normal), int(low), int(overdue), int(later)]:
                return Depth(due=high + normal + low + overdue, later=later)
            case _:
                raise TypeError(f"Redis counted {replies!r}")

    async def _parked(self, keys: Sequence[Reply], at_once: int) -> list[Reply]:
        found: list[Reply] = []
        for first in range(0, len(keys), at_once):
            names = [each.decode() for each in keys[first : first + at_once] if isinstance(each, bytes)]
            with redis_errors():
                commands = [("HGETALL", self._keys.parked(name)) for name in names]
                found += await self._redis.transport.execute_all(commands, repeatable=True)
        check_replies(found)
        return found  # noqa: ASYNC910 - private; the survey was one

    async def _run(self, script: Script, streams: Sequence[str], args: Sequence[Argument]) -> Reply:
        keys = self._keys
        with redis_errors():
            return await self._redis.run_script(script, (keys.queue, *streams), (keys.prefix, *args), repeatable=True)


def _on_stream(entries: Sequence[Reply], now: datetime) -> tuple[list[Waiting], list[InHand]]:
    waiting: list[Waiting] = []
    in_hand: list[InHand] = []
    for entry in entries:
        match entry:
            case [bytes(), list(fields), bytes(holder), int(idle), list(record)]:
                since = _standing(record).started_at or now - timedelta(milliseconds=idle)
                in_hand += [InHand(each, holder.decode(), since) for each in _messages([fields])]
            case [bytes(), list(fields), None, _, list(record)]:
                standing = _standing(record)
                waiting += [
                    Waiting(each, ExecutionState.QUEUED)
                    for each in _messages([fields])
                    if not standing.is_over_for(each)
                ]
            case _:
                continue
    return waiting, in_hand


def _standing(record: Sequence[Reply]) -> Standing:
    match record:
        case [bytes() | None as state, bytes() | None as generation, bytes() | None as started_at]:
            try:
                return decode_standing(state, generation, started_at)
            except CorruptMessage:
                return Standing()
        case _:
            return Standing()


def _messages(all_fields: Sequence[Reply]) -> list[TaskMessage]:
    """Return those that can be read; whoever claims one of the others will say what is wrong with it."""
    messages: list[TaskMessage] = []
    for fields in all_fields:
        flat = [each for each in fields if isinstance(each, bytes)] if isinstance(fields, list) else []
        try:
            messages.append(decode_message(pairs(flat)))
        except CorruptMessage:
            continue
    return messages
