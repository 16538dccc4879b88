"""A connection of one's own, for commands that block on the server."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import anyio
from attrs import define, field
from redis.exceptions import RedisError

from docket_anyio._redis.commands import blocking_seconds, pack
from docket_anyio._redis.connection import Connection, Slot, as_reply
from docket_anyio._redis.dialing import Dialer
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.replicas import leave_a_replica
from docket_anyio._redis.transport import Command, Reply

_RETREAT: Final = 2.0
"""Seconds that a cancelled command may take to be called off."""
_REPEAT: Final = (0.002, 0.005, 0.01, 0.02)
"""Seconds to wait before telling the server to unblock again: the first time may come before the command."""


class _Side(Protocol):
    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply: ...


@define(eq=False, repr=False)
class SocketBlockingConnection:
    """See ``BlockingConnection``. One command at a time; a new connection is made with the command after a loss."""

    _dialer: Dialer
    _side: _Side
    """Where the server can be told to unblock this one."""
    _connection: Connection | None = field(default=None, init=False)
    _leftovers: deque[Reply] = field(factory=deque[Reply], init=False)
    _guard: anyio.ResourceGuard = field(factory=lambda: anyio.ResourceGuard("blocking on"), init=False)
    _closed: str | None = field(default=None, init=False)

    async def connect(self) -> Connection:
        """Return the connection, made anew if it was lost."""
        if self._closed is not None:
            raise Disconnected(self._closed, maybe_executed=False)
        if self._connection is None or self._connection.closed:
            self._connection = await self._dialer.dial()
            if self._closed is not None:
                self._connection.fail(self._closed)
        return self._connection

    async def execute(self, command: Command) -> Reply:
        """See ``BlockingConnection``.

        Raises:
            ResponseError: The server refused the command.
            Disconnected: The connection was lost; it says whether the server may have executed the command.
        """
        slot = Slot(pack(command))
        with self._guard:
            connection = await self.connect()
            blocked = blocking_seconds(command)
            connection.silence = self._dialer.address.response_timeout + (blocked or 0.0)
            try:
                await connection.send(slot)
                await connection.wait(slot)
            except Disconnected:
                raise
            except BaseException:
                await self._retreat(connection, slot)  # noqa: ASYNC102 - shielded and bounded in there
                raise
        leave_a_replica(connection, (command,), slot)
        return as_reply(slot.replies[0])

    async def _retreat(self, connection: Connection, slot: Slot) -> None:
        """Call a cancelled command off, and keep what it had brought. Leaves the connection in step, or closed."""
        try:
            with anyio.move_on_after(_RETREAT, shield=True):
                await self._unblock(connection, slot)
        except RedisError as error:
            connection.fail(f"a cancelled command could not be called off: {error}")
        finally:
            # A native cancellation of an asyncio task passes every shield.
            if not slot.done:
                connection.fail("a cancelled command could not be called off in time")
            reply = slot.replies[0] if slot.replies else None
            if reply is not None and not isinstance(reply, Exception):
                self._leftovers.append(reply)

    async def _unblock(self, connection: Connection, slot: Slot) -> None:
        pauses = iter(_REPEAT)
        while not slot.done:
            await self._side.execute(("CLIENT", "UNBLOCK", connection.client_id), repeatable=True)
            with anyio.move_on_after(next(pauses, _REPEAT[-1])):
                await connection.wait(slot)

    def take_leftover(self) -> Reply:
        """See ``BlockingConnection``."""
        return self._leftovers.popleft() if self._leftovers else None

    def drop(self, reason: str) -> None:
        """Close the connection; the next command makes another one."""
        if self._connection is not None:
            self._connection.fail(reason)

    def close(self, reason: str) -> None:
        """Close the connection for good."""
        self._closed = reason
        self.drop(reason)
