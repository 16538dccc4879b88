"""Instruments are told what happens, and cannot hurt a worker."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, Retry
from docket_anyio.abc import Again, Delivery, Depth, Failed, Finish, Instrument, Outcome, Settlement, Succeeded
from docket_anyio.dependencies import current_execution
from tests.clocks import virtual_time
from tests.dockets import run_all, running


class Recorder(Instrument):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        self.told.append((worker, delivery.message.task, delivery.message.attempt))

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        self.told.append((type(outcome), type(settlement)))


class Fragile(Instrument):
    """Is out of order once it hears of what hardly ever happens."""

    def run_superseded(self, worker: str, delivery: Delivery, where: str) -> None:
        raise RuntimeError("out of order")


class Broken(Recorder):
    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        super().run_started(worker, delivery, lateness=lateness)
        raise RuntimeError("out of order")


async def flaky(retry: Retry = Retry(attempts=2)) -> None:
    if retry.attempt == 1:
        raise ValueError("not yet")


async def test_an_instrument_hears_of_each_run(docket: Docket) -> None:
    recorder = Recorder()
    await docket.add(flaky)()
    await run_all(docket, name="W", instruments=[recorder])
    assert recorder.told == [("W", "flaky", 1), (Failed, Again), ("W", "flaky", 2), (Succeeded, Finish)]


async def test_one_that_raises_is_logged_and_told_no_more(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    broken, recorder = Broken(), Recorder()
    execution = await docket.add(flaky)()
    await run_all(docket, name="W", instruments=[broken, recorder])
    await execution.get_result()
    assert broken.told == [("W", "flaky", 1)]
    assert len(recorder.told) == 4
    assert "failed and is told no more" in caplog.text


async def test_one_that_raises_at_what_was_superseded_cannot_hurt_either(docket: Docket) -> None:
    async def hasty(retry: Retry = Retry(attempts=2)) -> None:
        await docket.replace(flaky, datetime.now(UTC), current_execution.get().key)()
        raise ValueError("ouch")

    execution = await docket.add(hasty, key="K")()
    await run_all(docket, name="W", instruments=[Fragile()])
    await execution.get_result()


async def test_what_one_sets_for_a_run_is_seen_by_its_body_only(docket: Docket) -> None:
    current: ContextVar[str | None] = ContextVar("current", default=None)
    seen: dict[str, str | None] = {}

    class Marking(Instrument):
        def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
            if delivery.message.key != "C":
                current.set(delivery.message.key)

    async def look() -> None:
        await anyio.sleep(0.01)
        seen[current_execution.get().key] = current.get()

    for key in "ABC":
        await docket.add(look, key=key)()
    await run_all(docket, concurrency=1, instruments=[Marking()])
    assert seen == {"A": "A", "B": "B", "C": None}
    assert current.get() is None


@virtual_time
async def test_a_run_that_cannot_be_settled_is_told_of(docket: Docket) -> None:
    began, told = anyio.Event(), list[str]()

    class Listening(Instrument):
        def run_settled(self, *_: Any, **__: Any) -> None:
            told.append("settled")

        def run_abandoned(self, worker: str, delivery: Delivery) -> None:
            told.append(delivery.message.key)

    async def stubborn() -> None:
        began.set()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3600)

    await docket.add(stubborn, key="K")()
    async with running(docket, grace=timedelta(0), instruments=[Listening()]):
        await began.wait()
    assert told == ["K"]


async def test_one_hears_what_a_worker_can_run_and_how_much_there_is_to_do(docket: Docket) -> None:
    tasks, depths = dict[str, str](), list[Depth]()
    heard = anyio.Event()

    class Listening(Instrument):
        def worker_started(self, worker: str, given: Mapping[str, str]) -> None:
            tasks.update(given)

        def docket_measured(self, worker: str, depth: Depth) -> None:
            depths.append(depth)
            heard.set()

    docket.register(flaky)
    async with running(docket, instruments=[Listening()]):
        await heard.wait()
    assert tasks["flaky"] == "..."
    assert depths[0] == Depth(due=0, later=0)
