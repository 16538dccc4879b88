"""Our own task groups do not show in the errors that leave them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from docket_anyio._policies.control import sole_leaf
from docket_anyio.exceptions import NotOpen


@contextmanager
def unwrapped() -> Generator[None]:
    """Raise an error that is alone in the groups around it as itself. Several stay together.

    That the docket was closed is one error, however many services have met it.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        alone = sole_leaf(group, NotOpen) or _alone(group)
    else:
        return
    # Outside the except block, so that the group does not become the context of what it held.
    raise alone


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    if len(group.exceptions) == 1:
        error = group.exceptions[0]
        if isinstance(error, BaseExceptionGroup):
            return _alone(cast("BaseExceptionGroup[BaseException]", error))  # its type parameter is lost
    return error
