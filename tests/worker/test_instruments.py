"""Instruments are told what happens, and cannot hurt a worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from docket_anyio import Docket, Retry, Worker
from docket_anyio.abc import Again, Delivery, Failed, Finish, Instrument, Outcome, Settlement, Succeeded


class Recorder(Instrument):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:
        self.told.append((worker, delivery.message.task, delivery.message.attempt))

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        self.told.append((type(outcome), type(settlement)))


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
    async with Worker(docket, "W", instruments=[recorder]) as worker:
        await worker.run_until_finished()
    assert recorder.told == [("W", "flaky", 1), (Failed, Again), ("W", "flaky", 2), (Succeeded, Finish)]


async def test_one_that_raises_is_logged_and_told_no_more(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    broken, recorder = Broken(), Recorder()
    execution = await docket.add(flaky)()
    async with Worker(docket, "W", instruments=[broken, recorder]) as worker:
        await worker.run_until_finished()
    await execution.get_result()
    assert broken.told == [("W", "flaky", 1)]
    assert len(recorder.told) == 4
    assert "failed and is told no more" in caplog.text
