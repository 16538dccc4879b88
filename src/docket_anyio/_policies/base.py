"""What the runner asks of a task's policies."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Signature
from typing import Protocol, runtime_checkable

from anyio import CancelScope

from docket_anyio._model.admission import Gate
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


@runtime_checkable
class AdmissionPolicy(Protocol):
    """Says what is to be asked before a run of a task begins."""

    def check_signature(self, task: str, signature: Signature) -> None:
        """Check that the task has what the policy goes by.

        Raises:
            InvalidTask: It has not.
        """
        ...

    def gate(self, task: str, arguments: Mapping[str, object]) -> Gate:
        """Return the question.

        Args:
            task: The name of the task.
            arguments: What it is called with, by parameter, defaults included.

        Raises:
            InvalidSetting: The argument that the policy goes by is missing, or cannot be used.
        """
        ...
