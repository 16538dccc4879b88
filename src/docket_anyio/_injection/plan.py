"""The plan of a task: its signature, and the markers in it that each run gets a value for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from docket_anyio.exceptions import InvalidArguments, InvalidTask


@runtime_checkable
class Marker(Protocol):
    """The default of a parameter that the worker fills in. One marker serves every run of its task at once.

    ``kind`` is a word for what it does: a task has at most one marker of a kind.
    """

    @property
    def kind(self) -> str:
        """What it does."""
        ...

    def for_run(self, key: str, attempt: int) -> object:
        """Return the value for one run, new each time."""
        ...


@frozen(eq=False)
class Plan:
    """What was worked out about a function when it was registered."""

    task: str
    signature: inspect.Signature
    markers: Mapping[str, Marker] = field(factory=dict[str, Marker])
    shown: Mapping[str, Callable[[object], str]] = field(factory=dict[str, Callable[[object], str]])
    """The parameters whose arguments may be seen in logs, and how."""

    def check_call(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Check that a call fits the signature.

        Raises:
            InvalidArguments: It does not.
        """
        self._bind(args, kwargs)

    def given(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the arguments of a call by parameter, without defaults.

        Raises:
            InvalidArguments: The call does not fit the signature.
        """
        return self._bind(args, kwargs).arguments

    def arguments(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Mapping[str, object]:
        """Return the arguments of a call by parameter, defaults included.

        Raises:
            InvalidArguments: The call does not fit the signature.
        """
        bound = self._bind(args, kwargs)
        bound.apply_defaults()
        return bound.arguments

    def values_for_run(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], *, key: str, attempt: int
    ) -> dict[str, object]:
        """Return a value for each marker that the caller did not replace by an argument.

        Raises:
            InvalidArguments: The call does not fit the signature, which may have changed since it was made.
        """
        given = self._bind(args, kwargs).arguments
        return {name: each.for_run(key, attempt) for name, each in self.markers.items() if name not in given}

    def _bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"task {self.task!r} cannot be called like that: {error}") from error


def plan(task: str, function: Callable[..., Any]) -> Plan:
    """Work out the plan of a function.

    Raises:
        InvalidTask: It is not an ``async def``, or asks twice for what it can have once.
    """
    if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - a callable object with an async __call__
    ):
        raise InvalidTask(f"task {task!r} is {function!r}, which is not an async def")
    signature = inspect.signature(function)
    markers = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.default, Marker)
    }
    kinds = [each.kind for each in markers.values()]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise InvalidTask(f"task {task!r} has more than one {kind} in its signature")
    return Plan(task, signature, markers)
