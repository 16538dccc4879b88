"""A command as redis-py's command methods give it, and the reply as they expect it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

from attrs import frozen
from redis import Redis as SynchronousRedis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.commands import AsyncCoreCommands
from redis.exceptions import RedisError

from docket_anyio._redis.commands import is_unshareable
from docket_anyio._redis.transport import Argument, Command, Reply

# Made without connecting: the shapes of replies depend on the protocol alone.
_TEMPLATE: Final = SynchronousRedis(protocol=2)
_CALLBACKS: Final = cast("Mapping[str, Callable[..., Any]]", cast(Any, _TEMPLATE).response_callbacks)


class CommandMethods(AsyncCoreCommands):
    """redis-py's command methods, with what they look for on a client besides ``execute_command``."""

    _is_async_client: Literal[True] = True  # its overloads tell asynchronous clients by it
    _event_dispatcher: Any = None  # asked for by its types alone

    def get_encoder(self) -> Any:
        """Return redis-py's encoder."""
        return cast(Any, _TEMPLATE).get_encoder()

    def get_connection_kwargs(self) -> dict[str, Any]:
        """Return nothing: replies are bytes."""
        return {}


@frozen
class Call:
    """One command, and what is to be done with its reply."""

    name: str
    command: Command
    options: Mapping[str, Any]

    @classmethod
    def of(cls, arguments: tuple[Argument, ...], options: dict[str, Any]) -> Call:
        """Take apart what a command method hands to ``execute_command``.

        Raises:
            RedisError: The command would change the connection, which belongs to everyone.
        """
        for hint in ("keys", NEVER_DECODE):
            options.pop(hint, None)
        first = arguments[0]
        name = first.decode() if isinstance(first, bytes) else str(first)
        # redis-py writes "XGROUP CREATE", the server reads two words.
        command = (*name.split(), *arguments[1:]) if " " in name else arguments
        if is_unshareable(command):
            raise RedisError(f"{name} changes the connection, and this client's is shared; use a client of your own")
        return cls(name, command, options)

    @property
    def needs_no_reply(self) -> bool:
        """Whether redis-py knows the result of an empty command, such as MGET of no keys, by itself."""
        return EMPTY_RESPONSE in self.options

    @property
    def empty_result(self) -> Any:
        """That result."""
        return self.options[EMPTY_RESPONSE]

    def result(self, reply: Reply) -> Any:
        """Return what the command method promises for this reply."""
        callback = _CALLBACKS.get(self.name)
        if callback is None:
            return reply
        options = self.options
        if EMPTY_RESPONSE in options:
            options = {name: value for name, value in options.items() if name != EMPTY_RESPONSE}
        return callback(reply, **options)
