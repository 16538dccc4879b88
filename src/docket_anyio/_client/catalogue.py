"""The tasks of a docket, and calls of them; known before it is opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, ParamSpec, TypeVar, Unpack, overload

from docket_anyio._broker.keys import Keys
from docket_anyio._client.calls import CallOptions, Preparation
from docket_anyio._client.names import Names
from docket_anyio._client.registry import TaskFunction, TaskRegistry, load_collection
from docket_anyio._client.standard import STANDARD_TASKS
from docket_anyio._clock import wall_time
from docket_anyio._model.expiry import check_expires
from docket_anyio._model.keys import check_key, new_key
from docket_anyio._model.priority import Priority, check_priority
from docket_anyio._model.settings import check_aware
from docket_anyio.exceptions import UnknownTask

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=TaskFunction)


class Catalogue(Names):
    """A docket's names and its tasks.

    Args:
        name: The docket's name.
        keys: Its keys.
    """

    def __init__(self, name: str, keys: Keys) -> None:
        super().__init__(name, keys)
        self._registry: Final = TaskRegistry(STANDARD_TASKS)

    @property
    def registry(self) -> TaskRegistry:
        """The tasks it knows, for its worker. Users have ``tasks``."""
        return self._registry

    @property
    def tasks(self) -> Mapping[str, TaskFunction]:
        """The functions it knows, by name."""
        return self._registry.functions()

    def register(self, function: TaskFunction, names: Iterable[str] | None = None) -> None:
        """Register a task, so that workers on this docket can run it and ``add`` takes its name.

        Args:
            function: An ``async def``, or a ``def``, which runs in a thread.
            names: Under which names, instead of its own.

        Raises:
            DuplicateTask: Another function has that name.
            InvalidTask: The function cannot be a task.
        """
        for name in [None] if names is None else names:
            self._registry.register(function, name)

    def register_collection(self, collection_path: str) -> None:
        """Register every function of a collection.

        Args:
            collection_path: ``module:name``, which is an iterable of functions.

        Raises:
            InvalidTask: It cannot be found, or one of it cannot be a task.
            DuplicateTask: Another function has one of the names.
        """
        for function in load_collection(collection_path):
            self.register(function)

    def task(self, function: F) -> F:
        """Register a function as a task: ``@docket.task`` above its ``async def`` or ``def``.

        Raises:
            DuplicateTask: Another function has that name.
            InvalidTask: The function cannot be a task.
        """
        self.register(function)
        return function

    @overload
    def call(
        self,
        function: Callable[P, Awaitable[R]],
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Preparation[P, R]: ...

    @overload
    def call(
        self,
        function: Callable[P, R],
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Preparation[P, R]: ...

    @overload
    def call(
        self,
        function: str,
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Preparation[..., Any]: ...

    def call(
        self,
        function: Callable[P, Any] | str,
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Preparation[P, Any] | Preparation[..., Any]:
        """Prepare a call for ``add_many`` or ``replace_many``: ``docket.call(send)("ann")``. Nothing is sent.

        Raises:
            UnknownTask: As for ``add``, like all others.
            DuplicateTask: Another function has the function's name.
            InvalidTask: The function cannot be a task.
            InvalidKey: The key cannot be used.
            InvalidTime: ``when`` or ``expires`` has no time zone.
            InvalidSetting: ``expires`` is not longer than zero, or ``priority`` is no ``Priority``.
        """
        return self._prepare(function, when, key, **options)

    def function_named(self, name: str) -> TaskFunction:
        """Return the function of a task; in the place of one that is not known here, one of that name that fails."""
        try:
            return self._registry.get(name).function
        except UnknownTask as unknown:
            return _placeholder(unknown)

    def _prepare(
        self,
        function: Callable[P, Any] | str,
        when: datetime | None,
        key: str | None,
        *,
        expires: timedelta | datetime | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> Preparation[P, Any]:
        task = self._registry.get(function) if isinstance(function, str) else self._registry.register(function)
        return Preparation(
            task,
            new_key(wall_time()) if key is None else check_key(key),
            None if when is None else check_aware("when", when),
            check_expires(expires),
            check_priority(priority),
        )


def _placeholder(unknown: UnknownTask) -> TaskFunction:
    async def stand_in(*_args: object, **_kwargs: object) -> None:
        raise unknown

    stand_in.__name__ = unknown.name
    return stand_in
