"""Every option of a worker, its default and its check."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from attrs import Attribute, field, frozen

from docket_anyio._client.registry import TaskFunction, load
from docket_anyio._client.standard import default_fallback_task
from docket_anyio._injection.library import Dependency
from docket_anyio._injection.marker import ExecutorRole
from docket_anyio._injection.plan import Placed
from docket_anyio._model.settings import check_at_least, check_not_negative, check_positive
from docket_anyio.exceptions import InvalidDependency, InvalidSetting


def _positive(_: object, attribute: Attribute[timedelta], value: timedelta) -> None:
    check_positive(attribute.name, value)


def _not_negative(_: object, attribute: Attribute[timedelta], value: timedelta) -> None:
    check_not_negative(attribute.name, value)


def _at_least_one(_: object, attribute: Attribute[int], value: int) -> None:
    check_at_least(attribute.name, value, 1)


def _not_empty(_: object, attribute: Attribute[str], value: str) -> None:
    if not value:
        raise InvalidSetting(f"{attribute.name} must not be empty")


def _placed(given: Mapping[str, Any] | Sequence[Any] | str | None) -> Sequence[Placed]:
    """Return the dependencies of a worker, and where each was given.

    Raises:
        InvalidSetting: A name begins with two underscores.
        InvalidDependency: Something is no dependency.
        InvalidTask: They are the ``module:name`` of something that is not there.
    """
    dependencies: Mapping[str, Any] | Sequence[Any] | None = load(given) if isinstance(given, str) else given
    if isinstance(dependencies, Mapping):
        named = list(dependencies.items())
    else:
        named = [(f"dependencies[{index}]", each) for index, each in enumerate(dependencies or ())]
    for name, each in named:
        if name.startswith("__"):
            raise InvalidSetting(f"the worker's dependency {name!r} is reserved: let its name begin with a letter")
        if not isinstance(each, Dependency):
            raise InvalidDependency(
                f"the worker's dependency {name!r} is {each!r}; give it Depends(function), Retry(...) or the like"
            )
        if isinstance(each, ExecutorRole):
            raise InvalidDependency(
                f"the worker's dependency {name!r} is {each!r}, which belongs in the signature of a task"
            )
    return named


def _task(given: TaskFunction | str | None) -> TaskFunction:
    if given is None:
        return default_fallback_task
    if not isinstance(given, str):
        return given
    function: TaskFunction = load(given)
    return function


def _cores() -> int:
    """Return how many processes can compute at once here."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_name() -> str:
    """Return what a worker is called if nobody gives it a name."""
    return f"{socket.gethostname()}#{os.getpid()}"


class WorkerOptions(TypedDict, total=False):
    """The options of a worker as its users give them by keyword."""

    concurrency: int
    redelivery_timeout: timedelta
    reconnection_delay: timedelta
    minimum_check_interval: timedelta
    scheduling_resolution: timedelta
    message_batch: int
    grace: timedelta
    schedule_automatic_tasks: bool
    dependencies: Mapping[str, Any] | Sequence[Any] | str | None
    fallback_task: TaskFunction | str | None
    processes: int
    warm_processes: bool
    enable_internal_instrumentation: bool


@frozen
class WorkerSettings:
    """The options of a worker, their defaults and their checks; ``Worker`` tells what they mean."""

    name: str = field(validator=_not_empty)
    concurrency: int = field(default=10, validator=_at_least_one)
    redelivery_timeout: timedelta = field(default=timedelta(minutes=5), validator=_positive)
    reconnection_delay: timedelta = field(default=timedelta(seconds=5), validator=_positive)
    minimum_check_interval: timedelta = field(default=timedelta(milliseconds=250), validator=_positive)
    scheduling_resolution: timedelta = field(default=timedelta(milliseconds=250), validator=_positive)
    message_batch: int = field(default=1000, validator=_at_least_one)
    grace: timedelta = field(default=timedelta(seconds=20), validator=_not_negative)
    schedule_automatic_tasks: bool = True
    dependencies: Sequence[Placed] = field(default=(), converter=_placed)
    fallback_task: TaskFunction = field(default=None, converter=_task)
    processes: int = field(factory=_cores, validator=_at_least_one)
    warm_processes: bool = False
    enable_internal_instrumentation: bool = False

    @property
    def lease_renewal(self) -> timedelta:
        """How often leases are renewed, and abandoned deliveries looked for (WIRE section 7)."""
        return self.redelivery_timeout / 4
