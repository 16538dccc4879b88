"""Redis as users know it: redis-py's commands, over a transport of ours."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from attrs import define
from redis.exceptions import NoScriptError, ResponseError

from docket_anyio._clock import ServerClock
from docket_anyio._redis.calls import Call, CommandMethods
from docket_anyio._redis.cluster import ClusterTransport
from docket_anyio._redis.commands import blocking_seconds
from docket_anyio._redis.dialing import Dialer
from docket_anyio._redis.multiplexer import Multiplexer
from docket_anyio._redis.pipeline import Pipeline
from docket_anyio._redis.routing import slot_of_key
from docket_anyio._redis.script import Script
from docket_anyio._redis.sentinel import SentinelDialer, SentinelTransport
from docket_anyio._redis.transport import Argument, Command, Reply, Transport
from docket_anyio._redis.url import Address


def connect(address: Address, *, home: str = "") -> Redis:
    """Make a client, without connecting yet. Call it where an event loop runs: the client belongs to that loop.

    Args:
        address: Where.
        home: A key; on a cluster its master gets what is about no key, such as SCAN, and says what time it is.
    """
    return Redis(_transport_to(address, home))


def _transport_to(address: Address, home: str) -> Transport:
    match address.kind:
        case "memory":
            # Only who uses memory:// pays for loading it.
            from docket_anyio._redis.memory.transport import open_memory_transport  # noqa: PLC0415

            return open_memory_transport(address.url)
        case "cluster":
            return ClusterTransport(address, slot_of_key(home))
        case "sentinel":
            return SentinelTransport(SentinelDialer(address, ServerClock()))
        case _:
            return Multiplexer(Dialer(address, ServerClock()))


@define(eq=False, slots=False, repr=False)
class Redis(CommandMethods):
    """redis-py's commands on every event loop that AnyIO knows; keys and values come back as bytes.

    It holds no task and no scope, so it may be opened in one task and closed in another. Tasks may share it: their
    commands share one connection. A command that blocks gets a connection of its own while it does. A cancelled command
    may still be executed by the server.
    """

    transport: Transport

    @property
    def clock(self) -> ServerClock:
        """The time as the server has it."""
        return self.transport.clock

    async def __aenter__(self) -> Redis:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Calls under way fail with ``Disconnected``, and so does every later one."""
        await self.transport.aclose()

    async def execute_command(self, *args: Argument, **options: Any) -> Any:
        """Execute one command, and return what redis-py's method for it promises.

        Raises:
            ResponseError: The server refused the command.
            Disconnected: The connection was lost; it says whether the server may have executed the command.
        """
        call = Call.of(args, options)
        try:
            reply = await self._execute(call.command)
        except ResponseError:
            if call.needs_no_reply:
                return call.empty_result
            raise
        return call.result(reply)

    async def _execute(self, command: Command) -> Reply:
        if blocking_seconds(command) is None:
            return await self.transport.execute(command)
        async with self.transport.open_blocking() as connection:
            return await connection.execute(command)

    def pipeline(self, transaction: bool = True) -> Pipeline:  # noqa: FBT001, FBT002 - as in redis-py
        """Gather commands that are sent in one piece, as a transaction or not."""
        return Pipeline(self.transport, transaction)

    async def run_script(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument], *, repeatable: bool = False
    ) -> Reply:
        """Run a script by its hash; a server that does not know it yet is given its text. The reply is undecoded.

        Args:
            script: What to run.
            keys: Its KEYS.
            args: Its ARGV.
            repeatable: It may run again when a connection broke before its reply was read.

        Raises:
            ResponseError: The script failed.
            Disconnected: The connection was lost; it says whether the script may have run.
        """
        try:
            return await self.transport.execute(("EVALSHA", script.sha, len(keys), *keys, *args), repeatable=repeatable)
        except NoScriptError:
            return await self.transport.execute(("EVAL", script.text, len(keys), *keys, *args), repeatable=repeatable)

    async def run_scripts(
        self, script: Script, calls: Sequence[tuple[Sequence[Argument], Sequence[Argument]]]
    ) -> list[Reply]:
        """Run a script once for each KEYS and ARGV, in one piece; an error stands in place of its reply.

        Raises:
            Disconnected: The connection was lost; it says whether the script may have run.
        """
        commands: list[Command] = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
        # Loading it each time costs less than finding out half-way that the server has forgotten it.
        _, *replies = await self.transport.execute_all([("SCRIPT", "LOAD", script.text), *commands])
        return replies
