"""Requests to stop a key: how they are made, and how those hear of them who run it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from attrs import define, frozen

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.cancelling import NO_WORDS, Found, Words
from docket_anyio._model.events import encode_state_event
from docket_anyio._model.extras import Extra
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery
from docket_anyio._model.record import seconds_to_live
from docket_anyio._redis.client import Redis
from docket_anyio._redis.script import Script
from docket_anyio._redis.transport import Argument, Reply

_CANCEL = scripts.load("cancel")
_RENEW = scripts.load("renew")
_RENEWED_AT_ONCE = 1000
_ALWAYS = datetime.fromtimestamp(0, UTC)


@frozen
class Renewed:
    """What a worker hears when it renews its leases: by receipt, which it has lost, and which runs are to stop."""

    lost: Sequence[bytes]
    to_stop: Sequence[tuple[bytes, Words]]


@define(eq=False)
class Stops:
    """The requests to stop what runs under the keys of a docket."""

    _redis: Redis
    _keys: Keys
    _execution_ttl: timedelta

    async def cancel(
        self, key: str, now: datetime, *, words: Words = NO_WORDS, heard_since: datetime = _ALWAYS
    ) -> tuple[Found, int]:
        """Drop what waits under a key, and ask the worker that runs it to stop. Safe to repeat.

        Args:
            key: The key.
            now: The time.
            words: What a run is told.
            heard_since: Workers that were not heard of since then cannot come to run it again.

        Returns:
            How it stood before, and the generation of what was cancelled.
        """
        keys, completed_at = self._keys, now.isoformat()
        reply = await self._run(
            _CANCEL,
            (
                keys.runs(key),
                keys.known(key),
                keys.parked(key),
                keys.queue,
                keys.stream_id(key),
                keys.progress(key),
                keys.state_channel(key),
                keys.cancel_channel(key),
                keys.workers,
                keys.honouring(Extra.CANCEL),
            ),
            (
                keys.prefix,
                key,
                completed_at,
                self._seconds_to_live,
                encode_state_event(key, ExecutionState.CANCELLED, completed_at=completed_at, reason=words.reason),
                heard_since.timestamp(),
                words.reason or "",
                "" if words.grace is None else words.grace.total_seconds(),
            ),
            repeatable=True,
        )
        match reply:
            case [bytes(found), bytes(generation)]:
                return Found(found), int(generation) if generation.isdigit() else 0
            case _:
                raise TypeError(f"cancel answered {reply!r}")

    async def renew(self, worker: str, deliveries: Sequence[Delivery]) -> Renewed:
        """Renew the leases of deliveries, and hear which of them are not this worker's any more, or are to stop."""
        lost: list[bytes] = []
        to_stop: list[tuple[bytes, Words]] = []
        for first in range(0, len(deliveries), _RENEWED_AT_ONCE):
            some = deliveries[first : first + _RENEWED_AT_ONCE]
            reply = await self._run(
                _RENEW,
                (self._keys.stream, *(self._keys.runs(each.message.key) for each in some)),
                (
                    self._keys.prefix,
                    GROUP,
                    worker,
                    *(word for each in some for word in (each.receipt, each.message.generation)),
                ),
                repeatable=True,
            )
            match reply:
                case [list(receipts), list(requests)]:
                    lost += [each for each in receipts if isinstance(each, bytes)]
                    to_stop += [_request(each) for each in requests]
                case _:
                    raise TypeError(f"renew answered {reply!r}")
        return Renewed(lost, to_stop)  # noqa: ASYNC910 - nothing in hand, nothing to ask

    @property
    def _seconds_to_live(self) -> int:
        return seconds_to_live(self._execution_ttl)

    async def _run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, repeatable: bool = False
    ) -> Reply:
        with redis_errors():
            return await self._redis.run_script(script, keys, args, repeatable=repeatable)


def _request(reply: Reply) -> tuple[bytes, Words]:
    match reply:
        case [bytes(receipt), bytes() | None as reason, bytes() | None as grace]:
            seconds = None if grace is None else timedelta(seconds=float(grace))
            return receipt, Words(None if reason is None else reason.decode(errors="replace"), seconds)
        case _:
            raise TypeError(f"renew answered {reply!r}")
