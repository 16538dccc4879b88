"""Whatever makes a body stop, and wherever it runs: it has one outcome, and the same on every event loop."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from docket_anyio import Docket, Worker
from docket_anyio.abc import Delivery, Failed, Instrument, Outcome, Settlement, TimedOut
from tests.worker.bodies import KINDS, PATIENCE, Notes
from tests.worker.cells import CELLS, PAGE, Cell, drawn, written

SOON, NEVER = timedelta(milliseconds=50), timedelta(hours=1)


class Recorder(Instrument):
    def __init__(self) -> None:
        self.told: list[tuple[Outcome, Settlement]] = []
        self.settled = anyio.Event()

    def run_settled(
        self, worker: str, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, duration: timedelta
    ) -> None:
        self.told.append((outcome, settlement))
        self.settled.set()


async def bring_about(cell: Cell, docket: Docket, worker: Worker, host: anyio.CancelScope, notes: Notes) -> None:
    for cause in cell.causes:
        match cause:
            case "cancel":
                await docket.cancel("one")
            case "stop":
                worker.stop()
            case "host":
                host.cancel()
            case "timeout":
                if cell.manner == "dawdle":
                    await notes.wait("out of time")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
async def test_there_is_one_outcome(docket: Docket, cell: Cell, kind: str, tmp_path: Path) -> None:
    if kind.startswith("process") and docket.url.startswith("redis"):
        pytest.skip("where a docket is kept is nothing to a process")
    notes, recorder = Notes(tmp_path), Recorder()
    body = KINDS[kind](SOON if "timeout" in cell.causes else NEVER, notes)
    await docket.add(body, key="one")(cell.manner)
    with anyio.fail_after(PATIENCE):
        async with (
            Worker(docket, grace=timedelta(0), instruments=[recorder]) as worker,
            anyio.create_task_group() as group,
        ):
            await group.start(worker.run_forever)
            await notes.wait("started")
            await bring_about(cell, docket, worker, group.cancel_scope, notes)
            with anyio.move_on_after(PATIENCE, shield=True):
                await recorder.settled.wait()
            worker.stop()
    ((outcome, settlement),) = recorder.told
    assert (type(outcome), type(settlement)) == (cell.outcome, cell.settlement)
    if cell.error is not None:
        assert isinstance(outcome, Failed | TimedOut)
        assert type(outcome.error) is cell.error


def test_the_documentation_has_the_matrix() -> None:
    assert written(PAGE.read_text("utf-8")) == drawn(), "write it again: python -m tests.worker.cells"
