"""Exceptions, whatever groups they are in: task groups wrap them, and copy the groups that pass through them."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_
from typing import cast


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Return an exception, or what is in a group, at any depth."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(each)
    else:
        yield error


def is_same(one: BaseException, other: BaseException) -> bool:
    """Tell whether two exceptions are made of the same ones."""
    mine, yours = list(leaves(one)), list(leaves(other))
    return len(mine) == len(yours) and all(map(is_, mine, yours))
