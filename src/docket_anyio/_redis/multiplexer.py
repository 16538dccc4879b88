"""A transport over sockets: one shared connection for short commands, others beside it for what waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from anyio.lowlevel import checkpoint
from attrs import define, field

from docket_anyio._clock import ServerClock
from docket_anyio._redis.blocking import SocketBlockingConnection
from docket_anyio._redis.commands import READ_ONLY, name_of, pack
from docket_anyio._redis.connection import Connection, Slot, as_reply
from docket_anyio._redis.dialing import Dialer
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.pubsub import Hub
from docket_anyio._redis.sharing import Shared
from docket_anyio._redis.transport import Command, Reply, Subscription
from docket_anyio._redis.url import Address

_SENDS: Final = 3
"""How often a repeatable command is sent: one that itself makes the server drop the connection must come to an end."""


@define(eq=False, repr=False)
class Multiplexer:
    """Carry commands to the server at one address. It holds no task, no scope and no group."""

    address: Address
    clock: ServerClock = field(factory=ServerClock)
    _dialer: Dialer = field(init=False)
    _hub: Hub = field(init=False)
    _shared: Shared[Connection] = field(init=False)
    _blocking: set[SocketBlockingConnection] = field(factory=set[SocketBlockingConnection], init=False)
    _closed: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._dialer = Dialer(self.address, self.clock)
        self._shared = Shared(self._dialer.dial)
        self._hub = Hub(self._dialer)

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        """See ``Transport``. A cancelled command may still be executed by the server."""
        slot = Slot(pack(command))
        try:
            connection = self._shared.value
            if connection is None or connection.closed:
                connection = await self._shared.get()
            await connection.exchange(slot)
        except Disconnected as error:
            slot = await self._send_again(slot, error, repeatable=repeatable or name_of(command) in READ_ONLY)
        return as_reply(slot.replies[0])

    async def execute_all(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        """See ``Transport``. Cancelled commands may still be executed by the server."""
        if not commands:
            await checkpoint()
            return []
        slot = Slot(b"".join([pack(command) for command in commands]), len(commands))
        try:
            await (await self._shared.get()).exchange(slot)
        except Disconnected as error:
            slot = await self._send_again(slot, error, repeatable=repeatable)
        return slot.replies

    async def _send_again(self, slot: Slot, error: Disconnected, *, repeatable: bool) -> Slot:
        """Send what was lost on a new connection, if it never left, or if the caller can have it twice."""
        executed = error.maybe_executed
        for _ in range(_SENDS - 1):
            if (executed and not repeatable) or slot.error is None:
                break
            slot = Slot(slot.data, slot.count)
            try:
                await (await self._shared.get()).exchange(slot)
            except Disconnected as again:
                error, executed = again, executed or again.maybe_executed
            else:
                return slot
        raise Disconnected(str(error), maybe_executed=executed) from error

    @asynccontextmanager
    async def open_blocking(self) -> AsyncGenerator[SocketBlockingConnection]:
        """See ``Transport``."""
        blocking = SocketBlockingConnection(self._dialer, self)
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

    async def aclose(self) -> None:
        """See ``Transport``. Safe to repeat."""
        self._closed = "the client was closed"
        for blocking in list(self._blocking):
            blocking.close(self._closed)
        self._hub.close(self._closed)
        self._shared.close(self._closed)
        await checkpoint()
