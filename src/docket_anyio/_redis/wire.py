"""Bytes to and from a server, through TLS where it is asked for."""

from __future__ import annotations

import ssl
from typing import Final

from attrs import define, field

from docket_anyio._redis.waiter import Port

_TLS_CHUNK: Final = 262_144


@define(eq=False, repr=False)
class Tls:
    """A TLS session without a socket: bytes in, bytes out."""

    _session: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    @classmethod
    def start(cls, context: ssl.SSLContext, host: str) -> Tls:
        """Begin a session as the client of ``host``."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(context.wrap_bio(incoming, outgoing, server_hostname=host), incoming, outgoing)

    def shake_hands(self, data: bytes) -> tuple[bytes, bool]:
        """Take what the server said; return what to answer, and whether the handshake is over."""
        self._incoming.write(data)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read(), False
        return self._outgoing.read(), True

    def encrypt(self, data: bytes) -> bytes:
        """Return what to send so that the server reads ``data``."""
        view = memoryview(data)
        while view:
            view = view[self._session.write(view) :]
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Return what the server meant, ``b""`` while a record is incomplete."""
        self._incoming.write(data)
        plain: list[bytes] = []
        while True:
            try:
                piece = self._session.read(_TLS_CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            if not piece:
                if not plain:
                    raise ConnectionResetError("the server ended the TLS session")
                break
            plain.append(piece)
        return b"".join(plain)


@define(eq=False, repr=False)
class Wire:
    """A connected port. Writing never waits: what does not fit is kept, in order, for ``flush`` or ``drain``."""

    port: Port
    _tls: Tls | None = None
    _rest: list[memoryview] = field(factory=list[memoryview], init=False)

    @property
    def clogged(self) -> bool:
        """Whether bytes are left that the network has not taken."""
        return bool(self._rest)

    def write(self, data: bytes) -> None:
        """Send ``data``, or keep what cannot be sent at once. Raises ``OSError`` only where nothing of it was sent."""
        if self._tls is not None:
            data = self._tls.encrypt(data)
        if self._rest:
            self._rest.append(memoryview(data))
            return
        sent = self.port.send(data)
        if sent < len(data):
            self._rest.append(memoryview(data)[sent:])

    def flush(self) -> None:
        """Send of the rest what can be sent at once."""
        while self._rest:
            sent = self.port.send(self._rest[0])
            if sent < len(self._rest[0]):
                self._rest[0] = self._rest[0][sent:]
                return
            del self._rest[0]

    async def drain(self, deadline: float) -> None:
        """Wait until some of the rest could be sent, and send it. Raises as ``Port.receive`` does."""
        await self.port.wait_writable(deadline)
        self.flush()

    async def receive(self, deadline: float) -> bytes:
        """Wait for bytes.

        Raises:
            TimeoutError: The deadline has passed.
            OSError: The connection is broken, was closed, or has ended.
        """
        while True:
            data = await self.port.receive(deadline)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            if self._tls is None:
                return data
            data = self._tls.decrypt(data)
            if data:
                return data

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, or ``None``. Raises ``OSError`` where the connection is broken or has ended."""
        data = self.port.receive_nowait()
        if data is None:
            return None
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data if self._tls is None else self._tls.decrypt(data) or None

    def close(self) -> None:
        """Close the connection now."""
        self._rest.clear()
        self.port.close()
