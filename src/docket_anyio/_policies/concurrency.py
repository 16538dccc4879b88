"""ConcurrencyLimit: so many runs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, overload

from attrs import field, frozen

from docket_anyio._model.admission import SlotGate
from docket_anyio._model.settings import check_at_least
from docket_anyio._policies.subject import PerSubject
from docket_anyio.exceptions import InvalidSetting, NotOpen

# Behind the name of what is limited stands who waits for it (WIRE section 8.1).
_TAKEN = (":waiters", ":waiters:woken")


@frozen(init=False, eq=False)
class ConcurrencyLimit(PerSubject):
    """Let no more than ``max_concurrent`` runs go on at once; others wait in line, and go on as soon as one has ended.

    Give it as a parameter's default. ``limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=3)`` counts all runs
    of the task, ``ConcurrencyLimit("customer", 1)`` those with the same ``customer``, and so does
    ``customer: Annotated[int, ConcurrencyLimit(1)]``. The limits of all tasks of a docket that go by an argument of the
    same name are one, unless they have scopes.

    Args:
        argument_name: The parameter whose arguments are limited each on its own.
        max_concurrent: How many runs.
        scope: A part of the docket with limits of its own.

    Raises:
        InvalidSetting: ``max_concurrent`` is below 1.
    """

    single = True

    _parameter: str | None
    max_concurrent: int
    scope: str | None
    _key: str | None = field(default=None, repr=False)

    @overload
    def __init__(self, max_concurrent: int, /, *, scope: str | None = None) -> None: ...

    @overload
    def __init__(self, argument_name: str, max_concurrent: int = 1, scope: str | None = None) -> None: ...

    @overload
    def __init__(self, *, max_concurrent: int = 1, scope: str | None = None) -> None: ...

    def __init__(
        self, argument_name: str | int | None = None, max_concurrent: int = 1, scope: str | None = None
    ) -> None:
        parameter, limit = (None, argument_name) if isinstance(argument_name, int) else (argument_name, max_concurrent)
        check_at_least("the max_concurrent of a ConcurrencyLimit", limit, 1)
        self._fill(parameter, limit, scope, None)

    @property
    def argument_name(self) -> str | None:
        """The parameter whose arguments are limited each on its own."""
        return self._parameter

    @property
    def concurrency_key(self) -> str:
        """The key in Redis of those who have a slot.

        Raises:
            NotOpen: This is the marker in the signature, and not the value that a run was given.
        """
        if self._key is None:
            raise NotOpen("a ConcurrencyLimit has a key only in the body of a task that was given it")
        return self._key

    def bind_to_parameter(self, name: str, value: object) -> Self:  # noqa: ARG002 - a marker's signature
        """Return the limit as it is for a parameter that it annotates."""
        return self._with(name if self._parameter is None else self._parameter, self._key)

    def opened(self, key: str) -> Self:
        """Return the value for a run that has a slot under a key of Redis."""
        return self._with(self._parameter, key)

    def gate(self, task: str, arguments: Mapping[str, object]) -> SlotGate:
        """Return what to ask before a run.

        Raises:
            InvalidSetting: The argument is missing, or its name in Redis is taken.
        """
        name = self._subject(task, arguments)
        if name.endswith(_TAKEN):
            raise InvalidSetting(f"the ConcurrencyLimit of task {task!r} cannot go by {name!r}: no such end, please")
        return SlotGate(name, self.max_concurrent, self.scope)

    def _with(self, parameter: str | None, key: str | None) -> Self:
        copy = type(self).__new__(type(self))
        copy._fill(parameter, self.max_concurrent, self.scope, key)  # noqa: SLF001 - another one of it
        return copy

    def _fill(self, parameter: str | None, limit: int, scope: str | None, key: str | None) -> None:
        # The three ways to call it are more than attrs can make.
        for name, value in (("_parameter", parameter), ("max_concurrent", limit), ("scope", scope), ("_key", key)):
            object.__setattr__(self, name, value)
