"""Something that many callers share, and that one of them makes anew when it is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio
from attrs import define, field
from redis.exceptions import RedisError

from docket_anyio._redis.errors import Disconnected


class _Closable(Protocol):
    @property
    def closed(self) -> bool: ...

    def fail(self, reason: str) -> None: ...


T = TypeVar("T", bound=_Closable)


@define(eq=False, repr=False)
class Shared(Generic[T]):
    """One connection for all. Only one caller makes it, the others wait for what it gets, be that an error.

    A caller that is cancelled while making it hands on to the next.
    """

    _make: Callable[[], Awaitable[T]]
    value: T | None = field(default=None, init=False)
    _making: anyio.Lock = field(factory=anyio.Lock, init=False)
    _failures: int = field(default=0, init=False)
    _failure: RedisError | None = field(default=None, init=False)
    _closed: str | None = field(default=None, init=False)

    async def get(self) -> T:
        """Return the connection, made first if there is none."""
        if self.value is not None and not self.value.closed:
            return self.value
        failures = self._failures
        async with self._making:
            if self._closed is not None:
                raise Disconnected(self._closed, maybe_executed=False)
            if self.value is not None and not self.value.closed:
                return self.value
            if self._failure is not None and self._failures != failures:
                raise _once_more(self._failure)
            try:
                value = await self._make()
            except RedisError as error:
                self._failures += 1
                self._failure = error
                raise
            self._failure = None
            if self._closed is not None:
                value.fail(self._closed)
            self.value = value
            return value

    def drop(self, reason: str) -> None:
        """Close the connection; the next caller makes another one."""
        if self.value is not None:
            self.value.fail(reason)

    def close(self, reason: str) -> None:
        """Close the connection for good."""
        self._closed = reason
        self.drop(reason)


def _once_more(error: RedisError) -> RedisError:
    """Return an error for a second caller to raise: one object raised by two would mix up their tracebacks."""
    if isinstance(error, Disconnected):
        return Disconnected(str(error), maybe_executed=False)
    return type(error)(*error.args)
