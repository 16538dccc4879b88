"""What has to be known about commands: their bytes, which of them only read, which block, which are not for sharing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from redis.exceptions import DataError

from docket_anyio._redis.transport import Argument, Command

# hiredis types it as if a tuple had one item.
_pack = cast("Callable[[tuple[object, ...]], bytes]", cast("Any", hiredis).pack_command)

# Sent again without asking when a reply was lost. XREAD with BLOCK never comes here.
READ_ONLY: Final = frozenset(
    "PING TIME GET MGET STRLEN EXISTS TYPE TTL PTTL HGET HMGET HGETALL HLEN HEXISTS HKEYS HVALS SMEMBERS SISMEMBER"
    " SCARD ZSCORE ZMSCORE ZCARD ZCOUNT ZRANGE ZRANGEBYSCORE LLEN LRANGE XLEN XRANGE XREVRANGE XINFO XPENDING"
    " SCAN".split()
)

# These change the connection itself, and a shared connection belongs to everybody.
UNSHAREABLE: Final = frozenset(
    "AUTH HELLO SELECT QUIT RESET MONITOR SYNC PSYNC WATCH UNWATCH MULTI EXEC DISCARD"
    " SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split()
)
_UNSHAREABLE_CLIENT: Final = frozenset({"REPLY", "TRACKING", "CACHING", "PAUSE", "SETNAME"})

_TIMEOUT_LAST: Final = frozenset("BLPOP BRPOP BRPOPLPUSH BLMOVE BZPOPMIN BZPOPMAX".split())
_TIMEOUT_FIRST: Final = frozenset({"BLMPOP", "BZMPOP"})
_MILLISECONDS_LAST: Final = frozenset({"WAIT", "WAITAOF"})
_BLOCK_OPTION: Final = frozenset({"XREAD", "XREADGROUP"})
_BLOCKING: Final = _TIMEOUT_LAST | _TIMEOUT_FIRST | _MILLISECONDS_LAST | _BLOCK_OPTION


def pack(command: Command) -> bytes:
    """Return a command as the server reads it."""
    try:
        return _pack(tuple(command))
    except TypeError:
        return _pack(tuple(_plain(argument) for argument in command))


def _plain(argument: object) -> bytes | str | int | float:
    """Return what hiredis takes: it refuses subclasses, buffers other than bytes, and everything else."""
    if isinstance(argument, bytes | bytearray):
        return bytes(argument)
    if isinstance(argument, memoryview):
        return argument.tobytes()
    if isinstance(argument, str):
        return argument.encode()
    if isinstance(argument, int) and not isinstance(argument, bool):
        return int(argument)
    if isinstance(argument, float):
        return float(argument)
    raise DataError(f"a command cannot hold a {type(argument).__name__}; convert it to bytes, str, int or float before")


def name_of(command: Command) -> str:
    """Return the name of a command in upper case, without its sub-command."""
    name = command[0]
    return (name.decode(errors="replace") if isinstance(name, bytes) else str(name)).upper()


def is_unshareable(command: Command) -> bool:
    """Tell whether the command would change the connection for everyone who uses it."""
    name = name_of(command)
    if name == "CLIENT" and len(command) > 1:
        return name_of(command[1:]) in _UNSHAREABLE_CLIENT
    return name in UNSHAREABLE


def blocking_seconds(command: Command) -> float | None:
    """Return for how long the server may wait before it answers: ``None`` if not at all, ``math.inf`` for ever."""
    name = name_of(command)
    if name not in _BLOCKING:
        return None
    if name in _BLOCK_OPTION:
        milliseconds = _block_option(command)
        return None if milliseconds is None else _duration(milliseconds, 1000)
    place = 1 if name in _TIMEOUT_FIRST else len(command) - 1
    return _duration(command[place], 1000 if name in _MILLISECONDS_LAST else 1)


def _block_option(command: Command) -> Argument | None:
    # The two words after GROUP are names of the user's own, whatever they look like.
    for place in range(4 if name_of(command) == "XREADGROUP" else 1, len(command) - 1):
        word = name_of(command[place:])
        if word == "BLOCK":
            return command[place + 1]
        if word == "STREAMS":
            break
    return None


def _duration(value: Argument, per_second: int) -> float:
    try:
        seconds = float(value) / per_second
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf
