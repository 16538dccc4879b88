"""The tasks that a docket knows, by name."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import define, field, frozen

from docket_anyio._injection.plan import Plan, plan
from docket_anyio._model.keys import check_key
from docket_anyio._policies.base import AdmissionPolicy
from docket_anyio._policies.perpetual import Cron, Perpetual
from docket_anyio.exceptions import DuplicateTask, InvalidArguments, InvalidTask, UnknownTask

TaskFunction: TypeAlias = Callable[..., Awaitable[Any]]


@frozen(eq=False)
class TaskDefinition:
    """A function that is a task, and what its signature says."""

    name: str
    function: TaskFunction
    plan: Plan

    @property
    def automatic(self) -> Perpetual | Cron | None:
        """What says that workers add the task by themselves; ``None`` where they do not."""
        for marker in self.plan.markers.values():
            if isinstance(marker, Perpetual | Cron) and marker.automatic:
                return marker
        return None


def define_task(name: str, function: TaskFunction) -> TaskDefinition:
    """Return a function as a task.

    Raises:
        InvalidTask: It cannot be one.
        InvalidKey: It is automatic, and its name cannot be a key.
    """
    task = TaskDefinition(name, function, plan(name, function))
    for marker in task.plan.markers.values():
        if isinstance(marker, AdmissionPolicy):
            marker.check_signature(name, task.plan.signature)
    if task.automatic is not None:
        # Workers add it by themselves, under its own name.
        check_key(function.__name__)
        try:
            task.plan.check_call((), {})
        except InvalidArguments as error:
            raise InvalidTask(f"task {name!r} is automatic, so it must not need arguments: {error}") from error
    return task


@define(eq=False)
class TaskRegistry:
    """Tasks by name.

    Args:
        standard: Tasks that are there without being registered; a user's own of the same name takes their place.
    """

    standard: Iterable[TaskFunction] = ()
    _own: dict[str, TaskDefinition] = field(factory=dict[str, TaskDefinition], init=False)
    _standard: dict[str, TaskDefinition] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._standard = {each.__name__: define_task(each.__name__, each) for each in self.standard}

    def register(self, function: TaskFunction, name: str | None = None) -> TaskDefinition:
        """Register a function, under its own name unless another is given. Doing so again changes nothing.

        Raises:
            DuplicateTask: Another function has that name.
            InvalidTask: The function cannot be a task, or has no name.
        """
        name = name or getattr(function, "__name__", None)
        if not name:
            raise InvalidTask(f"{function!r} has no name; register it with names=[...]")
        known = self._own.get(name)
        if known is None:
            known = self._own[name] = define_task(name, function)
        elif known.function != function:
            raise DuplicateTask(
                f"the task name {name!r} belongs to {known.function!r} already; "
                f"register {function!r} under a name of its own"
            )
        return known

    def get(self, name: str) -> TaskDefinition:
        """Return the task of that name.

        Raises:
            UnknownTask: There is none.
        """
        known = self._own.get(name) or self._standard.get(name)
        if known is None:
            raise UnknownTask(name)
        return known

    def definitions(self) -> list[TaskDefinition]:
        """Return all tasks."""
        return [*{**self._standard, **self._own}.values()]

    def has_parameter(self, name: str | None, parameter: str) -> bool:
        """Tell whether the task of that name, or any task where it is ``None``, has such a parameter."""
        return any(
            parameter in each.plan.signature.parameters for each in self.definitions() if name in (None, each.name)
        )

    def names(self) -> list[str]:
        """Return the names of all tasks."""
        return sorted({*self._standard, *self._own})

    def functions(self) -> Mapping[str, TaskFunction]:
        """Return all functions by name."""
        return MappingProxyType({name: each.function for name, each in {**self._standard, **self._own}.items()})


def load(path: str) -> Any:
    """Import what ``module:name`` names, looking in the current folder too.

    Raises:
        InvalidTask: The text is not of that form, or there is no such module or name.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise InvalidTask(f"{path!r} is not of the form module:name")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise InvalidTask(f"{path!r} cannot be loaded: {error}") from error
    if not hasattr(module, name):
        raise InvalidTask(f"the module {module_name!r} has no {name!r}")
    return getattr(module, name)


def load_collection(path: str) -> list[TaskFunction]:
    """Import an iterable of functions.

    Raises:
        InvalidTask: It cannot be found, or is not an iterable of functions.
    """
    collection = load(path)
    try:
        functions = list(collection)
    except TypeError as error:
        raise InvalidTask(f"{path!r} is {collection!r}, not a collection of functions: put it in a list") from error
    for each in functions:
        if not callable(each):
            raise InvalidTask(f"{path!r} holds {each!r}, which is not a function")
    return functions
