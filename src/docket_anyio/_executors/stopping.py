"""How a body learns that it is to stop, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from docket_anyio._model.outcome import StopRequest


class BodyStopped(BaseException):
    """Ends a body that was told to stop, where its scope has no way to do so: in code that awaits nothing.

    Who called the body makes the cancellation of that scope of it.
    """


class StopSign(ABC):
    """What a running body goes by. It can be asked where the body runs, in a thread of its own too."""

    @property
    @abstractmethod
    def requested(self) -> bool:
        """Whether the body was told to stop, for whatever reason."""

    @property
    @abstractmethod
    def because(self) -> StopRequest | None:
        """Why, as far as that is known."""

    @property
    @abstractmethod
    def deadline(self) -> datetime | None:
        """When the body has to be done, if its signature says so."""

    @abstractmethod
    def check(self) -> None:
        """Raise the cancellation, if the body was told to stop."""


_sign: Final[ContextVar[StopSign]] = ContextVar("_sign")


@contextmanager
def going_by(sign: StopSign) -> Generator[None]:
    """Let a body go by a sign, and all that it calls."""
    token = _sign.set(sign)
    try:
        yield
    finally:
        _sign.reset(token)


def current_sign() -> StopSign | None:
    """Return what the calling body goes by; ``None`` outside of one."""
    return _sign.get(None)


def check_cancelled() -> None:
    """Stop the body here if its run was told to stop: for code that computes for long and awaits nothing.

    It raises the cancellation, which is no ``Exception``, so ``except Exception`` lets it pass. It does nothing in a
    shielded scope, and nothing outside of a run. It is cheap enough for a tight loop, and may be called in threads that
    the body starts by AnyIO.
    """
    sign = _sign.get(None)
    if sign is not None:
        sign.check()
