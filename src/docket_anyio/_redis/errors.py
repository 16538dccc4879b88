"""What a lost connection means for the command that was under way."""

from __future__ import annotations

from redis.exceptions import ConnectionError as RedisConnectionError


class Disconnected(RedisConnectionError):
    """A connection was lost, or could not be made.

    ``maybe_executed`` tells whether bytes of the command had been handed to the network: then the server may have
    executed it, and only the caller knows whether it is safe to send it again.
    """

    def __init__(self, message: str, *, maybe_executed: bool) -> None:
        super().__init__(message)  # pyright: ignore[reportUnknownMemberType]  # redis-py leaves it untyped
        self.maybe_executed = maybe_executed


def reason_of(error: Exception) -> str:
    """Return why a connection failed. AnyIO says that all attempts did; its cause says why."""
    return str(error.__cause__ or error) or type(error).__name__
