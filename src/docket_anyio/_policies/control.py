"""Exceptions that steer a run, also where a task group of the body's own has wrapped them."""

from __future__ import annotations

from typing import TypeVar, cast

from docket_anyio._model.leaves import leaves

E = TypeVar("E", bound=Exception)


def sole_leaf(error: BaseException, kind: type[E]) -> E | None:
    """Return an exception of a kind, or the first of a group that holds nothing else.

    A group in which it is mixed with others is a failure, and is recorded with all that is in it.
    """
    found = list(leaves(error))
    return cast("E", found[0]) if all(isinstance(each, kind) for each in found) else None


def has_only(error: BaseException, kinds: tuple[type[Exception], ...]) -> bool:
    """Tell whether an exception is of one of the kinds, or is a group of nothing else."""
    return isinstance(error, kinds) or all(isinstance(each, kinds) for each in leaves(error))
