"""The plan of a task: what its signature asks for, worked out once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import evolve, field, frozen

from docket_anyio._injection.annotations import Logged, kinds_in, readable_signature
from docket_anyio._injection.callables import is_async
from docket_anyio._injection.graph import DependencyGraph, dependencies_of
from docket_anyio._injection.library import Dependency, Provided, Provider, get_annotation_dependencies
from docket_anyio._injection.marker import ExecutorRole, Marker, check_single
from docket_anyio.exceptions import InvalidArguments, InvalidTask

Placed = tuple[str, Dependency[Any]]


@frozen(eq=False)
class Call:
    """What one run of a task is called with, before anything is opened for it.

    Attributes:
        args: The caller's arguments by position.
        kwargs: Those by name.
        given: Both, by parameter.
        values: A value of each marker that is a default, by parameter.
        policies: The same, and the values of markers in annotations, and of the worker's.
    """

    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    given: Mapping[str, object]
    values: Mapping[str, object]
    policies: Sequence[object]


@frozen(eq=False)
class Plan:
    """What was worked out about a function when it was registered.

    Attributes:
        task: The name of the task.
        function: Its function.
        is_async: Whether that is to be awaited; it is a plain function otherwise.
        signature: As a caller has it: what is made for a run may be left out.
        logged: How arguments are shown in log lines; those that are not here are not shown.
        markers: The policies among the defaults, by parameter.
        made: The parameters whose values are made for each run.
        wrapping: What stands in annotations and gives no value, and on which parameter.
        around: What the worker opens around every task, and where it was given.
    """

    task: str
    function: Callable[..., Any]
    is_async: bool
    signature: inspect.Signature
    logged: Mapping[str, Logged]
    markers: Mapping[str, Marker]
    made: Sequence[str]
    wrapping: Sequence[Placed]
    around: Sequence[Placed] = ()
    _required: Sequence[str] = field(default=(), alias="required")

    @cached_property
    def opens(self) -> bool:
        """Whether anything has to be opened for a run."""
        return bool(self.made) or any(not isinstance(each, Marker) for _, each in (*self.wrapping, *self.around))

    @property
    def policies(self) -> Sequence[Marker]:
        """All of the task's own markers."""
        return [*self.markers.values(), *(each for _, each in self.wrapping if isinstance(each, Marker))]

    @cached_property
    def executor(self) -> ExecutorRole | None:
        """What says where the body runs; ``None`` where its kind of function decides it."""
        return next((each for each in self.policies if isinstance(each, ExecutorRole)), None)

    @property
    def kinds(self) -> frozenset[type[Dependency[Any]]]:
        """The classes of all that it asks for."""
        asked = dependencies_of(self.task, self.function).values()
        return frozenset(type(each) for each in (*asked, *(each for _, each in (*self.wrapping, *self.around))))

    def within(self, around: Sequence[Placed]) -> Plan:
        """Return the plan for workers that open something around every task.

        Raises:
            InvalidTask: The two ask twice for what a run can have once.
        """
        check_single(self.task, [*around, *self.markers.items(), *self.wrapping])
        return evolve(self, around=around)

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

    def call(self, args: tuple[object, ...], kwargs: Mapping[str, object], *, key: str, attempt: int) -> Call:
        """Return what a run is called with. What the caller gives takes the place of what would be made.

        Raises:
            InvalidArguments: The call does not fit the signature, which may have changed since it was made.
        """
        given = {**self._bind(args, kwargs).arguments, **kwargs}  # also those that **parameters take
        values = {name: each.for_run(key, attempt) for name, each in self.markers.items() if name not in given}
        policies = [*values.values()]
        policies += [each.for_run(key, attempt) for _, each in self.around if isinstance(each, Marker)]
        policies += [each.for_run(key, attempt) for _, each in self.wrapping if isinstance(each, Marker)]
        return Call(args, kwargs, given, values, policies)

    def _bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
        try:
            bound = self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"task {self.task!r} cannot be called like that: {error}") from error
        for name in self._required:
            if name not in bound.arguments:
                raise InvalidArguments(
                    f"task {self.task!r} cannot be called like that: missing a required argument: {name!r}"
                )
        return bound


def plan(task: str, function: Callable[..., Any]) -> Plan:
    """Work out the plan of a function.

    Raises:
        InvalidTask: It is no function that gives one result, its annotations cannot be read, or it asks for what it
            cannot have.
    """
    awaited = is_async(task, function)
    asked = dependencies_of(task, function)
    signature = inspect.signature(function)
    wrapping = [
        (name, each.bind_to_parameter(name, None) if isinstance(each, Marker) else each)
        for name, several in get_annotation_dependencies(function).items()
        for each in several
    ]
    markers = {name: each for name, each in asked.items() if isinstance(each, Marker)}
    check_single(task, [*asked.items(), *wrapping])
    readable = readable_signature(task, function)
    _check_parameters(task, readable, asked, [name for name, _ in wrapping])
    DependencyGraph(task, function).check()
    for name, each in wrapping:
        if name in asked and isinstance(each, Marker):
            raise InvalidTask(f"task {task!r}: {type(each).__name__} on {name!r} needs an argument, which that is not")
    for name, each in (*markers.items(), *wrapping):
        if isinstance(each, ExecutorRole):
            each.check_function(task, name, is_async=awaited, asked=asked)
    return Plan(
        task,
        function,
        awaited,
        signature,
        Logged.annotated_parameters(readable),
        markers,
        [name for name in asked if name not in markers],
        wrapping,
        required=[name for name, each in signature.parameters.items() if _is_required(each) and name not in asked],
    )


def _is_required(parameter: inspect.Parameter) -> bool:
    optional = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return parameter.kind not in optional and parameter.default in (inspect.Parameter.empty, Provided)


def _check_parameters(task: str, signature: inspect.Signature, asked: Container[str], wrapping: Container[str]) -> None:
    for name, parameter in signature.parameters.items():
        if name in asked and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise InvalidTask(f"task {task!r}: {name!r} is given by its name, so it must not stand before the /")
        for kind in kinds_in(parameter.annotation):
            # The library leaves out all where one annotation cannot be read; better no task than one without its limit.
            if name not in (asked if issubclass(kind, Provider) else wrapping):
                raise InvalidTask(
                    f"task {task!r}: {kind.__name__} at {name!r} is not seen, because other annotations of the task "
                    "cannot be read; define what they name in its module, and give a function"
                )
