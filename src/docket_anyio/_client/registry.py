"""The tasks that a docket knows, by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import define, field, frozen

from docket_anyio._client.signatures import compact_signature
from docket_anyio._injection.plan import Plan, plan
from docket_anyio._model.keys import check_key
from docket_anyio._policies.base import AdmissionPolicy
from docket_anyio._policies.perpetual import Cron, Perpetual
from docket_anyio.exceptions import DuplicateTask, InvalidArguments, InvalidTask, UnknownTask

TaskFunction: TypeAlias = Callable[..., Any]
TaskCollection: TypeAlias = Iterable[TaskFunction]


@frozen(eq=False)
class TaskDefinition:
    """A function that is a task, and what its signature says."""

    name: str
    function: TaskFunction
    plan: Plan

    @property
    def automatic(self) -> Perpetual | Cron | None:
        """What says that workers add the task by themselves; ``None`` where they do not."""
        for marker in self.plan.policies:
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

    standard: TaskCollection = ()
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
        known = self._find(name)
        if known is None:
            raise UnknownTask(name)
        return known

    def function(self, name: str, fallback: TaskFunction | None = None) -> TaskFunction:
        """Return the function of that name, or the fallback in its place.

        Raises:
            InvalidTask: There is neither.
        """
        known = self._find(name)
        if known is not None:
            return known.function
        if fallback is None:
            raise InvalidTask(f"the task {name!r} is not registered with this docket, and there is no fallback for it")
        return fallback

    def plan_of(self, name: str, function: TaskFunction) -> Plan:
        """Return the plan of a function, whether it is registered under that name or not.

        Raises:
            InvalidTask: It cannot be a task.
        """
        known = self._find(name)
        return known.plan if known is not None and known.function == function else plan(name, function)

    def definitions(self) -> list[TaskDefinition]:
        """Return all tasks."""
        return [*{**self._standard, **self._own}.values()]

    def has_parameter(self, name: str | None, parameter: str) -> bool:
        """Tell whether the task of that name, or any task where it is ``None``, has such a parameter."""
        return any(
            parameter in each.plan.signature.parameters for each in self.definitions() if name in (None, each.name)
        )

    def parameters(self) -> Mapping[str, str]:
        """Return the names of all tasks, with their parameters as a log shows them."""
        return {name: compact_signature(each.plan.signature) for name, each in {**self._standard, **self._own}.items()}

    def names(self) -> list[str]:
        """Return the names of all tasks."""
        return sorted({*self._standard, *self._own})

    def functions(self) -> Mapping[str, TaskFunction]:
        """Return all functions by name."""
        return MappingProxyType({name: each.function for name, each in {**self._standard, **self._own}.items()})

    def _find(self, name: str) -> TaskDefinition | None:
        return self._own.get(name) or self._standard.get(name)


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
