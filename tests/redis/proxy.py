"""A way to Redis that fails on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute
from attrs import define, field


@define(eq=False)
class Proxy:
    """Pass bytes on, until told otherwise."""

    url: str = field(init=False)
    upstream: int
    connections: int = field(default=0, init=False)
    requests: bytes = field(default=b"", init=False)
    cut_after: bytes | None = field(default=None, init=False)
    """Once a request with this in it was answered, throw the answer away and close. One time."""
    refuse: bool = field(default=False, init=False)
    """Close each new connection at once."""
    mute: bool = field(default=False, init=False)
    """Swallow every answer."""
    asked: anyio.Event = field(factory=anyio.Event, init=False)
    """Something was sent to the server."""
    _open: list[ByteStream] = field(factory=list[ByteStream], init=False)

    async def cut(self) -> None:
        """Close every connection."""
        for stream in self._open:
            await anyio.aclose_forcefully(stream)
        self._open.clear()

    async def serve(self, client: ByteStream) -> None:
        """Carry one connection."""
        self.connections += 1
        async with client:
            if self.refuse:
                return
            async with await anyio.connect_tcp("127.0.0.1", self.upstream) as server:
                self._open += [client, server]
                async with anyio.create_task_group() as group:
                    group.start_soon(self._upwards, client, server)
                    await self._downwards(server, client)
                    group.cancel_scope.cancel()

    async def _upwards(self, client: ByteStream, server: ByteStream) -> None:
        try:
            async for data in client:
                self.requests += data
                self.asked.set()
                await server.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        await anyio.aclose_forcefully(server)

    async def _downwards(self, server: ByteStream, client: ByteStream) -> None:
        try:
            async for data in server:
                if self.cut_after is not None and self.cut_after in self.requests:
                    self.cut_after = None
                    return
                if not self.mute:
                    await client.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass


@asynccontextmanager
async def open_proxy(upstream: int) -> AsyncGenerator[Proxy]:
    """Listen on a free port, on behalf of the server at the port ``upstream``."""
    proxy = Proxy(upstream)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        port = listener.extra(SocketAttribute.local_port)
        proxy.url = f"redis://127.0.0.1:{port}/0"
        group.start_soon(listener.serve, proxy.serve)
        yield proxy
        group.cancel_scope.cancel()
