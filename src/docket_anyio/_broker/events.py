"""What is announced: states of keys, requests to stop, tasks that are due earlier than thought, pauses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from attrs import define

from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.events import ExecutionEvent, StateChanged, decode_event, decode_state_event
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Subscription


@define(eq=False)
class StateChanges:
    """The states that a key comes to. Pub/sub may lose one: read the record for the truth."""

    _subscription: Subscription

    async def next(self) -> StateChanged:
        """Wait for the next change.

        Raises:
            RedisUnavailable: The connection was lost: watch again, and read again.
            CorruptMessage: What was published is no state event.
        """
        with redis_errors():
            message = await self._subscription.receive()
        return decode_state_event(message.data)


@define(eq=False)
class Announcements:
    """What is announced of a key: the states that it comes to, and its progress. Pub/sub may lose some."""

    _subscription: Subscription

    async def next(self) -> ExecutionEvent:
        """Wait for the next one. A cancelled call takes none.

        Raises:
            RedisUnavailable: The connection was lost: watch again, and read again.
            CorruptMessage: What was published is none.
        """
        with redis_errors():
            message = await self._subscription.receive()
        return decode_event(message.data)


@define(eq=False)
class Signals:
    """Tells that something has happened, and no more. Pub/sub may lose one: look from time to time."""

    _subscription: Subscription

    async def wait(self) -> None:
        """Wait for the next one.

        Raises:
            RedisUnavailable: The connection was lost, and with it perhaps a signal.
        """
        with redis_errors():
            await self._subscription.receive()


@define(eq=False)
class Cancellations:
    """The keys that workers are asked to stop."""

    _subscription: Subscription
    _keys: Keys

    async def next(self) -> str:
        """Wait for the next key to be stopped.

        Raises:
            RedisUnavailable: The connection was lost, and with it perhaps requests.
        """
        with redis_errors():
            message = await self._subscription.receive()
        return self._keys.cancelled_key(message.channel)


@define(eq=False)
class Events:
    """The announcements of a docket. Each stream of them is open once the server has confirmed it."""

    _redis: Redis
    _keys: Keys

    @asynccontextmanager
    async def watch(self, key: str) -> AsyncGenerator[StateChanges]:
        """Watch the states of a key."""
        with redis_errors():
            async with self._redis.transport.open_subscription(channels=[self._keys.state_channel(key)]) as messages:
                yield StateChanges(messages)

    @asynccontextmanager
    async def watch_all(self, key: str) -> AsyncGenerator[Announcements]:
        """Watch the states and the progress of a key. It holds no cancel scope and no task."""
        channels = [self._keys.state_channel(key), self._keys.progress(key)]
        async with AsyncExitStack() as stack:
            # Errors are made ours on entering only: the block is a user's, with errors of its own.
            with redis_errors():
                subscription = self._redis.transport.open_subscription(channels=channels)
                messages = await stack.enter_async_context(subscription)
            yield Announcements(messages)

    def watch_wakes(self) -> AbstractAsyncContextManager[Signals]:
        """Watch for parked tasks that are due before all others."""
        return self._watch_signals(self._keys.wake_channel)

    def watch_pauses(self) -> AbstractAsyncContextManager[Signals]:
        """Watch for the docket being paused or resumed."""
        return self._watch_signals(self._keys.pause_channel)

    @asynccontextmanager
    async def watch_cancellations(self) -> AsyncGenerator[Cancellations]:
        """Watch for keys that are to be stopped."""
        with redis_errors():
            async with self._redis.transport.open_subscription(patterns=[self._keys.cancel_pattern]) as messages:
                yield Cancellations(messages, self._keys)

    @asynccontextmanager
    async def _watch_signals(self, channel: str) -> AsyncGenerator[Signals]:
        with redis_errors():
            async with self._redis.transport.open_subscription(channels=[channel]) as messages:
                yield Signals(messages)
