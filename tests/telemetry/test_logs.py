"""The log lines of workers and dockets."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, Perpetual, Retry, Worker
from docket_anyio.dependencies import current_execution
from tests.dockets import run_all, running

pytestmark = pytest.mark.usefixtures("_info")


@pytest.fixture
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "docket_anyio")


async def quick() -> None: ...


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


async def send(
    address: str, *copies: str, retry: Retry = Retry(attempts=2), subject: str = "", **more: int
) -> None: ...


async def odd(number: Any = Unspeakable()) -> None: ...


async def boom() -> None:
    raise ValueError("ouch")


def lines(caplog: pytest.LogCaptureFixture, *levels: int) -> list[str]:
    """Return the lines of runs, without what was measured."""
    return [
        re.sub(r"\[ *\d+(ms|s )\]", "[]", each.getMessage())
        for each in caplog.records
        if each.name == "docket_anyio.worker"
        and each.getMessage()[0] in "↪↬↩↫✗🗙"
        and each.levelno in (levels or [each.levelno])
    ]


async def test_a_worker_says_what_it_can_run(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    docket.register(send)
    docket.register(quick)
    docket.register(odd)
    async with running(docket, name="W"):
        told = [each.getMessage() for each in caplog.records if each.name == "docket_anyio.worker"]
    assert told[0] == "Starting worker 'W' with the following tasks:"
    assert "* send(address: str, *copies: str, subject: str = '', **more: int, ...)" in told
    assert "* quick()" in told
    assert any(each.startswith("* odd(number: Any = <Unspeakable instance") for each in told)
    assert "* sleep(seconds: float)" in told


async def test_a_run_that_goes_well(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    due = datetime.now(UTC) - timedelta(seconds=2)
    await docket.add(quick, when=due, key="K")()
    await run_all(docket, name="W")
    assert lines(caplog, logging.INFO) == ["↪ [] quick{K}", "↩ [] quick{K}"]
    began, ended = (each for each in caplog.records if "quick{K}" in each.getMessage())
    about = {
        "docket.name": docket.name,
        "docket.worker": "W",
        "docket.queue_key": docket.queue_key,
        "docket.stream_key": docket.stream_key,
        "docket.task": "quick",
        "docket.key": "K",
        "docket.when": due.isoformat(),
        "docket.attempt": 1,
    }
    assert about.items() <= vars(began).items()
    assert about.items() <= vars(ended).items()
    assert 2 <= vars(began)["punctuality"] < 10
    assert vars(ended)["punctuality"] == vars(began)["punctuality"]
    assert "duration" not in vars(began)
    assert 0 <= vars(ended)["duration"] < 5
    assert re.fullmatch(r"↪ \[  [ \d]\d{3}ms\] quick\{K\}", began.getMessage())


async def test_a_run_that_fails(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    await docket.add(boom, key="K")()
    await run_all(docket, name="W")
    assert lines(caplog, logging.INFO) == ["↪ [] boom{K}"]
    assert lines(caplog, logging.ERROR) == ["↩ [] boom{K}"]
    (failure,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert failure.exc_info is not None
    assert isinstance(failure.exc_info[1], ValueError)


async def test_one_that_is_tried_again(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def flaky(retry: Retry = Retry(attempts=2)) -> None:
        if retry.attempt == 1:
            raise ValueError("not yet")

    await docket.add(flaky, key="K")()
    await run_all(docket, name="W")
    told = ["↪ [] flaky{K}", "↩ [] flaky{K}", "↫ [] flaky{K}", "↬ [] flaky{K}", "↩ [] flaky{K}"]
    assert lines(caplog) == told
    assert lines(caplog, logging.ERROR) == ["↩ [] flaky{K}"]


async def test_one_that_repeats(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def poll(perpetual: Perpetual = Perpetual()) -> None: ...

    await docket.add(poll, key="K")()
    async with Worker(docket, "W") as worker:
        await worker.run_at_most({"K": 2})
    assert lines(caplog) == ["↪ [] poll{K}", "↫ [] poll{K}", "↪ [] poll{K}", "↩ [] poll{K}"]


async def test_one_that_is_superseded(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def failing(retry: Retry = Retry(attempts=2)) -> None:
        await docket.replace(quick, datetime.now(UTC), current_execution.get().key)()
        raise ValueError("ouch")

    await docket.add(failing, key="K")()
    await run_all(docket, name="W", concurrency=1)
    told = ["↪ [] failing{K}", "↩ [] failing{K}", "↬ [] failing{K} (superseded)", "↪ [] quick{K}", "↩ [] quick{K}"]
    assert lines(caplog) == told


async def end_held(docket: Docket, end: Callable[[], Any], **options: Any) -> None:
    began = anyio.Event()

    async def hold() -> None:
        began.set()
        await anyio.sleep(1000)

    await docket.add(hold, key="K")()
    async with running(docket, name="W", **options):
        await began.wait()
        await end()


async def test_one_that_is_cancelled(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    await end_held(docket, lambda: docket.cancel("K"))
    assert lines(caplog) == ["↪ [] hold{K}", "✗ [] hold{K} (cancelled)"]


async def test_one_that_is_handed_back(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    await end_held(docket, anyio.lowlevel.checkpoint, grace=timedelta(0))
    assert lines(caplog) == ["↪ [] hold{K}", "↫ [] hold{K} (handed back: shutdown)"]
    await docket.cancel("K")


async def test_what_is_stricken(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    await docket.add(quick, key="K")()
    await docket.strike(quick)
    await docket.add(quick, key="L")()
    await run_all(docket, name="W")
    assert lines(caplog, logging.WARNING) == ["🗙 quick{K} (stricken)"]
    (line,) = (each for each in caplog.records if each.name == "docket_anyio.docket")
    assert line.levelno == logging.WARNING
    assert line.getMessage() == "'quick' is stricken: 'L' was not added to the docket"
    assert vars(line)["docket.name"] == docket.name
