"""From free slots to claims to runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.intake import Claimed, Intake
from docket_anyio._model.message import Undecodable
from docket_anyio._worker.gate import Gate
from docket_anyio._worker.runner import Runner
from docket_anyio._worker.runs import ActiveRuns, RunScope
from docket_anyio._worker.settings import WorkerSettings

# How long a claim blocks at most: a connection that died silently is noticed by then.
_LONGEST_WAIT: Final = timedelta(seconds=5)


@define(eq=False)
class Consumer:
    """Claims deliveries as slots free, new ones and those that a dead worker left, and starts a run of each."""

    _broker: Broker
    _settings: WorkerSettings
    _runs: ActiveRuns
    _runner: Runner
    _running: TaskGroup
    _gate: Gate
    _next_sweep: float = field(default=0.0, init=False)  # on the event loop's clock
    _interrupted: bool = field(default=False, init=False)

    async def run(self, ready: Callable[[], None]) -> None:
        """Claim until cancelled. What a claim was given in that moment goes back into the queue."""
        async with self._broker.open_intake(self._settings.name) as intake:
            ready()
            try:
                if self._interrupted:
                    await self._recover(intake)
                self._interrupted = True
                while True:
                    await self._claim(intake)
            finally:
                self._start(intake.leftover(), self._runner.decline)

    async def _recover(self, intake: Intake) -> None:
        # The last connection broke: its claim may have succeeded, with nobody there to hear of it. What is older than
        # that was left by a dead worker of the same name, and waits for its lease to run out.
        pending = [each for each in await intake.own_pending() if each.receipt not in self._runs]
        self._begin(pending[max(0, len(pending) - self._runs.free) :])

    async def _claim(self, intake: Intake) -> None:
        await self._gate.wait_open()
        count = min(await self._runs.wait_free(), self._settings.message_batch)
        if self._gate.is_shut:
            return
        wait = self._next_sweep - anyio.current_time()
        if wait <= 0 and (abandoned := await self._sweep(intake, count)):
            self._begin(abandoned)
            return
        wait = self._next_sweep - anyio.current_time()
        claimed = await intake.claim(count, wait=min(timedelta(seconds=max(0.0, wait)), _LONGEST_WAIT))
        self._begin(claimed[:count])
        self._start(claimed[count:], self._runner.decline)

    async def _sweep(self, intake: Intake, count: int) -> list[Claimed]:
        leased = await intake.take_sweep(self._settings.lease_renewal)
        abandoned, at_end = await intake.sweep(count, idle=self._settings.redelivery_timeout, leased=leased)
        if at_end:
            self._sweep_later()
        return [each for each in abandoned if each.receipt not in self._runs]

    def _sweep_later(self) -> None:
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        self._next_sweep = anyio.current_time() + self._settings.lease_renewal.total_seconds() * jitter

    def _begin(self, claimed: list[Claimed]) -> None:
        self._start(claimed, self._runner.run)

    def _start(self, claimed: list[Claimed], what: Callable[[RunScope], Coroutine[Any, Any, None]]) -> None:
        # No checkpoint between a claim and this: what was claimed must not be forgotten.
        for each in claimed:
            if isinstance(each, Undecodable):
                self._running.start_soon(self._runner.discard, each)
            else:
                self._running.start_soon(what, self._runs.add(each))
