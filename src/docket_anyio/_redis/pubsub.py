"""Subscriptions: many of them on one connection, which is there as long as there is one of them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

import anyio
import hiredis
from anyio.lowlevel import checkpoint
from attrs import define, field, frozen
from redis.exceptions import RedisError

from docket_anyio._redis.commands import pack
from docket_anyio._redis.connection import new_reader, replies_in
from docket_anyio._redis.dialing import Dialer
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.sharing import Shared
from docket_anyio._redis.transport import Message, Reply, Subscription
from docket_anyio._redis.wire import Wire

_LIMIT: Final = 10_000
"""Messages kept for a subscription that does not read while another one does. Redis itself keeps up to 32 MB."""


@frozen
class _Name:
    """A channel or a pattern."""

    name: bytes
    pattern: bool = False

    def subscribe(self) -> bytes:
        """Return the command that begins to listen to it."""
        return pack(("PSUBSCRIBE" if self.pattern else "SUBSCRIBE", self.name))

    def unsubscribe(self) -> bytes:
        """Return the command that ends listening to it."""
        return pack(("PUNSUBSCRIBE" if self.pattern else "UNSUBSCRIBE", self.name))


@define(eq=False, repr=False)
class _Topic:
    """Who listens to a channel or a pattern, and how many confirmations are due."""

    name: _Name
    listeners: set[SharedSubscription] = field(factory=set["SharedSubscription"], init=False)
    unconfirmed: int = field(default=0, init=False)


@define(eq=False, repr=False)
class SharedSubscription:
    """See ``Subscription``. Read by one task at a time."""

    _session: _Session
    topics: list[_Topic] = field(factory=list[_Topic], init=False)
    inbox: deque[Message] = field(factory=deque[Message], init=False)
    error: RedisError | None = field(default=None, init=False)
    waiter: Awaitable[None] | None = field(default=None, init=False)
    _guard: anyio.ResourceGuard = field(factory=lambda: anyio.ResourceGuard("receiving from"), init=False)

    async def receive(self) -> Message:
        """See ``Subscription``. A cancelled call takes no message."""
        with self._guard:
            await self._session.wait(self, lambda: bool(self.inbox))
            if self.inbox:
                return self.inbox.popleft()
        raise self._failure()

    async def wait_confirmed(self) -> None:
        """Wait until the server has confirmed every channel and pattern."""
        await self._session.wait(self, lambda: not any(topic.unconfirmed for topic in self.topics))
        if self.error is not None:
            raise self._failure()

    def _failure(self) -> RedisError:
        error = self.error
        if error is None or isinstance(error, Disconnected):
            return Disconnected(str(error), maybe_executed=True)
        return error

    def put(self, message: Message) -> None:
        """Keep a message until it is received; with too many of them the subscription has failed."""
        if len(self.inbox) < _LIMIT:
            self.inbox.append(message)
        elif self.error is None:
            self.error = Disconnected("the subscription was read too slowly: messages were lost", maybe_executed=True)


@define(eq=False, repr=False)
class _Session:
    """One connection, its topics, and the turns that their listeners take at reading it."""

    _wire: Wire
    _patience: float
    """Seconds of silence after which the server is asked whether it is there, and within which it has to answer."""
    _topics: dict[_Name, _Topic] = field(factory=dict[_Name, _Topic], init=False)
    _subscriptions: set[SharedSubscription] = field(factory=set[SharedSubscription], init=False)
    _due: deque[_Topic | None] = field(factory=deque["_Topic | None"], init=False)
    """For each command that was sent, in order: the topic that its reply confirms."""
    _parser: hiredis.Reader = field(factory=new_reader, init=False)
    _reader: SharedSubscription | None = field(default=None, init=False)
    _waiting: dict[SharedSubscription, None] = field(factory=dict[SharedSubscription, None], init=False)
    _asked: bool = field(default=False, init=False)
    closed: bool = field(default=False, init=False)

    def add(self, names: Sequence[_Name]) -> SharedSubscription:
        """Begin to listen; what nobody listened to before is still to be confirmed."""
        subscription = SharedSubscription(self)
        self._subscriptions.add(subscription)
        chunks: list[bytes] = []
        for name in dict.fromkeys(names):
            topic = self._topics.setdefault(name, _Topic(name))
            if not topic.listeners:
                topic.unconfirmed += 1
                self._due.append(topic)
                chunks.append(name.subscribe())
            topic.listeners.add(subscription)
            subscription.topics.append(topic)
        self._send(chunks)
        return subscription

    def remove(self, subscription: SharedSubscription) -> None:
        """Listen no more. Never waits, so that it can be done while being cancelled; the last one closes."""
        self._subscriptions.discard(subscription)
        chunks: list[bytes] = []
        for topic in subscription.topics:
            topic.listeners.discard(subscription)
            if not topic.listeners and self._topics.get(topic.name) is topic:
                self._due.append(None)
                chunks.append(topic.name.unsubscribe())
                if not topic.unconfirmed:
                    del self._topics[topic.name]
        if not self._subscriptions:
            self.fail("nobody listens any more")
        else:
            self._send(chunks)

    async def wait(self, subscription: SharedSubscription, ready: Callable[[], bool]) -> None:
        """Wait until ``ready``, or until the subscription has failed; read for all while nobody else does."""
        if ready() or subscription.error is not None:
            await checkpoint()
        try:
            while not ready() and subscription.error is None:
                if self._reader is None or self._reader is subscription:
                    self._reader = subscription
                    await self._read_for_all()
                else:
                    subscription.waiter = waiter = self._wire.port.waiter()
                    self._waiting[subscription] = None
                    await waiter
        finally:
            self._waiting.pop(subscription, None)
            subscription.waiter = None
            if self._reader is subscription:
                self._reader = None
                self._pass_turn()

    def _pass_turn(self) -> None:
        for subscription in self._waiting:
            self._reader = subscription
            self._wake(subscription)
            return

    def _wake(self, subscription: SharedSubscription) -> None:
        self._waiting.pop(subscription, None)
        if subscription.waiter is not None:
            self._wire.port.wake(subscription.waiter)
            subscription.waiter = None

    async def _read_for_all(self) -> None:
        deadline = self._wire.port.time() + self._patience
        try:
            if self._wire.clogged:
                await self._wire.drain(deadline)
            self._feed(await self._wire.receive(deadline))
            self._asked = False
        except TimeoutError:
            if self._asked:
                self.fail("the server did not answer in time")
            else:
                self._asked = True
                self._due.append(None)
                self._send([pack(("PING",))])
        except OSError as error:
            self.fail(f"the connection was lost: {error}")

    def check(self) -> None:
        """Take in what has arrived, so that a connection that has ended is noticed before it is joined."""
        if self._reader is None and not self.closed:
            try:
                data = self._wire.receive_nowait()
                if data:
                    self._feed(data)
            except OSError as error:
                self.fail(f"the connection was lost: {error}")

    def _send(self, chunks: list[bytes]) -> None:
        if chunks and not self.closed:
            try:
                self._wire.write(b"".join(chunks))
            except OSError as error:
                self.fail(f"sending to the server failed: {error}")

    def _feed(self, data: bytes) -> None:
        try:
            replies = replies_in(self._parser, data)
        except hiredis.ProtocolError as error:
            self.fail(f"the server does not speak the protocol of Redis: {error}")
            return
        for reply in replies:
            match reply:
                case [b"message", bytes(channel), bytes(payload)]:
                    self._deliver(_Name(channel), Message(channel, payload))
                case [b"pmessage", bytes(pattern), bytes(channel), bytes(payload)]:
                    self._deliver(_Name(pattern, pattern=True), Message(channel, payload, pattern))
                case _:
                    self._confirm(reply)

    def _deliver(self, name: _Name, message: Message) -> None:
        topic = self._topics.get(name)
        for subscription in topic.listeners if topic is not None else ():
            subscription.put(message)
            self._wake(subscription)

    def _confirm(self, reply: Reply) -> None:
        """Take the answer to a command; they come in the order in which the commands went."""
        topic = self._due.popleft() if self._due else None
        if topic is None:
            return
        topic.unconfirmed -= 1
        if isinstance(reply, Exception):
            for subscription in topic.listeners:
                subscription.error = subscription.error or cast("RedisError", reply)
        if not topic.listeners and not topic.unconfirmed and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
        for subscription in topic.listeners:
            self._wake(subscription)

    def fail(self, reason: str) -> None:
        """Close the connection; whoever still listens gets a ``Disconnected`` with this reason."""
        if self.closed:
            return
        self.closed = True
        self._wire.close()
        for subscription in self._subscriptions:
            subscription.error = subscription.error or Disconnected(reason, maybe_executed=True)
            self._wake(subscription)


@define(eq=False, repr=False)
class Hub:
    """Hand out subscriptions. The connection is opened with the first one and closed with the last."""

    _dialer: Dialer
    _shared: Shared[_Session] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._shared = Shared(self._dial)

    async def _dial(self) -> _Session:
        connection = await self._dialer.dial()
        return _Session(connection.wire, self._dialer.address.response_timeout / 2)

    @asynccontextmanager
    async def open(self, channels: Sequence[str], patterns: Sequence[str]) -> AsyncGenerator[Subscription]:
        """Listen, entered once the server has confirmed; see ``Transport.open_subscription``."""
        names = [_Name(name.encode()) for name in channels]
        names += [_Name(name.encode(), pattern=True) for name in patterns]
        if self._shared.value is not None:
            self._shared.value.check()
        session = await self._shared.get()
        # No checkpoint from here to the registration: a session without listeners may be closed by any other task.
        subscription = session.add(names)
        try:
            await subscription.wait_confirmed()
            yield subscription
        finally:
            session.remove(subscription)

    def drop(self, reason: str) -> None:
        """Close the connection; the next subscription opens another one."""
        self._shared.drop(reason)

    def close(self, reason: str) -> None:
        """Close the connection for good."""
        self._shared.close(reason)
