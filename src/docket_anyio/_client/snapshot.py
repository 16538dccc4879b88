"""A look at a whole docket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from attrs import define, field, frozen

from docket_anyio._client.execution import Execution
from docket_anyio._client.registry import TaskFunction
from docket_anyio._client.request import Home
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.snapshot import InHand, Waiting, WorkerInfo


class Surveyed(Home, Protocol):
    """A docket that is looked at."""

    def function_named(self, name: str) -> TaskFunction:
        """Return the function of a task, known or not."""
        ...


@define(eq=False)
class RunningExecution(Execution[Any]):
    """An execution in a worker's hands: in ``worker`` which, in ``started`` since when."""

    started: datetime = field(kw_only=True)


@frozen(eq=False)
class DocketSnapshot:
    """What was on a docket at one moment, and who worked on it.

    Arguments stay pickled until somebody looks at an execution's ``args`` or ``kwargs``; where they cannot be unpickled
    that raises ``CorruptMessage``.

    Attributes:
        taken: When that was.
        total_tasks: How many tasks waited or ran, also those that are not listed.
        future: Those that wait: for a worker first, then those for later by their time.
        running: Those that run.
        workers: The workers that live.
        paused: Whether no run was to begin.
    """

    taken: datetime
    total_tasks: int
    future: Sequence[Execution[Any]]
    running: Sequence[RunningExecution]
    workers: Sequence[WorkerInfo]
    paused: bool


async def take_snapshot(docket: Surveyed, window: timedelta) -> DocketSnapshot:
    """Look at a docket.

    Args:
        docket: Which; it is open.
        window: For how long a worker counts as alive that is not heard of.
    """
    broker = docket.broker
    now = broker.clock.now()
    survey = await broker.backlog.survey(now)
    return DocketSnapshot(
        now,
        survey.total,
        [_waiting(each, docket) for each in survey.waiting],
        [_running(each, docket) for each in survey.in_hand],
        await broker.presence.workers(now=now, window=window),
        await broker.pauses.is_on(),
    )


def _waiting(waiting: Waiting, docket: Surveyed) -> Execution[Any]:
    message = waiting.message
    return Execution[Any].of(docket, docket.function_named(message.task), message, state=waiting.state)


def _running(in_hand: InHand, docket: Surveyed) -> RunningExecution:
    message = in_hand.message
    return RunningExecution.of(
        docket,
        docket.function_named(message.task),
        message,
        state=ExecutionState.RUNNING,
        worker=in_hand.worker,
        started_at=in_hand.since,
        started=in_hand.since,
    )
