"""What a task is called with, pickled until somebody looks."""

from __future__ import annotations

from functools import cached_property

from attrs import field, frozen

from docket_anyio._model.codec import load_arguments


@frozen(eq=False)
class Pickled:
    """Arguments that are unpickled when they are first looked at."""

    task: str
    _args: bytes = field(repr=False, alias="args")
    _kwargs: bytes = field(repr=False, alias="kwargs")

    @property
    def payload(self) -> tuple[bytes, bytes]:
        """The pickles: of those by position, and of those by name."""
        return self._args, self._kwargs

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
