"""What happens in the demo, written down as it happens: for the producer, the worker and those who wait for results."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import anyio
from anyio import Event
from attrs import define, field

from docket_anyio._client.execution import Execution
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Cancelled, Outcome, Succeeded, TimedOut
from docket_anyio._model.settlement import Again, Settlement
from docket_anyio.abc import Instrument


class How(Enum):
    """How a run stands, or ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


@define(eq=False)
class Run:
    """One attempt. All times here are seconds since the demo began."""

    began: float
    ended: float = math.inf
    how: How = How.RUNNING


@define(eq=False)
class Entry:
    """What is known of one task.

    Before each run it waits: first from ``added``, then from the end of the run before. ``dues`` has a time for each.
    """

    key: str
    added: float
    dues: list[float]
    shows: str = ""
    runs: list[Run] = field(factory=list[Run])
    started: Event = field(factory=Event)
    state: ExecutionState | None = None
    ended: float = math.inf
    result: object = None

    def phase(self, now: float) -> ExecutionState:
        """Return where the task stands. What is due counts as queued, even before anybody has looked."""
        if self.state is not None:
            return self.state
        if self.runs and self.runs[-1].how is How.RUNNING:
            return ExecutionState.RUNNING
        return ExecutionState.SCHEDULED if now < self.dues[-1] else ExecutionState.QUEUED

    def ran_for(self, now: float) -> float:
        """Return for how many seconds it has run in all."""
        return sum(min(run.ended, now) - run.began for run in self.runs)


@define(eq=False)
class Journal(Instrument):
    """An ``Instrument`` for the worker, and an ``Audience`` for the producer.

    Args:
        on_line: Called with the time, the key of a task, and a few words on what happened to it.
    """

    _on_line: Callable[[float, str, str], None]
    entries: dict[str, Entry] = field(factory=dict[str, Entry], init=False)
    most_at_once: int = field(default=0, init=False)
    _zero: float = field(factory=anyio.current_time, init=False)

    def now(self) -> float:
        """Return the seconds since the demo began."""
        return anyio.current_time() - self._zero

    def running(self) -> int:
        """Return how many tasks run now."""
        return sum(entry.phase(0) is ExecutionState.RUNNING for entry in self.entries.values())

    # --- told by the producer

    def added(self, execution: Execution[Any], shows: str) -> None:
        """Note a task, and what it is to show."""
        now = self.now()
        entry = self._entry(execution.key)
        entry.shows, entry.dues[0] = shows, now + _seconds_until(execution.when)
        self._on_line(now, entry.key, f"added: {shows}")

    def cancelling(self, key: str) -> None:
        """See ``Audience``."""
        now = self.now()
        self._on_line(now, key, f"is cancelled by the producer while it is {self._entry(key).phase(now).value}")

    async def wait_started(self, key: str) -> None:
        """See ``Audience``."""
        await self._entry(key).started.wait()

    def came_back(self, key: str, state: ExecutionState, result: object) -> None:
        """Note what who waited for a task was given: its result, or an exception."""
        now, entry = self.now(), self._entry(key)
        entry.state, entry.ended, entry.result = state, now, result
        took = f" after running {entry.ran_for(now):.2f} s" if entry.runs else " before it started"
        told = "" if state is ExecutionState.CANCELLED else f": {in_words(result)}"
        self._on_line(now, key, f"{state.value}{took}{told}")

    # --- told by the worker

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:  # noqa: ARG002 - a protocol's
        """See ``Instrument``."""
        now, entry = self.now(), self._entry(delivery.message.key)
        entry.runs.append(Run(now))
        entry.started.set()
        self.most_at_once = max(self.most_at_once, self.running())
        attempt = delivery.message.attempt
        self._on_line(now, entry.key, "starts" if attempt == 1 else f"starts again, attempt {attempt}")

    def run_settled(
        self,
        worker: str,  # noqa: ARG002 - a protocol's
        delivery: Delivery,
        outcome: Outcome,
        settlement: Settlement,
        *,
        duration: timedelta,  # noqa: ARG002 - a protocol's
    ) -> None:
        """See ``Instrument``."""
        now, entry = self.now(), self._entry(delivery.message.key)
        run = entry.runs[-1]
        run.ended, run.how = now, _how(outcome)
        if isinstance(settlement, Again):
            pause = _seconds_until(settlement.when)
            entry.dues.append(now + pause)
            self._on_line(now, entry.key, f"attempt {len(entry.runs)} {run.how.value}, again in {pause:.1f} s")

    def _entry(self, key: str) -> Entry:
        # A worker may be quicker to start a task than its producer is to tell of it.
        now = self.now()
        return self.entries.setdefault(key, Entry(key, now, [now]))


def in_words(result: object) -> str:
    """Return a result as a user sees it: an exception with its class, anything else as Python writes it."""
    return f"{type(result).__name__}: {result}" if isinstance(result, BaseException) else repr(result)


def _seconds_until(when: datetime) -> float:
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _how(outcome: Outcome) -> How:
    match outcome:
        case Succeeded():
            return How.SUCCEEDED
        case TimedOut():
            return How.TIMED_OUT
        case Cancelled():
            return How.CANCELLED
        case _:
            return How.FAILED
