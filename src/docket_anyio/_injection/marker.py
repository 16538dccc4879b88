"""What a task's signature says about its runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, Never, TypeVar

from docket_anyio._injection.library import Dependency
from docket_anyio.exceptions import InvalidTask

T_co = TypeVar("T_co", covariant=True)


class Marker(Dependency[Any]):
    """A policy in a signature: frozen, one instance for every run at once. There is nothing to open or to close.

    It stands in the signature of the task itself, as a default or in ``Annotated[...]``.
    """

    @abstractmethod
    def for_run(self, key: str, attempt: int) -> object:
        """Return the value for one run, new each time."""

    async def __aenter__(self) -> Never:
        raise InvalidTask(f"{self!r} belongs in the signature of a task, and not in that of a dependency")


class OfOneRun(Dependency[T_co]):
    """What has a meaning in a run only, so that nothing shared by all runs can be made from it."""


class OfThisProcess(Dependency[T_co]):
    """What cannot leave the process of the worker, so that a body in another one cannot have it."""


class BodyRole(Dependency[T_co]):
    """What decides how the body of a task is called. A task has one at most."""

    single = True


class ExecutorRole(Marker):
    """What decides where the body of a task runs. A task has one at most."""

    single = True

    def for_run(self, key: str, attempt: int) -> ExecutorRole:  # noqa: ARG002 - a marker's signature
        """Return the value for one run: nothing of it is a run's own."""
        return self

    @abstractmethod
    def check_function(
        self, task: str, parameter: str, *, is_async: bool, asked: Mapping[str, Dependency[Any]]
    ) -> None:
        """Check that a function can run there.

        Args:
            task: The name of the task.
            parameter: The parameter that asks for it.
            is_async: Whether the function is an ``async def``.
            asked: What its parameters ask for.

        Raises:
            InvalidTask: It cannot.
        """


class FailureRole(Dependency[T_co]):
    """What decides what a failure is followed by. A task has one at most."""

    single = True


class CompletionRole(Dependency[T_co]):
    """What decides what the end of an execution is followed by. A task has one at most."""

    single = True


def check_single(task: str, placed: Iterable[tuple[str, Dependency[Any]]]) -> None:
    """Check that a task has not twice what it can have once.

    Args:
        task: Its name.
        placed: What it asks for, and where.

    Raises:
        InvalidTask: It has, and these are the places.
    """
    everything = list(placed)
    kinds = {kind for _, each in everything for kind in type(each).__mro__ if _is_single(kind)}
    # The narrowest first: of two Retry one says so, and not that both handle failures.
    for kind in sorted(kinds, key=lambda each: (-len(each.__mro__), each.__name__)):
        having = [f"{type(each).__name__} at {place!r}" for place, each in everything if isinstance(each, kind)]
        if len(having) > 1:
            word = kind.__name__.removesuffix("Role")
            raise InvalidTask(
                f"Only one {word} dependency is allowed, and task {task!r} has more than one: {', '.join(having)}"
            )


def takes(signature: Signature, name: str | None) -> bool:
    """Tell whether an argument of that name can be given, if only because any can."""
    known = signature.parameters
    return name in known or any(each.kind is Parameter.VAR_KEYWORD for each in known.values())


def _is_single(kind: type[object]) -> bool:
    return issubclass(kind, Dependency) and kind is not Dependency and kind.single
