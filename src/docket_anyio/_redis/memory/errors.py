"""Statuses and refusals, in the words that Redis uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from redis.connection import DefaultParser
from redis.exceptions import ResponseError

# Not annotated in redis-py.
_parse_error = cast("Callable[[str], ResponseError]", cast("Any", DefaultParser).parse_error)


class Status(bytes):
    """A simple string such as ``OK``, which a script sees as a table and a client as bytes."""


class Refused(Exception):
    """A command was refused. The text starts with the code, as on the wire."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def as_reply(self) -> ResponseError:
        """Return the exception that redis-py makes of such a reply."""
        return _parse_error(self.text)


OK: Final = Status(b"OK")
QUEUED: Final = Status(b"QUEUED")
PONG: Final = Status(b"PONG")

SYNTAX: Final = "ERR syntax error"
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_A_FLOAT: Final = "ERR value is not a valid float"
OVERFLOW: Final = "ERR increment or decrement would overflow"
NO_SUCH_KEY: Final = "ERR no such key"
WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_SCRIPT: Final = "NOSCRIPT No matching script. Please use EVAL."


def wrong_arity(name: str) -> Refused:
    """Return the refusal of a call with too few or too many arguments."""
    return Refused(f"ERR wrong number of arguments for '{name.lower()}' command")
