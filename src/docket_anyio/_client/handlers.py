"""Dependencies of a user's own that take part in a run: derive from these."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from attrs import frozen

from docket_anyio._client.execution import Execution
from docket_anyio._injection.library import Dependency
from docket_anyio._injection.marker import BodyRole, CompletionRole, FailureRole

T_co = TypeVar("T_co", covariant=True)


@frozen
class TaskOutcome:
    """How a run ended."""

    duration: timedelta
    result: Any = None
    exception: BaseException | None = None


class Runtime(BodyRole[T_co]):
    """Decides how the body is called; a task has one at most, and ``Timeout`` is one too."""

    @abstractmethod
    async def run(
        self,
        execution: Execution[Any],
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call ``function(*args, **kwargs)`` in your own way, and return what it returns."""


class Middleware(Dependency[T_co]):
    """Stands around the body: for one task, or for all as one of a worker's ``dependencies``. There may be several."""

    @abstractmethod
    async def around(self, execution: Execution[Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Return what ``await call_next()`` returns, or something else, or raise."""


class FailureHandler(FailureRole[T_co]):
    """Is told of a failure; a task has one at most, and ``Retry`` is one too.

    An exception of its own is reported to the worker's instruments and changes nothing.
    """

    @abstractmethod
    async def handle_failure(self, execution: Execution[Any], outcome: TaskOutcome) -> bool:
        """Return whether it was dealt with, by scheduling the key anew or the like; the run is a failure otherwise.

        Where it was dealt with and the key was not scheduled anew, the execution ends as failed, without an exception.
        """


class CompletionHandler(CompletionRole[T_co]):
    """Is told of the end of an execution, when no retry follows; a task has one at most, and ``Perpetual`` is one too.

    An exception of its own is reported to the worker's instruments and changes nothing.
    """

    @abstractmethod
    async def on_complete(self, execution: Execution[Any], outcome: TaskOutcome) -> bool:
        """Return whether it has taken the result over, which is not stored then."""


class CancellationHandler(Dependency[T_co]):
    """Is told that ``docket.cancel()`` has stopped the body.

    It has three seconds and cannot change the outcome. An exception of its own is reported to the worker's instruments.
    """

    @abstractmethod
    async def on_cancelled(self, execution: Execution[Any], outcome: TaskOutcome) -> None:
        """Do what is to be done then."""
