"""What users ask of a docket, as log lines, metrics and spans."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final

from attrs import define, field

from docket_anyio._model.strikes import Direction, Strike, StrikeInstruction
from docket_anyio._telemetry.meters import (
    STRIKES_IN_EFFECT,
    TASKS_ADDED,
    TASKS_CANCELLED,
    TASKS_REPLACED,
    TASKS_SCHEDULED,
    TASKS_STRICKEN,
)
from docket_anyio._telemetry.otel import Attributes, Labels, Span, span

_LOGGER: Final = logging.getLogger("docket_anyio.docket")


@define(eq=False)
class RequestTelemetry:
    """Is told what is asked of one docket, and what came of it.

    Args:
        docket: The labels of the docket.
    """

    _docket: Labels
    _in_force: set[StrikeInstruction] = field(factory=set[StrikeInstruction], init=False)

    def span(self, name: str, attributes: Mapping[str, str | int] | None = None) -> AbstractContextManager[Span]:
        """Open a span around a request; what it raises is told there."""
        return span(name, {**self._docket, **(attributes or {})})

    def span_of_call(self, name: str, task: str, labels: Attributes) -> AbstractContextManager[Span]:
        """Open a span around a request to schedule a call."""
        return self.span(name, {**labels, "code.function.name": task})

    def span_of_strike(self, instruction: StrikeInstruction) -> AbstractContextManager[Span]:
        """Open a span around a request to strike or to restore."""
        return self.span(f"docket.{instruction.direction.value}", _strike_labels(instruction))

    def added(self, task: str, *, scheduled: bool) -> None:
        """A call was to be added; if its key was taken, it was not scheduled."""
        labels = {**self._docket, "docket.task": task}
        TASKS_ADDED.add(1, labels)
        if scheduled:
            TASKS_SCHEDULED.add(1, labels)

    def replaced(self, task: str) -> None:
        """A call was put in the place of what was under its key."""
        labels = {**self._docket, "docket.task": task}
        TASKS_REPLACED.add(1, labels)
        TASKS_CANCELLED.add(1, labels)
        TASKS_SCHEDULED.add(1, labels)

    def stricken(self, task: str, key: str) -> None:
        """A call was not scheduled, since it is struck."""
        extra = {**self._docket, "docket.task": task, "docket.key": key}
        _LOGGER.warning("%r is stricken: %r was not added to the docket", task, key, extra=extra)
        TASKS_STRICKEN.add(1, {**self._docket, "docket.task": task, "docket.where": "docket"})

    def cancelled(self) -> None:
        """A key was cancelled."""
        TASKS_CANCELLED.add(1, self._docket)

    def strike_without_effect(self, parameter: str) -> None:
        """A strike is about a parameter that no task has here."""
        line = "No task known here has the parameter %r: the strike will match nothing here"
        _LOGGER.warning(line, parameter, extra=dict(self._docket))

    def strike_read(self, instruction: StrikeInstruction) -> None:
        """This process has taken over an instruction that somebody gave."""
        strike = Strike(instruction.function, instruction.parameter, instruction.operator, instruction.value)
        if instruction.direction is Direction.STRIKE and strike not in self._in_force:
            self._in_force.add(strike)
            self._count(strike, 1)
        elif instruction.direction is Direction.RESTORE and strike in self._in_force:
            self._in_force.remove(strike)
            self._count(strike, -1)

    def strikes_forgotten(self) -> None:
        """This process follows the strikes no more."""
        while self._in_force:
            self._count(self._in_force.pop(), -1)

    def _count(self, strike: StrikeInstruction, amount: int) -> None:
        STRIKES_IN_EFFECT.add(amount, {**self._docket, **_strike_labels(strike)})


def _strike_labels(instruction: StrikeInstruction) -> Labels:
    labels = {} if instruction.function is None else {"docket.task": instruction.function}
    if instruction.parameter is not None:
        labels["docket.parameter"] = instruction.parameter
        labels["docket.operator"] = instruction.operator.value
        labels["docket.value"] = _shown(instruction.value)
    return labels


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a strike that cannot be shown must not keep workers from reading it
        return f"<{type(value).__name__}>"
