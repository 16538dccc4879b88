"""A look at a whole docket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from attrs import define, field, frozen

from docket_anyio._broker.broker import Broker
from docket_anyio._client.arguments import Pickled
from docket_anyio._client.catalogue import Catalogue
from docket_anyio._client.execution import Execution
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.snapshot import InHand, Waiting, WorkerInfo

E = TypeVar("E", bound=Execution[Any])


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
    """

    taken: datetime
    total_tasks: int
    future: Sequence[Execution[Any]]
    running: Sequence[RunningExecution]
    workers: Sequence[WorkerInfo]


async def take_snapshot(broker: Broker, catalogue: Catalogue, window: timedelta) -> DocketSnapshot:
    """Look at a docket.

    Args:
        broker: What there is.
        catalogue: What its tasks are.
        window: For how long a worker counts as alive that is not heard of.
    """
    now = broker.clock.now()
    survey = await broker.backlog.survey(now)
    return DocketSnapshot(
        now,
        survey.total,
        [_waiting(each, broker, catalogue) for each in survey.waiting],
        [_running(each, broker, catalogue) for each in survey.in_hand],
        await broker.presence.workers(now=now, window=window),
    )


def _waiting(waiting: Waiting, broker: Broker, catalogue: Catalogue) -> Execution[Any]:
    return _handle(Execution[Any], waiting.message, broker, catalogue, state=waiting.state)


def _running(in_hand: InHand, broker: Broker, catalogue: Catalogue) -> RunningExecution:
    since = {"started_at": in_hand.since, "started": in_hand.since}
    state = ExecutionState.RUNNING
    return _handle(RunningExecution, in_hand.message, broker, catalogue, state=state, worker=in_hand.worker, **since)


def _handle(make: Callable[..., E], message: TaskMessage, broker: Broker, catalogue: Catalogue, **standing: Any) -> E:
    return make(
        broker=broker,
        key=message.key,
        function_name=message.task,
        function=catalogue.function_named(message.task),
        arguments=Pickled(message.task, args=message.args, kwargs=message.kwargs),
        when=message.when,
        attempt=message.attempt,
        generation=message.generation,
        **standing,
    )
