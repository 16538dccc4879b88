"""A transport over sockets: one shared connection for short commands, others beside it for what waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from anyio.lowlevel import checkpoint
from attrs import define, field, frozen

from docket_anyio._clock import ServerClock
from docket_anyio._redis.blocking import SocketBlockingConnection
from docket_anyio._redis.commands import READ_ONLY, name_of, pack
from docket_anyio._redis.connection import Connection, Slot, as_reply
from docket_anyio._redis.dialing import Dialer
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.pubsub import Hub
from docket_anyio._redis.replicas import leave_a_replica
from docket_anyio._redis.sharing import Shared
from docket_anyio._redis.transport import Command, Reply, Subscription

_SENDS: Final = 3
"""How often a repeatable command is sent: one that itself makes the server drop the connection must come to an end."""


@frozen(eq=False)
class _Sent:
    """What was sent in one piece, and whether it may be sent twice."""

    commands: Sequence[Command]
    slot: Slot
    repeatable: bool


@define(eq=False, repr=False)
class Multiplexer:
    """Carry commands to one server. It holds no task, no scope and no group.

    A server that turns out to be a replica is left for the one that is the master: that has been changed.
    """

    dialer: Dialer
    _hub: Hub = field(init=False)
    _shared: Shared[Connection] = field(init=False)
    _blocking: set[SocketBlockingConnection] = field(factory=set[SocketBlockingConnection], init=False)
    _closed: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._shared = Shared(self.dialer.dial)
        self._hub = Hub(self.dialer)

    @property
    def clock(self) -> ServerClock:
        """See ``Transport``."""
        return self.dialer.clock

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        """See ``Transport``. A cancelled command may still be executed by the server."""
        slot = Slot(pack(command))
        try:
            connection = self._shared.value
            if connection is None or connection.closed:
                connection = await self._shared.get()
            await connection.exchange(slot)
            if isinstance(slot.replies[0], Exception):
                leave_a_replica(connection, (command,), slot)
        except Disconnected as error:
            sent = _Sent((command,), slot, repeatable=repeatable or name_of(command) in READ_ONLY)
            slot = await self._send_again(sent, error)
        return as_reply(slot.replies[0])

    async def execute_all(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        """See ``Transport``. Cancelled commands may still be executed by the server."""
        if not commands:
            await checkpoint()
            return []
        slot = Slot(b"".join([pack(command) for command in commands]), len(commands))
        try:
            await self._exchange(commands, slot)
        except Disconnected as error:
            slot = await self._send_again(_Sent(commands, slot, repeatable=repeatable), error)
        return slot.replies

    async def _exchange(self, commands: Sequence[Command], slot: Slot) -> None:
        connection = await self._shared.get()
        await connection.exchange(slot)
        leave_a_replica(connection, commands, slot)

    async def _send_again(self, sent: _Sent, error: Disconnected) -> Slot:
        """Send what was lost on a new connection, if it never left, or if the caller can have it twice."""
        slot, executed = sent.slot, error.maybe_executed
        for _ in range(_SENDS - 1):
            if (executed and not sent.repeatable) or not slot.done:
                break
            slot = Slot(slot.data, slot.count)
            try:
                await self._exchange(sent.commands, slot)
            except Disconnected as again:
                error, executed = again, executed or again.maybe_executed
            else:
                return slot
        raise Disconnected(str(error), maybe_executed=executed) from error

    @asynccontextmanager
    async def open_blocking(self) -> AsyncGenerator[SocketBlockingConnection]:
        """See ``Transport``."""
        blocking = SocketBlockingConnection(self.dialer, self)
        if self._closed is not None:
            blocking.close(self._closed)
        self._blocking.add(blocking)
        try:
            await blocking.connect()
            yield blocking
        finally:
            self._blocking.discard(blocking)
            blocking.close("the connection was closed")

    def open_subscription(
        self, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[Subscription]:
        """See ``Transport``."""
        return self._hub.open(channels, patterns)

    def drop(self, reason: str) -> None:
        """Close every connection, and make others when they are needed; what is under way fails with this reason."""
        for blocking in list(self._blocking):
            blocking.drop(reason)
        self._hub.drop(reason)
        self._shared.drop(reason)

    def close(self, reason: str) -> None:
        """Close every connection; what is under way fails with this reason."""
        self._closed = reason
        for blocking in list(self._blocking):
            blocking.close(reason)
        self._hub.close(reason)
        self._shared.close(reason)

    async def aclose(self) -> None:
        """See ``Transport``. Safe to repeat."""
        self.close("the client was closed")
        await checkpoint()
