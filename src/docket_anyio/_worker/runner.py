"""One delivery, from its start to its settlement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import assert_never

import anyio
from attrs import define, evolve

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.queue import Answer, Ending
from docket_anyio._client.registry import TaskDefinition, TaskRegistry
from docket_anyio._executors.inline import run_inline
from docket_anyio._model.codec import dump, load_arguments
from docket_anyio._model.message import Delivery, Undecodable
from docket_anyio._model.outcome import Failed, Outcome, Succeeded
from docket_anyio._model.settlement import Again, Finish, HandBack, LetGo, Settlement, SettlementPolicy, decide
from docket_anyio._policies.base import RunPolicy
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._worker.runs import ActiveRuns, RunScope
from docket_anyio._worker.supervisor import Supervisor
from docket_anyio.exceptions import NotSerializable, TaskFailed, UnknownTask


@define(eq=False)
class Runner:
    """Runs deliveries. Each that was started is settled exactly once, whatever happens in between."""

    _broker: Broker
    _registry: TaskRegistry
    _worker: str
    _runs: ActiveRuns
    _supervisor: Supervisor
    _instruments: Instruments

    async def run(self, run: RunScope) -> None:
        """Start a delivery, run its body, and settle it."""
        delivery, queue = run.delivery, self._broker.queue
        try:
            answer = await self._supervisor.until_done(
                "starting runs", lambda: queue.start(delivery, self._worker, self._broker.clock.now())
            )
            if answer is not Answer.STARTED:
                self._instruments.delivery_dropped(delivery, answer.name.lower())
                return
            lateness = self._broker.clock.now() - delivery.message.when
            self._instruments.run_started(delivery, lateness=max(lateness, timedelta(0)))
            began = anyio.current_time()
            outcome, policies = await self._attempt(run)
            await self._settle(run, outcome, policies, began)
        finally:
            self._runs.remove(run)

    async def decline(self, run: RunScope) -> None:
        """Hand back a delivery that was claimed and shall not be started here."""
        try:
            await self._supervisor.until_done("handing back", lambda: self._broker.queue.hand_back(run.delivery))
            self._instruments.delivery_dropped(run.delivery, "handed back")
        finally:
            self._runs.remove(run)

    async def discard(self, entry: Undecodable) -> None:
        """Take an entry that is no message off the stream."""
        await self._supervisor.until_done("discarding", lambda: self._broker.queue.discard(entry.receipt))
        self._instruments.entry_discarded(entry.receipt, entry.problem)

    async def _attempt(self, run: RunScope) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        message = run.delivery.message
        try:
            task = self._registry.get(message.task)
        except UnknownTask:
            # As pydocket has it: a message that nobody here understands is not to come again and again.
            self._instruments.task_unknown(run.delivery)
            return Succeeded(), ()  # noqa: ASYNC910 - private; the start and the settlement around it are checkpoints
        policies = [each for each in task.plan.markers.values() if isinstance(each, SettlementPolicy)]
        try:
            return await self._run_body(run, task), policies
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            return Failed(error), policies  # noqa: ASYNC910 - private; the start and the settlement around it are checkpoints

    async def _run_body(self, run: RunScope, task: TaskDefinition) -> Outcome:
        message = run.delivery.message
        args, kwargs = load_arguments(message.args, message.kwargs, task.name)
        values = task.plan.values_for_run(args, kwargs, key=message.key, attempt=message.attempt)

        async def body() -> Outcome:
            if run.reason is not None:
                # Told to stop before it began: it must not even run to its first checkpoint.
                return run.outcome()  # noqa: ASYNC910 - private; the start and the settlement around it are checkpoints
            value = await run_inline(task.function, args, {**kwargs, **values})
            return Succeeded(None if value is None else dump(value, f"the result of task {task.name!r}"))

        limits = [each for each in values.values() if isinstance(each, RunPolicy)]
        return await _within([run, *limits], body)

    async def _settle(
        self, run: RunScope, outcome: Outcome, policies: Sequence[SettlementPolicy], began: float
    ) -> None:
        delivery = run.delivery
        settlement = decide(
            outcome,
            policies,
            attempt=delivery.message.attempt,
            now=self._broker.clock.now(),
            cancel_requested=run.cancel_requested,
        )
        duration = timedelta(seconds=anyio.current_time() - began)
        await self._supervisor.until_done("settling runs", lambda: self._apply(delivery, settlement))
        self._instruments.run_settled(delivery, outcome, settlement, duration=duration)

    async def _apply(self, delivery: Delivery, settlement: Settlement) -> None:  # noqa: ASYNC910 - private; the start and the settlement around it are checkpoints
        queue, now = self._broker.queue, self._broker.clock.now()
        match settlement:
            case Finish():
                await queue.settle(delivery, _ending(settlement, delivery.message.task), now)
            case Again():
                successor = evolve(delivery.message, when=settlement.when, attempt=settlement.attempt)
                await queue.again(delivery, successor, due=settlement.when <= now)
            case HandBack():
                await queue.hand_back(delivery)
            case LetGo():
                pass
            case _:
                assert_never(settlement)


async def _within(limits: Sequence[RunPolicy], body: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Run the body in the scopes of all limits, the first outermost: the one that catches it says how it ended."""
    if not limits:
        return await body()
    outermost, *inner = limits
    with outermost.scope:
        return await _within(inner, body)
    return outermost.outcome()


def _ending(finish: Finish, task: str) -> Ending:
    error = finish.error
    if error is None:
        return Ending(finish.state, result=finish.result)
    text = _text(error)
    try:
        stored = dump(error, f"the exception of task {task!r}")
    except NotSerializable:
        stored = dump(TaskFailed(text), "a TaskFailed")
    return Ending(finish.state, error=text, result=stored)


def _text(error: Exception) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
        return text.encode(errors="backslashreplace").decode()  # the name of a file may be no Unicode
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        return type(error).__name__
