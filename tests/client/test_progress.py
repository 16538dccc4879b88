"""Progress: what a body reports, and what others see of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from attrs import define, field

from docket_anyio import Docket, Execution, Progress, Retry
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._model.events import ProgressEvent
from docket_anyio.exceptions import ExecutionGone, InvalidSetting, NotOpen
from tests.conftest import Store
from tests.dockets import keys_of, open_docket, running

HOUR = timedelta(hours=1)
PATIENCE = 5


@define
class Gate:
    """Where a body waits until the test lets it go on."""

    reached: anyio.Event = field(factory=anyio.Event)
    opened: anyio.Event = field(factory=anyio.Event)

    async def wait(self) -> None:
        self.reached.set()
        await self.opened.wait()


@asynccontextmanager
async def halfway(docket: Docket, *, key: str = "load") -> AsyncGenerator[Execution[Any]]:
    """A run that has done 3 of 7."""
    gate = Gate()

    async def load(progress: Progress = Progress()) -> None:
        await progress.set_total(7)
        await progress.increment(3)
        await progress.set_message("hälf")
        await gate.wait()

    async with running(docket):
        execution = await docket.add(load, key=key)()
        await gate.reached.wait()
        yield execution
        gate.opened.set()  # the worker ends after what it runs


def told(progress: ExecutionProgress | Progress) -> tuple[int | None, int, str | None]:
    return progress.current, progress.total, progress.message


# --- what others see --------------------------------------------------------------------------------------------------


async def test_what_a_body_reports_is_read_by_others(docket: Docket) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    async with halfway(docket) as execution:
        assert told(execution.progress) == (None, 100, None)
        assert execution.progress.updated_at is None
        await execution.sync()
        assert told(execution.progress) == (3, 7, "hälf")
        assert execution.progress.updated_at is not None
        assert before < execution.progress.updated_at < datetime.now(UTC) + timedelta(seconds=1)


async def test_every_way_to_ask_for_it(docket: Docket) -> None:
    async with halfway(docket) as execution:
        await execution.progress.sync()
        found = await docket.get_execution("load")
        assert found is not None
        created = await ExecutionProgress.create(docket, "load")
        assert told(execution.progress) == told(found.progress) == told(created) == (3, 7, "hälf")
        assert created.key == "load"


async def test_it_is_gone_after_the_end(docket: Docket) -> None:
    async with halfway(docket) as execution:
        await execution.sync()
    await execution.sync()
    assert told(execution.progress) == (None, 100, None)
    assert not [key for key in await keys_of(docket) if ":progress:" in key]


async def test_a_run_that_has_said_nothing(docket: Docket) -> None:
    gate = Gate()
    async with running(docket):
        execution = await docket.add(gate.wait)()
        await gate.reached.wait()
        await execution.sync()
        assert told(execution.progress) == (0, 100, None)
        gate.opened.set()
        await execution.get_result()


async def test_others_may_report_too(docket: Docket) -> None:
    async with halfway(docket) as execution:
        await execution.progress.increment()
        assert told(execution.progress) == (4, 7, "hälf")
        await execution.progress.set_total(5)
        await execution.progress.set_message(None)
        assert told(execution.progress) == (4, 5, None)


async def test_progress_of_a_task_that_waits(docket: Docket) -> None:
    execution = await docket.add("trace", when=datetime.now(UTC) + HOUR, key="one")("x")
    await execution.progress.set_message("not yet")
    found = await docket.get_execution("one")
    assert found is not None
    assert told(found.progress) == (0, 100, "not yet")
    await docket.cancel("one")
    await execution.sync()
    assert told(execution.progress) == (None, 100, None)


async def test_progress_of_what_has_ended_is_kept_nowhere(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add("trace", key="one")("x")
        await execution.get_result()
        await execution.progress.increment(5)
        assert told(execution.progress) == (5, 100, None)
        await execution.sync()
        assert told(execution.progress) == (None, 100, None)


# --- in a body --------------------------------------------------------------------------------------------------------


async def test_a_body_sees_what_it_has_reported(docket: Docket) -> None:
    seen: list[Any] = []

    async def load(progress: Progress = Progress()) -> None:
        seen.append(told(progress))
        await progress.set_total(7)
        await progress.increment()
        await progress.increment(2)
        await progress.set_message("a")
        seen.append((*told(progress), progress.updated_at is not None))
        await progress.set_message(None)
        await progress.sync()
        seen.append(told(progress))

    async with running(docket):
        await (await docket.add(load)()).get_result()
    assert seen == [(None, 100, None), (3, 7, "a", True), (3, 7, None)]


async def test_children_of_a_body_report_together(docket: Docket) -> None:
    async def load(progress: Progress = Progress()) -> tuple[int | None, int | None]:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(progress.increment)
        last = progress.current
        await progress.sync()
        return last, progress.current

    async with running(docket):
        last, stored = await (await docket.add(load)()).get_result()
    assert stored == 20
    assert last == 20


async def test_two_runs_at_once_share_nothing(docket: Docket) -> None:
    """pydocket keeps the value in the marker, which all runs of a function have in common."""
    values: list[Progress] = []
    gates = {1: Gate(), 2: Gate()}

    async def load(number: int, progress: Progress = Progress()) -> int | None:
        values.append(progress)
        await gates[number].wait()
        await progress.increment(number)
        return progress.current

    async with running(docket):
        executions = [await docket.add(load, key=f"load {number}")(number) for number in gates]
        for gate in gates.values():
            await gate.reached.wait()
        gates[1].opened.set()
        assert await executions[0].get_result() == 1
        await executions[1].sync()
        assert executions[1].progress.current == 0
        gates[2].opened.set()
        assert await executions[1].get_result() == 2
    assert values[0] is not values[1]


async def test_a_retry_begins_anew(docket: Docket) -> None:
    async def load(progress: Progress = Progress(), retry: Retry = Retry(attempts=2)) -> tuple[int | None, int]:
        before = progress.current
        await progress.sync()
        assert before is None
        found = progress.current
        await progress.increment(5)
        if retry.attempt == 1:
            raise ValueError
        return found, progress.current or 0

    async with running(docket):
        assert await (await docket.add(load)()).get_result() == (0, 5)


async def test_a_run_that_was_replaced_reports_to_nobody(docket: Docket) -> None:
    gates = {1: Gate(), 2: Gate()}
    ended = anyio.Event()
    last: dict[int, int | None] = {}

    async def load(number: int, progress: Progress = Progress()) -> None:
        await gates[number].wait()
        for _ in range(3):
            await progress.increment(number)
        last[number] = progress.current
        await progress.set_total(number)
        await progress.set_message(str(number))
        ended.set()

    async with running(docket):
        await docket.add(load, key="one")(1)
        await gates[1].reached.wait()
        execution = await docket.replace(load, when=datetime.now(UTC), key="one")(2)
        await gates[2].reached.wait()
        gates[1].opened.set()
        await ended.wait()
        await execution.sync()
        assert told(execution.progress) == (0, 100, None)
        gates[2].opened.set()
        await execution.get_result()
    # It counts for itself all the same: a loop until all is done ends.
    assert last == {1: 3, 2: 6}


async def test_the_marker_itself_tells_nothing() -> None:
    progress = Progress()
    assert repr(progress) == "Progress()"
    for name in ("current", "total", "message", "updated_at"):
        with pytest.raises(NotOpen, match="only in the body of a task"):
            getattr(progress, name)
    for call in (progress.increment(), progress.set_total(5), progress.set_message("x"), progress.sync()):
        with pytest.raises(NotOpen, match="only in the body of a task"):
            await call


async def test_a_number_below_one(docket: Docket) -> None:
    execution = await docket.add("trace", when=datetime.now(UTC) + HOUR, key="one")("x")
    for number in (0, -5):
        with pytest.raises(InvalidSetting, match="the total of a progress must be at least 1"):
            await execution.progress.set_total(number)
        with pytest.raises(ValueError, match="the amount of progress must be at least 1"):
            await execution.progress.increment(number)
    await execution.sync()
    assert told(execution.progress) == (None, 100, None)
    await docket.cancel("one")


async def test_every_report_is_a_checkpoint(docket: Docket) -> None:
    execution = await docket.add("trace", when=datetime.now(UTC) + HOUR, key="one")("x")
    progress = execution.progress
    for call in (progress.increment, lambda: progress.set_total(5), lambda: progress.set_message("x"), progress.sync):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
    await docket.cancel("one")


# --- subscribing to it ------------------------------------------------------------------------------------------------


async def test_each_report_is_an_event_until_the_end(docket: Docket) -> None:
    gate = Gate()

    async def load(progress: Progress = Progress()) -> None:
        await gate.wait()
        await progress.set_total(2)
        await progress.increment()
        await progress.set_message("a")
        await progress.increment()

    found: list[ProgressEvent] = []
    ready = anyio.Event()

    async def listen() -> None:
        async for event in execution.progress.subscribe(ready=ready):
            found.append(event)  # noqa: PERF401 - as each comes

    async with running(docket):
        execution = await docket.add(load, key="one")()
        await gate.reached.wait()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(listen)
                await ready.wait()
                gate.opened.set()
    assert [(each["current"], each["total"], each["message"]) for each in found] == [
        (0, 2, None),
        (1, 2, None),
        (1, 2, "a"),
        (2, 2, "a"),
    ]
    assert {each["type"] for each in found} == {"progress"}
    assert {each["key"] for each in found} == {"one"}
    assert all(each["updated_at"] is not None for each in found)


async def test_a_subscription_is_left_early(docket: Docket) -> None:
    ready = anyio.Event()

    async def report() -> None:
        await ready.wait()
        await execution.progress.increment()

    async with halfway(docket) as execution, anyio.create_task_group() as group:
        group.start_soon(report)
        with anyio.fail_after(PATIENCE):
            async with aclosing(execution.progress.subscribe(ready=ready)) as reports:
                async for event in reports:
                    assert event["current"] == 4
                    break


async def test_subscribing_to_what_nothing_is_known_of(docket: Docket) -> None:
    progress = await ExecutionProgress.create(docket, "nothing")
    assert told(progress) == (None, 100, None)
    with pytest.raises(ExecutionGone, match="nothing is recorded of the execution 'nothing'"):
        await anext(progress.subscribe())


async def test_nothing_is_kept_with_a_time_to_live_of_zero(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        async with halfway(docket) as execution:
            await execution.sync()
            assert told(execution.progress) == (3, 7, "hälf")
        assert not [key for key in await keys_of(docket) if "load" in key]
