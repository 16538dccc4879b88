"""What a limit is about: a task, or a task with a certain argument."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Signature
from typing import Any, Self

from attrs import evolve

from docket_anyio._injection.marker import Marker, takes
from docket_anyio.exceptions import InvalidSetting, InvalidTask


class PerSubject(Marker):
    """What the kinds of limit have in common: all runs of a task count together, or those with the same argument."""

    _parameter: str | None
    """The one whose argument tells them apart; ``None`` where all count together."""

    def for_run(self, key: str, attempt: int) -> Self:  # noqa: ARG002 - a marker's signature
        """Return the value for one run."""
        return self

    def bind_to_parameter(self, name: str, value: object) -> Self:  # noqa: ARG002 - a marker's signature
        """Return the limit as it is for a parameter that it annotates."""
        changes: dict[str, Any] = {"parameter": name}
        return evolve(self, **changes)  # type: ignore[misc] # each kind is a class of attrs

    def check_signature(self, task: str, signature: Signature) -> None:
        """Check that the task has, or may have, the parameter.

        Raises:
            InvalidTask: It has not.
        """
        if self._parameter is not None and not takes(signature, self._parameter):
            name = type(self).__name__
            raise InvalidTask(f"the {name} of task {task!r} goes by {self._parameter!r}, no parameter of it")

    def _subject(self, task: str, arguments: Mapping[str, object]) -> str:
        """Return the name of what is limited, as it stands in Redis.

        Raises:
            InvalidSetting: The call does not give the argument.
        """
        if self._parameter is None:
            return task
        if self._parameter not in arguments:
            raise InvalidSetting(
                f"the {type(self).__name__} of task {task!r} goes by {self._parameter!r}, which is not among its "
                f"arguments: {', '.join(arguments) or 'there are none'}"
            )
        return f"{self._parameter}:{arguments[self._parameter]}"
