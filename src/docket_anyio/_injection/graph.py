"""Looks through what a task asks for before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from attrs import define, field

from docket_anyio._injection.functional import GivenArgument
from docket_anyio._injection.library import (
    ArgumentReference,
    Dependency,
    FactoryDependency,
    get_dependency_parameters,
    get_signature,
)
from docket_anyio._injection.marker import Marker, OfOneRun, takes
from docket_anyio._injection.shared import SharedValue
from docket_anyio.exceptions import CircularDependency, InvalidTask


@define(eq=False)
class DependencyGraph:
    """The dependencies of a task, checked from its parameters inwards.

    Args:
        task: Its name.
        function: Its function.
    """

    _task: str
    _function: Callable[..., object]
    _needs: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False)

    def check(self) -> None:
        """Check all of it.

        Raises:
            CircularDependency: Some need each other in a circle.
            InvalidTask: Something stands where it cannot.
        """
        for parameter, dependency in dependencies_of(self._task, self._function).items():
            self._needs[parameter] = []
            self._check(parameter, parameter, dependency, ())
        for parameter in self._needs:
            self._follow(parameter, ())

    def _check(
        self,
        parameter: str,
        name: str,
        dependency: Dependency[Any],
        inside: tuple[Callable[..., object], ...],
        *,
        shared: bool = False,
    ) -> None:
        where = f"parameter {name!r} of {inside[-1] if inside else self._function!r}"
        match dependency:
            case Marker() | OfOneRun() | ArgumentReference() if shared:
                raise InvalidTask(
                    f"task {self._task!r}: {where} belongs to one run, so it cannot be shared by all runs"
                )
            case Marker() if inside:
                raise InvalidTask(
                    f"task {self._task!r}: {type(dependency).__name__} at {where} belongs in the signature of the task"
                )
            case ArgumentReference() if not inside and dependency.parameter is None:
                raise InvalidTask(f"task {self._task!r}: No parameter name specified at {where}")
            case ArgumentReference():
                self._check_reference(parameter, where, cast("ArgumentReference", dependency.for_parameter(name)))
            case FactoryDependency() | SharedValue():
                factory: Callable[..., object] = dependency.factory
                if factory in inside:
                    raise CircularDependency(f"task {self._task!r}: {where} needs itself")
                within_shared = shared or isinstance(dependency, SharedValue)
                for inner, each in self._made_from(where, dependency):
                    self._check(parameter, inner, each, (*inside, factory), shared=within_shared)
            case _:
                pass

    def _made_from(
        self, where: str, dependency: FactoryDependency[Any] | SharedValue[Any]
    ) -> Iterator[tuple[str, Dependency[Any]]]:
        bindings = dependency.bindings if isinstance(dependency, FactoryDependency) else {}
        parameters = dependencies_of(self._task, dependency.factory, where)
        signature = get_signature(dependency.factory)
        for name, value in bindings.items():
            if not takes(signature, name):
                raise InvalidTask(f"task {self._task!r}: {where} binds {name!r}, which {dependency.factory!r} has not")
            if isinstance(value, Dependency):
                yield name, value
        yield from ((name, each) for name, each in parameters.items() if name not in bindings)

    def _check_reference(self, parameter: str, where: str, reference: ArgumentReference) -> None:
        wanted = reference.parameter
        has_default = reference.optional or reference.default is not inspect.Parameter.empty
        if not has_default and not takes(get_signature(self._function), wanted):
            raise InvalidTask(f"task {self._task!r}: {where} asks for its argument {wanted!r}, which it has not")
        if wanted is not None and not isinstance(reference, GivenArgument):
            self._needs[parameter].append(wanted)

    def _follow(self, parameter: str, path: tuple[str, ...]) -> None:
        if parameter in path:
            circle = " -> ".join((*path[path.index(parameter) :], parameter))
            raise CircularDependency(f"task {self._task!r}: its parameters need each other in a circle: {circle}")
        for needed in self._needs.get(parameter, ()):
            self._follow(needed, (*path, parameter))


def dependencies_of(task: str, function: Callable[..., object], where: str = "") -> Mapping[str, Dependency[Any]]:
    """Return what the parameters of a function ask for.

    Args:
        task: The name of the task.
        function: The function of the task, or one that makes something for it.
        where: The parameter that it is made for.

    Raises:
        InvalidTask: It has no signature, or one that is ambiguous.
    """
    try:
        return get_dependency_parameters(function)
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"task {task!r}: {where}{': ' if where else ''}{error}") from error
