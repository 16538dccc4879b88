"""A body that is to run in another process, and how it is to be treated there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

from attrs import field, frozen

from docket_anyio._executors.nudge import Nudge
from docket_anyio._executors.stopping import StopSign


@frozen(eq=False)
class ProcessCall:
    """A body that is to run in another process.

    Attributes:
        task: The name of its task.
        function: What is called.
        args: With what, by position.
        kwargs: With what, by name.
        is_async: Whether the function is to be awaited.
        sign: What it goes by.
        grace: How long it has to stop, where the request does not say it, before its process is killed.
        max_tasks: The process is replaced once it has run so many bodies.
        max_memory: The process is replaced if it holds more bytes after the body.
        surroundings: Make what is entered around the body in its process; they have to be pickled.
        objects: What its handles call, by their numbers.
        began: Called once a process has been found for it.
        nudge: To be given when there is another reason for it to stop.
    """

    task: str
    function: Callable[..., object]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    is_async: bool
    sign: StopSign
    grace: timedelta
    max_tasks: int | None = None
    max_memory: int | None = None
    surroundings: Sequence[Callable[[], AbstractContextManager[object]]] = ()
    objects: Sequence[object] = ()
    began: Callable[[], None] | None = None
    nudge: Nudge = field(factory=Nudge)
