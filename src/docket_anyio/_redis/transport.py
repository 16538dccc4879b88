"""What carries commands to a Redis: the seam between the command layer and a socket or the server in this process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from attrs import frozen
from redis.exceptions import ResponseError

from docket_anyio._clock import ServerClock

Argument: TypeAlias = bytes | str | int | float
Command: TypeAlias = Sequence[Argument]
# As RESP2 has it. A ResponseError stands as a value only inside a list; on its own it is raised.
Reply: TypeAlias = "bytes | int | ResponseError | list[Reply] | None"


@frozen
class Message:
    """A published message, as one subscription sees it."""

    channel: bytes
    data: bytes
    pattern: bytes | None = None


class Subscription(Protocol):
    """Channels and patterns listened to; every one of them was confirmed by the server before it is handed out."""

    async def receive(self) -> Message:
        """Wait for the next message.

        Raises:
            Disconnected: The connection was lost, and with it perhaps messages: subscribe again and read again.
        """
        ...


class BlockingConnection(Protocol):
    """A connection of one's own, for commands that block."""

    async def execute(self, command: Command) -> Reply:
        """Send one command and wait for its reply.

        A cancelled call loses nothing: the server is told to unblock, and a reply that it had given all the same is
        kept for ``take_leftover``.
        """
        ...

    def take_leftover(self) -> Reply:
        """Return, once, the reply that a cancelled call left behind, or ``None``."""
        ...


class Transport(Protocol):
    """A way to a Redis."""

    @property
    def clock(self) -> ServerClock:
        """The time as the server has it."""
        ...

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        """Send one command that does not block and return its reply, undecoded.

        Args:
            command: The name and the arguments.
            repeatable: The command may be sent again when a connection broke before its reply was read.

        Raises:
            ResponseError: The server refused the command.
            Disconnected: The connection was lost; it says whether the server may have executed the command.
        """
        ...

    async def execute_all(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        """Send commands in one piece, with no other caller's between them; an error stands in place of its reply."""
        ...

    def open_blocking(self) -> AbstractAsyncContextManager[BlockingConnection]:
        """Open a connection for blocking commands."""
        ...

    def open_subscription(
        self, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[Subscription]:
        """Listen to channels and patterns; entered once the server has confirmed each."""
        ...

    async def aclose(self) -> None:
        """Close every connection. Calls under way fail with ``Disconnected``."""
        ...
