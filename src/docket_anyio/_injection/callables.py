"""Which functions can be tasks, and how each is called."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from docket_anyio.exceptions import InvalidTask


def is_async(task: str, function: Any) -> bool:
    """Tell whether the function of a task is awaited; it is a plain one otherwise.

    Args:
        task: The name of the task.
        function: A function, a method, a ``functools.partial`` of one, or an object that can be called.

    Raises:
        InvalidTask: It gives no single result, or does not say what it is.
    """
    kind = f"task {task!r} is {function!r}, which is"
    if isinstance(function, type) or not callable(function):
        raise InvalidTask(f"{kind} not a function: a task is an async def, or a def that runs in a thread")
    while isinstance(function, partial):
        function = function.func
    # An object that can be called is what its __call__ is.
    both = (function, getattr(function, "__call__", None))  # noqa: B004
    if any(inspect.isasyncgenfunction(each) or inspect.isgeneratorfunction(each) for each in both):
        raise InvalidTask(f"{kind} a generator function: a task gives one result, by return")
    if any(inspect.iscoroutinefunction(each) for each in both):
        return True
    if inspect.iscoroutinefunction(inspect.unwrap(function)):
        raise InvalidTask(f"{kind} a def around an async def: make it an async def, too, which awaits that")
    return False
