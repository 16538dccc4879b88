"""Cancelling: a key is stopped, and whoever asked for that may wait for what comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import anyio
from anyio import move_on_after
from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.events import StateChanges
from docket_anyio._broker.keys import Keys
from docket_anyio._client.execution import current_execution
from docket_anyio._client.fleet import Fleet
from docket_anyio._model.cancelling import Cancellation, Found, Words, came_of
from docket_anyio._model.events import StateChanged
from docket_anyio._model.keys import check_key
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.settings import check_not_negative
from docket_anyio.exceptions import CorruptMessage, RedisUnavailable

# Pub/sub may lose an announcement (a failover does): the record is read again this often, in seconds.
_BACKSTOP: Final = 1.0
# How long after its grace, in seconds, a run may take to be recorded as ended, and that to be heard of.
_ON_ITS_WAY: Final = 1.0
_STILL_RUNNING: Final = Cancellation.STILL_RUNNING
_KNOWN_AT_ONCE: Final[Mapping[Found, Cancellation]] = MappingProxyType(
    {
        Found.UNKNOWN: Cancellation.UNKNOWN,
        Found.WAITING: Cancellation.NEVER_STARTED,
        Found.ENDED: Cancellation.ALREADY_FINISHED,
        Found.RUNNING: Cancellation.REQUESTED,
    }
)


class Cancelling(Fleet):
    """A docket whose tasks can be cancelled.

    Args:
        name: The docket's name.
        url: Where it is.
        keys: Its keys.
        heartbeat_interval: See ``Fleet``.
        missed_heartbeats: See ``Fleet``.
    """

    def __init__(self, name: str, url: str, keys: Keys, heartbeat_interval: timedelta, missed_heartbeats: int) -> None:
        super().__init__(name, keys, heartbeat_interval, missed_heartbeats)
        self.url: Final = url

    async def cancel(self, key: str, *, reason: str | None = None, grace: timedelta | None = None) -> Cancellation:
        """Cancel what is under a key: waiting, it never starts; running, its worker is told to stop it.

        The record says that it is cancelled once it has stopped, and not before. Cancelling what has ended, or never
        was, changes nothing, and cancelling again does not change what the first one asked for.

        Args:
            key: The key.
            reason: Why, in words: for the body, the log, and whoever asks for the result.
            grace: How long the body has to stop. It is waited for, and a little longer until the answer is there. A
                body that cancels its own key does not wait for itself.

        Returns:
            What is known at once, or, where a run was waited for, what has come of it.

        Raises:
            InvalidKey: The key cannot be one.
            InvalidSetting: The grace is less than nothing.
            RedisUnavailable: Redis cannot be reached. Cancelling again is safe.
        """
        check_key(key)
        words = Words(reason, None if grace is None else check_not_negative("grace", grace))

        async def ask() -> tuple[Found, int]:
            broker = self.broker
            now = broker.clock.now()
            return await broker.queue.cancel(key, now, words=words, heard_since=now - self.patience_with_workers)

        with self._telemetry.span("docket.cancel", {"docket.key": key}):
            if grace is None or self._is_run_of(key):
                found, _ = await ask()
                came = _KNOWN_AT_ONCE[found]
            else:
                came = await _Wait(self.broker, key, ask, grace.total_seconds() + _ON_ITS_WAY).run()
        self._telemetry.cancelled()
        return came

    def _is_run_of(self, key: str) -> bool:
        """Tell whether the caller is in the run of a key of this docket."""
        execution = current_execution.get(None)
        if execution is None or execution.key != key:
            return False
        docket: Any = execution.docket
        return bool((docket.name, docket.url) == (self.name, self.url))


@define(eq=False)
class _Wait:
    """One request to stop a key, and the wait for what comes of it."""

    _broker: Broker
    _key: str
    _ask: Callable[[], Awaitable[tuple[Found, int]]]
    _patience: float
    _generation: int | None = field(default=None, init=False)
    _deadline: float = field(default=0.0, init=False)

    async def run(self) -> Cancellation:
        while True:
            try:
                # Before the request: where nothing is kept, nobody would tell of an end just after it.
                async with self._broker.events.watch(self._key) as changes:
                    return await self._run(changes)
            except RedisUnavailable:
                if self._generation is None:
                    raise
                # The subscription broke. Where Redis is gone for longer, this says so.
                await self._broker.records.read(self._key)

    async def _run(self, changes: StateChanges) -> Cancellation:
        if self._generation is None:
            found, generation = await self._ask()
            if found is not Found.RUNNING:
                return _KNOWN_AT_ONCE[found]
            self._generation, self._deadline = generation, anyio.current_time() + self._patience
        with anyio.CancelScope(deadline=self._deadline):
            return await self._follow(changes, self._generation)
        # Of what is not recorded any more nobody can tell whether it runs.
        record = await self._broker.records.read(self._key)
        return Cancellation.REQUESTED if record is None else came_of(record, self._generation) or _STILL_RUNNING

    async def _follow(self, changes: StateChanges, generation: int) -> Cancellation:
        change: StateChanged | None = None
        while True:
            record = await self._broker.records.read(self._key)
            if record is not None and (came := came_of(record, generation)) is not None:
                return came
            # With an execution_ttl of zero the record is gone as soon as its end is announced.
            if record is None and change is not None and change.state.terminal:
                stopped = change.state is ExecutionState.CANCELLED
                return Cancellation.STOPPED if stopped else Cancellation.FINISHED_FIRST
            with move_on_after(_BACKSTOP):  # noqa: ASYNC912 - next() waits
                # What is no state event was published by somebody all the same: reading again does no harm.
                with suppress(CorruptMessage):
                    change = await changes.next()
