"""A call that is to become a task: which, with what, when, under which key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar

from attrs import define, field, frozen

from docket_anyio._client.registry import TaskDefinition, TaskFunction
from docket_anyio._model.priority import Priority

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class CallOptions(TypedDict, total=False):
    """What may be asked for with a call, by keyword; where it is left out, all is as with pydocket."""

    expires: timedelta | datetime | None
    priority: Priority


@frozen(eq=False)
class TaskCall(Generic[R_co]):
    """A task with its arguments, for ``add_many`` and ``replace_many``. Nothing of it is sent yet."""

    task: TaskDefinition = field(repr=False)
    key: str
    when: datetime | None
    args: tuple[object, ...]
    kwargs: Mapping[str, object]
    expires: timedelta | datetime | None = None
    priority: Priority = Priority.NORMAL

    @property
    def function(self) -> TaskFunction:
        """The function that will be called."""
        return self.task.function

    @property
    def function_name(self) -> str:
        """The name it is registered under."""
        return self.task.name


@define(eq=False)
class Preparation(Generic[P, R_co]):
    """What ``docket.call(f)`` returns: call it with the arguments of ``f``."""

    _task: TaskDefinition = field(alias="task")
    _key: str = field(alias="key")
    _when: datetime | None = field(alias="when")
    _expires: timedelta | datetime | None = field(default=None, alias="expires")
    _priority: Priority = field(default=Priority.NORMAL, alias="priority")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskCall[R_co]:
        """Return the call.

        Raises:
            InvalidArguments: The arguments do not fit the signature.
        """
        self._task.plan.check_call(args, kwargs)
        return TaskCall[Any](self._task, self._key, self._when, args, kwargs, self._expires, self._priority)
