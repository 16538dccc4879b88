"""What the runner asks of a task's policies."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from anyio import CancelScope

from docket_anyio._model.outcome import Outcome
from docket_anyio._model.settlement import SettlementPolicy as SettlementPolicy


@runtime_checkable
class RunPolicy(Protocol):
    """Bounds a body by a scope of its own; one value for one run."""

    @property
    def scope(self) -> CancelScope:
        """The scope around the body."""
        ...

    def start(self) -> None:
        """Be told that the body is called now."""
        ...

    def outcome(self) -> Outcome:
        """Return what it means that the scope has caught the body."""
        ...
