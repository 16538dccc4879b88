"""The transport to a server in this process: the same seam as a socket, without one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import anyio
from anyio.lowlevel import RunVar, checkpoint
from attrs import define, field
from redis.exceptions import DataError

from docket_anyio._clock import ServerClock
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.memory.errors import Refused, Status
from docket_anyio._redis.memory.keyspace import Wait
from docket_anyio._redis.memory.pubsub import Listener
from docket_anyio._redis.memory.server import Server, Session
from docket_anyio._redis.memory.waiters import Waiter
from docket_anyio._redis.transport import Argument, BlockingConnection, Command, Reply, Subscription

_CLOSED: Final = "the connection was closed"
# Kept by the event loop, so that the servers are freed with it.
_servers: Final[RunVar[dict[str, Server]]] = RunVar("docket_anyio memory servers")


def open_memory_transport(url: str) -> MemoryTransport:
    """Return a way to the server of this URL on the running event loop, which is made on first use.

    The server and its data outlive the transport, for the sake of others with the same URL, and end with the loop.
    """
    servers = _servers.get(None)
    if servers is None:
        servers = dict[str, Server]()
        _servers.set(servers)
    server = servers.get(url)
    if server is None:
        server = servers[url] = Server()
    return MemoryTransport(server)


def _clock_of(server: Server) -> ServerClock:
    # One of its own: what a client measures must not move the server's time.
    clock, now = ServerClock(), anyio.current_time()
    clock.measured(server.clock.timestamp(), asked_at=now, answered_at=now)
    return clock


def _encode(words: Command) -> list[bytes]:
    return [word if type(word) is bytes else _encode_word(word) for word in words]


def _encode_word(word: Argument) -> bytes:
    if isinstance(word, str):
        return word.encode()
    if isinstance(word, bool):
        raise DataError("Invalid input of type: 'bool'. Convert to a bytes, string, int or float first.")
    if isinstance(word, (int, float)):
        return repr(word).encode()
    try:
        return bytes(memoryview(word))
    except TypeError:
        kind = type(word).__name__
        raise DataError(f"Invalid input of type: '{kind}'. Convert to a bytes, string, int or float first.") from None


def _begin(server: Server, session: Session, words: list[bytes]) -> Reply | Wait:
    """Run a command. Return its reply, or what it waits for."""
    try:
        answer = server.execute(session, words)
    except Refused as refused:
        raise refused.as_reply() from None
    return bytes(answer) if type(answer) is Status else answer


def _finished(answer: Reply | Refused | Disconnected) -> Reply:
    """Return an answer as the caller gets it, or raise what it is."""
    if isinstance(answer, Refused):
        raise answer.as_reply()
    if isinstance(answer, Disconnected):
        raise answer
    return answer


@define(eq=False)
class _Client:
    """One client of the server, as a connection is."""

    server: Server
    session: Session
    closed: bool = field(default=False, init=False)
    leftover: Reply = field(default=None, init=False)

    def check(self) -> None:
        if self.closed:
            raise Disconnected(_CLOSED, maybe_executed=False)

    async def execute(self, words: list[bytes]) -> Reply:
        self.check()
        await checkpoint()
        self.check()
        answer = _begin(self.server, self.session, words)
        if isinstance(answer, Wait):
            return await self._wait(answer)
        return answer

    async def _wait(self, wants: Wait) -> Reply:
        waiter = self.server.waiters.add(self.session.client, wants)
        finished = False
        try:
            await waiter.wait()
            finished = True
        finally:
            self.server.waiters.forget(waiter)
            if not finished:
                self._keep(waiter)
        return _finished(waiter.answer)

    def _keep(self, waiter: Waiter) -> None:
        # Served and cancelled in the same moment: the entries are pending under the consumer's name already.
        if not isinstance(waiter.answer, (Refused, Disconnected)):
            self.leftover = waiter.answer

    def close(self) -> None:
        self.closed = True
        self.server.waiters.disconnect([self.session.client])


@define(eq=False)
class MemoryBlocking:
    """A connection of one's own to the server in this process."""

    _client: _Client

    async def execute(self, command: Command) -> Reply:
        """Run one command, which may block. A checkpoint; what a cancelled call had been given is left over."""
        return await self._client.execute(_encode(command))

    def take_leftover(self) -> Reply:
        """Return, once, the reply that a cancelled call left behind, or ``None``."""
        leftover, self._client.leftover = self._client.leftover, None
        return leftover


@define(eq=False)
class MemoryTransport:
    """A way to a server in this process."""

    _server: Server
    clock: ServerClock = field(init=False)
    _closed: bool = field(default=False, init=False)
    _session: Session = field(init=False)
    _clients: set[_Client] = field(factory=set[_Client], init=False)
    _listeners: set[Listener] = field(factory=set[Listener], init=False)

    def __attrs_post_init__(self) -> None:
        self.clock = _clock_of(self._server)
        self._session = self._server.connect()

    def _check(self) -> None:
        if self._closed:
            raise Disconnected(_CLOSED, maybe_executed=False)

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:  # noqa: ARG002 - nothing is ever lost here
        """Run one command. A checkpoint; a cancelled call has done nothing.

        One that blocks holds up nobody else here, but what it had been given is lost when it is cancelled:
        ``open_blocking`` is for those.

        Raises:
            ResponseError: The command was refused.
            Disconnected: The transport was closed.
        """
        self._check()
        words = _encode(command)
        await checkpoint()
        self._check()
        answer = _begin(self._server, self._session, words)
        if isinstance(answer, Wait):
            async with self.open_blocking() as blocking:
                return await blocking.execute(words)
        return answer

    async def execute_all(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:  # noqa: ARG002 - as above
        """Run commands in one piece, with nothing between them; none of them blocks. A checkpoint, as ``execute`` is.

        Raises:
            Disconnected: The transport was closed.
        """
        self._check()
        encoded = [_encode(command) for command in commands]
        await checkpoint()
        self._check()
        return self._server.execute_all(self._session, encoded)

    def open_blocking(self) -> AbstractAsyncContextManager[BlockingConnection]:
        """Open a connection for blocking commands."""
        return self._open_blocking()

    @asynccontextmanager
    async def _open_blocking(self) -> AsyncGenerator[BlockingConnection]:
        self._check()
        client = _Client(self._server, self._server.connect())
        self._clients.add(client)
        try:
            yield MemoryBlocking(client)
        finally:
            client.close()
            self._clients.discard(client)

    def open_subscription(
        self, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[Subscription]:
        """Listen to channels and patterns."""
        return self._open_subscription(channels, patterns)

    @asynccontextmanager
    async def _open_subscription(
        self, channels: Sequence[str], patterns: Sequence[str]
    ) -> AsyncGenerator[Subscription]:
        self._check()
        await checkpoint()
        self._check()
        listener = Listener(
            tuple(channel.encode() for channel in channels), tuple(pattern.encode() for pattern in patterns)
        )
        self._server.channels.add(listener)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._server.channels.remove(listener)
            self._listeners.discard(listener)
            listener.fail("the subscription was closed")

    async def aclose(self) -> None:
        """End this transport and fail what is under way in it. A checkpoint, at which it is closed already."""
        self._closed = True
        for client in self._clients:
            client.close()
        for listener in self._listeners:
            listener.fail(_CLOSED)
        await checkpoint()
