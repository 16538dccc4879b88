"""One instance of a marker stands in a signature and serves every run: none sees what another one does with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from anyio.abc import TaskGroup
from attrs import define, field

from docket_anyio import Docket
from docket_anyio.dependencies import (
    Cron,
    Depends,
    ExecutionTasks,
    ExponentialRetry,
    Perpetual,
    Progress,
    Retry,
    Timeout,
)
from docket_anyio.exceptions import NotOpen, TaskTimeout
from tests.dockets import run_all, running


@define
class Meeting:
    """Two runs of one task wait for each other, at each of the places where they meet."""

    _here: dict[str, int] = field(factory=dict)
    _both: dict[str, anyio.Event] = field(factory=dict)

    async def at(self, place: str) -> None:
        both = self._both.setdefault(place, anyio.Event())
        self._here[place] = self._here.get(place, 0) + 1
        if self._here[place] == 2:
            both.set()
        with anyio.fail_after(5):
            await both.wait()


async def test_progress(docket: Docket) -> None:
    meeting = Meeting()

    async def body(total: int, progress: Progress = Progress()) -> tuple[int | None, int, str | None]:
        await meeting.at("start")
        await progress.set_total(total)
        await progress.set_message(f"of {total}")
        await progress.increment(total // 10)
        await meeting.at("end")
        return progress.current, progress.total, progress.message

    one, two = await docket.add(body)(10), await docket.add(body)(50)
    await run_all(docket)
    assert await one.get_result() == (1, 10, "of 10")
    assert await two.get_result() == (5, 50, "of 50")


@pytest.mark.parametrize(
    "marker", [Retry(attempts=2), ExponentialRetry(attempts=2, minimum_delay=timedelta(milliseconds=1))], ids=repr
)
async def test_attempts(docket: Docket, marker: Retry) -> None:
    """The first run of one is there at the same time as the second one of another."""
    meeting = Meeting()

    async def body(*, fails: bool, retry: Retry = marker) -> list[int]:
        if fails and retry.attempt == 1:
            raise ValueError("again")
        await meeting.at("the same time")
        attempts = [retry.attempt]
        await meeting.at("the end")
        return [*attempts, retry.attempt]

    one, two = await docket.add(body)(fails=True), await docket.add(body)(fails=False)
    await run_all(docket)
    assert await one.get_result() == [2, 2]
    assert await two.get_result() == [1, 1]
    assert marker.attempt == 1


async def test_timeouts(docket: Docket) -> None:
    meeting = Meeting()
    marker = Timeout(timedelta(minutes=1))

    async def body(number: int, timeout: Timeout = marker) -> bool:
        await meeting.at("start")
        if number == 1:
            timeout.extend(timedelta(minutes=-1))
            await anyio.sleep_forever()
        timeout.extend(timedelta(minutes=1))
        assert timeout.remaining() > timedelta(seconds=100)
        return timeout.expired()

    one, two = await docket.add(body)(1), await docket.add(body)(2)
    await run_all(docket)
    with pytest.raises(TaskTimeout):
        await one.get_result()
    assert await two.get_result() is False
    with pytest.raises(NotOpen):
        marker.remaining()


@pytest.mark.parametrize("marker", [Perpetual(every=timedelta(hours=1)), Cron("0 3 * * *", automatic=False)], ids=repr)
async def test_wishes_for_the_next_run(docket: Docket, marker: Perpetual) -> None:
    """One ends; of the other there is a next run, as it wants it."""
    meeting = Meeting()
    when = datetime.now(UTC) + timedelta(days=2)

    async def body(number: int, repeat: Perpetual = marker) -> None:
        await meeting.at("start")
        if number == 1:
            repeat.cancel()
        else:
            repeat.perpetuate(number + 1)
            repeat.at(when)
        await meeting.at("end")

    one, two = await docket.add(body, key="one")(1), await docket.add(body, key="two")(2)
    async with running(docket):
        await one.get_result()  # the other one has met it at the end, and the worker lets it end
    (following,) = (await docket.snapshot()).future
    assert (following.key, following.args) == (two.key, (3,))
    assert abs(following.when - when) < timedelta(milliseconds=1)
    assert not marker.cancelled


async def test_task_groups(docket: Docket) -> None:
    """What fails in the group of one does not touch the other's."""
    meeting = Meeting()

    async def child(number: int) -> None:
        await meeting.at("child")
        if number == 1:
            raise ValueError("failed")
        await meeting.at("end")

    async def body(number: int, tasks: TaskGroup = ExecutionTasks()) -> str:
        tasks.start_soon(child, number)
        return "done"

    one, two = await docket.add(body)(1), await docket.add(body)(2)
    async with running(docket):
        with pytest.RaisesGroup(ValueError):
            await one.get_result()
        await meeting.at("end")
        assert await two.get_result() == "done"


async def test_what_functions_make(docket: Docket) -> None:
    meeting = Meeting()

    def mine() -> list[int]:
        return []

    async def body(number: int, numbers: list[int] = Depends(mine)) -> list[int]:
        await meeting.at("start")
        numbers.append(number)
        await meeting.at("end")
        return numbers

    one, two = await docket.add(body)(1), await docket.add(body)(2)
    await run_all(docket)
    assert (await one.get_result(), await two.get_result()) == ([1], [2])
