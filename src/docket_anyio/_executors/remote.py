"""Objects that stay with the worker and can be called from a process of its pool."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias

from attrs import field, frozen


class Channel(Protocol):
    """The way from a body in another process to its worker."""

    async def call(self, target: int, method: str, arguments: tuple[object, ...]) -> Any:
        """Call a method of an object, and return what it returns."""
        ...

    def tell(self, target: int, method: str, arguments: tuple[object, ...]) -> None:
        """Call a method of an object, and do not wait for it."""
        ...


_channel: Final[ContextVar[Channel]] = ContextVar("_channel")


@contextmanager
def connected(channel: Channel) -> Generator[None]:
    """Let the handles that are unpickled inside the block call by this channel."""
    token = _channel.set(channel)
    try:
        yield
    finally:
        _channel.reset(token)


@frozen(eq=False)
class Handle:
    """Stands, in a process of the pool, for an object of the worker: one of a call's ``objects``, by its number."""

    number: int
    _through: Channel | None = field(default=None, kw_only=True, repr=False, alias="through")

    async def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the object, and return what it returns.

        Raises:
            Exception: What the method raised.
        """
        return await self._channel.call(self.number, method, arguments)

    def tell(self, method: str, *arguments: object) -> None:
        """Call a plain method of the object, and do not wait for it. It is done before the body counts as ended."""
        self._channel.tell(self.number, method, arguments)

    @property
    def _channel(self) -> Channel:
        if self._through is None:
            raise RuntimeError("a handle is of use in another process only")
        return self._through

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return _handle, (self.number,)


Export: TypeAlias = Callable[[object], Handle]
"""Keeps an object for a body that runs in another process, and returns what calls it from there."""


def _handle(number: int) -> Handle:
    return Handle(number, through=_channel.get(None))
