"""Errors of Redis become ours here, and nowhere else."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.transport import Reply
from docket_anyio.exceptions import RedisRefused, RedisUnavailable


@contextmanager
def redis_errors() -> Generator[None]:
    """Raise our own exceptions in place of those of redis-py.

    Raises:
        RedisUnavailable: No connection, or none any more.
        RedisRefused: Redis answered with an error.
    """
    try:
        yield
    except (AuthenticationError, AuthorizationError) as error:
        raise RedisRefused(f"Redis refused the credentials: {error}") from error
    except BusyLoadingError as error:
        raise RedisUnavailable(f"Redis is still loading its data: {error}") from error
    except (RedisConnectionError, RedisTimeoutError) as error:
        maybe_executed = isinstance(error, Disconnected) and error.maybe_executed
        raise RedisUnavailable(str(error), maybe_executed=maybe_executed) from error
    except RedisError as error:
        if str(error).startswith("NOGROUP"):
            # Redis has lost everything. Whoever claims creates the group when it begins anew.
            raise RedisUnavailable(f"the consumer group is gone: {error}") from error
        raise refused(error) from error


def refused(error: RedisError) -> RedisRefused:
    """Return our own exception for an error that Redis answered with."""
    return RedisRefused(f"Redis answered with an error: {error}")


def check_replies(replies: Iterable[Reply]) -> None:
    """Check that Redis refused nothing of what it was asked at once.

    Raises:
        RedisRefused: It did.
    """
    for each in replies:
        if isinstance(each, ResponseError):
            raise refused(each)
