"""A server that was the master, and has been made a replica."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import ReadOnlyError

from docket_anyio._redis.commands import READ_ONLY, name_of
from docket_anyio._redis.connection import Connection, Slot
from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.transport import Command


def leave_a_replica(connection: Connection, commands: Sequence[Command], slot: Slot) -> None:
    """Retire the connection if the server has refused to write because it is a replica.

    Raises:
        Disconnected: It has. Before it was made a replica it may have executed some of the commands.
    """
    if not any(_is_of_replica(each) for each in slot.replies):
        return
    reason = "the server is a replica now"
    connection.retire(reason)
    if name_of(commands[0]) == "MULTI":
        refused = isinstance(slot.replies[-1], Exception)
    else:
        written = (
            reply
            for command, reply in zip(commands, slot.replies, strict=True)
            if name_of(command) not in READ_ONLY | {"SCRIPT"}
        )
        refused = all(isinstance(each, Exception) for each in written)
    raise Disconnected(reason, maybe_executed=not refused)


def _is_of_replica(reply: object) -> bool:
    """Tell whether a reply is a refusal because the server is not the master, or not any more: nothing was done.

    Before Redis 7 a script's refusal is an error of the script, with the reason in its words.
    """
    return isinstance(reply, ReadOnlyError) or (
        isinstance(reply, Exception) and (str(reply).startswith("UNBLOCKED") or "-READONLY " in str(reply))
    )
