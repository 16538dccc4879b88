"""Every option of a worker, its default and its check."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import TypedDict

from attrs import Attribute, field, frozen

from docket_anyio._client.registry import TaskFunction, load
from docket_anyio._client.standard import default_fallback_task
from docket_anyio._model.settings import check_at_least, check_not_negative, check_positive
from docket_anyio.exceptions import InvalidSetting


def _positive(_: object, attribute: Attribute[timedelta], value: timedelta) -> None:
    check_positive(attribute.name, value)


def _not_negative(_: object, attribute: Attribute[timedelta], value: timedelta) -> None:
    check_not_negative(attribute.name, value)


def _at_least_one(_: object, attribute: Attribute[int], value: int) -> None:
    check_at_least(attribute.name, value, 1)


def _not_empty(_: object, attribute: Attribute[str], value: str) -> None:
    if not value:
        raise InvalidSetting(f"{attribute.name} must not be empty")


def _task(given: TaskFunction | str | None) -> TaskFunction:
    if given is None:
        return default_fallback_task
    if not isinstance(given, str):
        return given
    function: TaskFunction = load(given)
    return function


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
    fallback_task: TaskFunction | str | None
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
    fallback_task: TaskFunction = field(default=None, converter=_task)
    enable_internal_instrumentation: bool = False

    @property
    def lease_renewal(self) -> timedelta:
        """How often leases are renewed, and abandoned deliveries looked for (WIRE section 7)."""
        return self.redelivery_timeout / 4
