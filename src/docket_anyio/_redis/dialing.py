"""Making a connection: the socket, TLS, and the first words to the server."""

from __future__ import annotations

import math
import random
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import anyio
from anyio.abc import SocketAttribute
from attrs import define
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from docket_anyio._clock import ServerClock
from docket_anyio._redis.commands import pack
from docket_anyio._redis.connection import Connection, Slot, as_reply
from docket_anyio._redis.errors import Disconnected, reason_of
from docket_anyio._redis.transport import Argument, Command, Reply
from docket_anyio._redis.url import Address, TlsOptions
from docket_anyio._redis.waiter import Port, open_port
from docket_anyio._redis.wire import Tls, Wire

_PAUSES: Final = (0.05, 0.15, 0.4)
"""Seconds between the tries of one caller, about. Longer outages than these are the callers' business."""
PATIENCE: Final = 1.0
"""For how many seconds one caller tries, where nothing tells that it will be better soon."""
_VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@define(eq=False, slots=False, repr=False)
class Dialer:
    """Make connections to one address, and set the clock by each."""

    address: Address
    clock: ServerClock
    patience: float = PATIENCE

    async def dial(self) -> Connection:
        """Connect, and greet the server. Tries a few times; cancelled, it leaves nothing open.

        Raises:
            Disconnected: The server could not be reached.
            AuthenticationError: It did not accept the password, or wants one.
            ResponseError: It refused something else, such as the number of the database.
        """
        begun, pauses = anyio.current_time(), iter(_PAUSES)
        while True:
            try:
                return await self.dial_once()
            except AuthenticationError:
                raise
            except ssl.SSLCertVerificationError as error:
                raise self._unreachable(error) from error
            except (OSError, RedisConnectionError) as error:
                pause = next(pauses, _PAUSES[-1] if self.patience > PATIENCE else None)
                if pause is None or anyio.current_time() - begun + pause > self.patience:
                    raise self._unreachable(error) from error
            # Many clients lose a server at once; they should not come back at once.
            await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311

    def _unreachable(self, error: Exception) -> Disconnected:
        if isinstance(error, TimeoutError):
            words = f"no answer within {self.address.connect_timeout:g} seconds"
        elif isinstance(error, Disconnected):
            words = str(error)
        else:
            words = reason_of(error)
        return Disconnected(f"could not connect to {self.address.redacted}: {words}", maybe_executed=False)

    async def dial_once(self) -> Connection:
        """Connect, and greet the server.

        Raises:
            OSError: The server could not be reached, or not in time.
            RedisError: It did not greet back.
        """
        with anyio.fail_after(self.address.connect_timeout):
            port = open_port(await _open_socket(self.address))
            try:
                wire = Wire(port, await self._secure(port))
                connection = Connection(wire, self.address.response_timeout)
                await self._greet(connection)
            except BaseException:
                port.close()
                raise
        return connection

    async def _secure(self, port: Port) -> Tls | None:
        if self._context is None:
            return None
        tls = Tls.start(self._context, self.address.host)
        wire, data = Wire(port), b""
        while True:
            answer, done = tls.shake_hands(data)
            if answer:
                wire.write(answer)
            while wire.clogged:
                await wire.drain(math.inf)
            if done:
                return tls
            data = await wire.receive(math.inf)

    @cached_property
    def _context(self) -> ssl.SSLContext | None:
        options = self.address.tls
        return None if options is None else _new_context(options)

    async def _greet(self, connection: Connection) -> None:
        """Say everything in one write, and read the answers."""
        commands = self._greeting(await self._credentials())
        asked_at = connection.wire.port.time()
        slot = Slot(b"".join(pack(command) for command in commands), len(commands))
        await connection.exchange(slot)
        answered_at = connection.wire.port.time()
        hello, *selected, _, server_time = slot.replies
        greeting = _fields(as_reply(hello))
        connection.client_id = _client_id(greeting)
        connection.is_replica = greeting.get(b"role") == b"replica"
        for reply in selected:
            as_reply(reply)
        # A user without the right to ask for the time keeps this machine's.
        if isinstance(server_time, list):
            seconds, microseconds = (int(part) for part in server_time if isinstance(part, bytes))
            self.clock.measured(seconds + microseconds / 1e6, asked_at=asked_at, answered_at=answered_at)

    async def _credentials(self) -> Sequence[str]:  # noqa: ASYNC910 - the greeting is a checkpoint
        """Return the name and the password, or nothing."""
        address = self.address
        if address.credentials is None:
            return () if address.password is None else (address.username or "default", address.password)
        try:
            given = await address.credentials.get_credentials_async()
            name, password = given if len(given) == 2 else ("default", *given)
        except Exception as error:  # it is a user's, and the next try may find it in better shape
            # Its words stay out of the message: nobody knows what they tell.
            words = f"the credential provider failed with {type(error).__name__}"
            raise Disconnected(words, maybe_executed=False) from error
        return name, password

    def _greeting(self, credentials: Sequence[str]) -> Sequence[Command]:
        address = self.address
        hello: list[Argument] = ["HELLO", 2]
        if credentials:
            hello += ["AUTH", *credentials]
        if address.client_name is not None:
            hello += ["SETNAME", address.client_name]
        select: list[Command] = [("SELECT", address.db)] if address.db else []
        # Servers before 7.2 answer SETINFO with an error, which nobody looks at.
        return [hello, *select, ("CLIENT", "SETINFO", "LIB-NAME", "docket-anyio"), ("TIME",)]


def _fields(hello: Reply) -> dict[bytes, Reply]:
    flat = hello if isinstance(hello, list) else []
    return {name: value for name, value in zip(flat[::2], flat[1::2], strict=False) if isinstance(name, bytes)}


def _client_id(greeting: Mapping[bytes, Reply]) -> int:
    client_id = greeting.get(b"id")
    if isinstance(client_id, int):
        return client_id
    raise ResponseError("the server answered HELLO with something else; Redis 6.0 or newer is needed")


async def _open_socket(address: Address) -> socket.socket:
    stream = (
        await anyio.connect_unix(address.path)
        if address.kind == "unix"
        else await anyio.connect_tcp(address.host, address.port)
    )
    # AnyIO has found and made the connection; the bytes go over a socket of our own. See Port for why.
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    sock = socket.fromfd(raw.fileno(), raw.family, raw.type)
    try:
        if address.kind == "tcp":
            _notice_a_dead_peer(sock, address.response_timeout)
        with anyio.CancelScope(shield=True):  # does not wait for the peer
            await anyio.aclose_forcefully(stream)
    except BaseException:
        sock.close()
        raise
    return sock


def _notice_a_dead_peer(sock: socket.socket, timeout: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout * 1000))


def _new_context(options: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_certs, capath=options.ca_path)
    context.check_hostname = options.check_hostname
    context.verify_mode = _VERIFY[options.verify]
    if options.certfile is not None:
        context.load_cert_chain(options.certfile, options.keyfile, options.password)
    return context
