"""Agenda: tasks that are put on a docket together, spread over a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeAlias, overload

from attrs import define, field

from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._client.registry import TaskFunction
from docket_anyio._model.keys import check_key
from docket_anyio._model.schedule import jittered, spread
from docket_anyio._model.settings import check_aware, check_not_negative, check_positive

P = ParamSpec("P")

Item: TypeAlias = tuple[TaskFunction | str, tuple[Any, ...], dict[str, Any], str | None]


@define(eq=False)
class Agenda:
    """Tasks with their arguments, for ``scatter``. It may be scattered more than once, and on more than one docket.

    Iterating gives for each its function or name, its arguments by position and by name, and its key or ``None``.
    """

    _items: list[Item] = field(factory=list[Item], init=False)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items))

    @overload
    def add(self, function: Callable[P, Any], key: str | None = None) -> Callable[P, None]: ...

    @overload
    def add(self, function: str, key: str | None = None) -> Callable[..., None]: ...

    def add(self, function: TaskFunction | str, key: str | None = None) -> Callable[..., None]:
        """Say what is to be added; call what is returned with the arguments: ``agenda.add(send)("ann")``.

        Args:
            function: The task, or the name that it is registered under.
            key: Names the task. With a key of your own a scatter can be repeated: what still waits or runs is left as
                it is. Where it is left out, each scatter makes a new one.

        Raises:
            InvalidKey: The key cannot be used.
        """
        if key is not None:
            check_key(key)

        def add_to_agenda(*args: Any, **kwargs: Any) -> None:
            self._items.append((function, args, kwargs, key))

        return add_to_agenda

    def clear(self) -> None:
        """Forget what was added."""
        self._items.clear()

    async def scatter(
        self, docket: Docket, over: timedelta, start: datetime | None = None, jitter: timedelta | None = None
    ) -> list[Execution[Any]]:
        """Add the tasks to a docket, due evenly from ``start`` to ``start + over``; a single one in the middle.

        Everything is looked at before the first is added. Each is then added or not on its own: see the ``disposition``
        of what is returned, one for each in order.

        Args:
            docket: An open docket; functions are registered with it.
            over: How long after ``start`` the last is due.
            start: When the first is due; now where it is left out.
            jitter: By how much at most each is moved at random, to either side, but never before ``start``.

        Raises:
            InvalidSetting: ``over`` is not longer than zero, or ``jitter`` is negative.
            InvalidTime: ``start`` has no time zone.
            UnknownTask: No task has one of the names.
            DuplicateTask: Another function has a function's name.
            InvalidTask: A function cannot be a task.
            InvalidArguments: Arguments do not fit their task's signature.
            NotSerializable: Arguments cannot be pickled.
            PayloadTooLarge: Arguments are larger than the docket's ``max_payload_bytes``.
            RedisUnavailable: Redis cannot be reached; some may have been added.
            NotOpen: The docket is not open.
        """
        check_positive("over", over)
        begin = docket.broker.clock.now() if start is None else check_aware("start", start)
        times = spread(len(self._items), start=begin, over=over)
        if check_not_negative("jitter", jitter or timedelta(0)):
            shifts = [random.uniform(-1, 1) for _ in times]  # noqa: S311 - no secret
            times = jittered(times, shifts=shifts, jitter=jitter or timedelta(0), start=begin)
        calls = [
            docket.call(function, when, key)(*args, **kwargs)
            for (function, args, kwargs, key), when in zip(self._items, times, strict=True)
        ]
        return await docket.add_many(calls)
