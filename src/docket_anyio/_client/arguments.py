"""What a task is called with: as it was given, or pickled until somebody looks."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from attrs import field, frozen

from docket_anyio._model.codec import load_arguments


class Arguments(Protocol):
    """What a task is called with."""

    @property
    def args(self) -> tuple[object, ...]:
        """The positional ones."""
        ...

    @property
    def kwargs(self) -> dict[str, object]:
        """Those by name."""
        ...


@frozen(eq=False)
class Given:
    """Arguments as they were given."""

    args: tuple[object, ...]
    kwargs: dict[str, object]


@frozen(eq=False)
class Pickled:
    """Arguments that are unpickled when they are first looked at."""

    task: str
    _args: bytes = field(repr=False, alias="args")
    _kwargs: bytes = field(repr=False, alias="kwargs")

    @property
    def args(self) -> tuple[object, ...]:
        """The positional ones.

        Raises:
            CorruptMessage: They cannot be unpickled here.
        """
        return self._loaded[0]

    @property
    def kwargs(self) -> dict[str, object]:
        """Those by name.

        Raises:
            CorruptMessage: They cannot be unpickled here.
        """
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[tuple[object, ...], dict[str, object]]:
        return load_arguments(self._args, self._kwargs, self.task)
