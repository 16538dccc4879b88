"""Adding tasks to a docket, one or many."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from docket_anyio._client.calls import CallOptions, TaskCall
from docket_anyio._client.execution import Execution
from docket_anyio._client.fleet import Fleet
from docket_anyio._client.scheduling import Scheduler, Submission

P = ParamSpec("P")
R = TypeVar("R")


class Adding(Fleet):
    """A docket that tasks can be added to."""

    @property
    @abstractmethod
    def _scheduler(self) -> Scheduler:
        """What puts calls on the docket.

        Raises:
            NotOpen: The docket is not open.
        """

    @overload
    def add(
        self,
        function: Callable[P, Awaitable[R]],
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Submission[P, R]: ...

    @overload
    def add(
        self,
        function: Callable[P, R],
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Submission[P, R]: ...

    @overload
    def add(
        self,
        function: str,
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Submission[..., Any]: ...

    def add(
        self,
        function: Callable[P, Any] | str,
        when: datetime | None = None,
        key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Submission[P, Any] | Submission[..., Any]:
        """Say what is to be added; call what is returned with the arguments: ``await docket.add(send)("ann")``.

        Args:
            function: The task, which is registered by this, or the name of one that is registered.
            when: When it is due; now where it is left out.
            key: Names the task: while one of that key waits or runs, no other is added. Made up where it is left out.
            options: All workers have to be ours for these, or ``NotHonoured`` is raised.

                - ``expires``: Until when it is to begin, or how long after it is due: later it ends as expired instead,
                  and ``get_result()`` raises ``ExecutionExpired``.
                - ``priority``: Which of the tasks that are due are to begin first; ``Priority.NORMAL``.

        Raises:
            UnknownTask: No task has that name.
            DuplicateTask: Another function has the function's name.
            InvalidTask: The function cannot be a task.
            InvalidKey: The key cannot be used.
            InvalidTime: ``when`` or ``expires`` has no time zone.
            InvalidSetting: ``expires`` is not longer than zero, or ``priority`` is no ``Priority``.
            NotOpen: The docket is not open.
        """
        return Submission(self._scheduler, self._prepare(function, when, key, **options), replace=False)

    @overload
    def replace(
        self,
        function: Callable[P, Awaitable[R]],
        when: datetime,
        key: str,
        **options: Unpack[CallOptions],
    ) -> Submission[P, R]: ...

    @overload
    def replace(
        self,
        function: Callable[P, R],
        when: datetime,
        key: str,
        **options: Unpack[CallOptions],
    ) -> Submission[P, R]: ...

    @overload
    def replace(
        self, function: str, when: datetime, key: str, **options: Unpack[CallOptions]
    ) -> Submission[..., Any]: ...

    def replace(
        self,
        function: Callable[P, Any] | str,
        when: datetime,
        key: str,
        **options: Unpack[CallOptions],
    ) -> Submission[P, Any] | Submission[..., Any]:
        """Say what is to stand under a key from now on; call what is returned with the arguments.

        Whatever waits under the key is dropped. What runs goes on, but is superseded: its end is not recorded.

        Args:
            function: As for ``add``.
            when: When it is due.
            key: What is replaced.
            options: As for ``add``.

        Raises:
            UnknownTask: As for ``add``, like all others.
            DuplicateTask: Another function has the function's name.
            InvalidTask: The function cannot be a task.
            InvalidKey: The key cannot be used.
            InvalidTime: ``when`` or ``expires`` has no time zone.
            InvalidSetting: ``expires`` is not longer than zero, or ``priority`` is no ``Priority``.
            NotOpen: The docket is not open.
        """
        return Submission(self._scheduler, self._prepare(function, when, key, **options), replace=True)

    async def add_many(self, calls: Iterable[TaskCall[Any]], *, chunk_size: int | None = 1000) -> list[Execution[Any]]:
        """Add many tasks, a round trip for each chunk of them.

        Each is added or not on its own: look at the ``disposition`` of what is returned, one for each in order.

        Args:
            calls: What ``docket.call(f)(x)`` returned.
            chunk_size: How many go out in one piece; ``None`` for all.

        Raises:
            InvalidSetting: ``chunk_size`` is below 1.
            NotSerializable: The arguments of one cannot be pickled; none is added.
            PayloadTooLarge: The arguments of one are larger than ``max_payload_bytes``; none is added.
            RedisUnavailable: Redis cannot be reached; earlier chunks may have been added.
        """
        return await self._scheduler.add_many(list(calls), chunk_size=chunk_size, replace=False)

    async def replace_many(
        self, calls: Iterable[TaskCall[Any]], *, chunk_size: int | None = 1000
    ) -> list[Execution[Any]]:
        """Do what ``add_many`` does, in the place of whatever is under the keys.

        Raises:
            InvalidSetting: ``chunk_size`` is below 1.
            NotSerializable: The arguments of one cannot be pickled; none is added.
            PayloadTooLarge: The arguments of one are larger than ``max_payload_bytes``; none is added.
            RedisUnavailable: Redis cannot be reached; earlier chunks may have been added.
        """
        return await self._scheduler.add_many(list(calls), chunk_size=chunk_size, replace=True)
