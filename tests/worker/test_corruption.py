"""What others have written and nobody can read: nothing loops over it, and nothing else is harmed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, ExecutionCancelled, Worker
from tests.dockets import running
from tests.stage import Stage

GOOD: dict[bytes | str, Any] = {
    "key": "bad",
    "when": "2026-11-22T03:50:03+00:00",
    "function": "echo",
    "args": b"\x80\x05K\x05\x85\x94.",
    "kwargs": b"\x80\x05}\x94.",
    "attempt": "1",
    "generation": "0",
}
BAD = {
    "nothing of a message": {"odd": "1"},
    "no key": {name: value for name, value in GOOD.items() if name != "key"},
    "no arguments": {name: value for name, value in GOOD.items() if name != "args"},
    "a key that is no text": {**GOOD, "key": b"\xff\xfe"},
    "a time that is none": {**GOOD, "when": "yesterday"},
    "a number that is none": {**GOOD, "attempt": "once"},
    "a generation that is none": {**GOOD, "generation": "first"},
    "a header that is no text": {**GOOD, b"\xff": "1"},
}


async def echo(value: object) -> object:
    return value


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
async def test_an_entry_that_cannot_be_read_is_taken_off_once(
    docket: Docket, caplog: pytest.LogCaptureFixture, fields: dict[bytes | str, Any]
) -> None:
    async with docket.redis() as redis:
        before = await docket.add(echo)("before")
        await redis.xadd(f"{docket.name}:stream", fields)
        after = await docket.add(echo)("after")
        async with Worker(docket, concurrency=1) as worker:
            with anyio.fail_after(5):
                await worker.run_until_finished()
        assert await redis.xlen(f"{docket.name}:stream") == 0
        assert (await redis.xpending(f"{docket.name}:stream", "docket-workers"))["pending"] == 0
    assert [await each.get_result() for each in (before, after)] == ["before", "after"]
    assert caplog.text.count("Discarded the stream entry") == 1


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
async def test_a_parked_message_that_cannot_be_read(docket: Docket, fields: dict[bytes | str, Any]) -> None:
    async with docket.redis() as redis:
        await redis.hset(f"{docket.name}:bad", mapping=fields)
        await redis.zadd(f"{docket.name}:queue", {"bad": 1.0})
        late = await docket.add(echo, when=datetime.now(UTC) + timedelta(milliseconds=20))("late")
        async with Worker(docket, concurrency=1) as worker:
            with anyio.fail_after(5):
                await worker.run_until_finished()
        await redis.delete(f"{docket.name}:runs:bad")  # that of the parked key, which promoting has written
    assert await late.get_result() == "late"


@pytest.mark.parametrize("field", ["state", "when", "generation", "started_at"])
async def test_a_record_that_cannot_be_read_harms_no_other(docket: Docket, field: str) -> None:
    """A request to stop the run that it is about reads it."""
    stage = Stage()
    async with running(docket), docket.redis() as redis:
        execution = await docket.add(stage.hang, key="bad")()
        await stage.started.wait()
        await redis.hset(f"{docket.name}:runs:bad", field, "garbage")
        await docket.cancel("bad")
        with anyio.fail_after(5):
            await stage.ended.wait()
            assert await (await docket.add(echo)("good")).get_result() == "good"
            while await redis.xlen(f"{docket.name}:stream"):  # noqa: ASYNC110 - only Redis knows
                await anyio.sleep(0.005)
        assert execution.key == "bad"
        await redis.delete(f"{docket.name}:runs:bad")


@pytest.mark.parametrize("kind", ["cancel", "state", "progress"])
async def test_an_announcement_that_cannot_be_read(docket: Docket, kind: str) -> None:
    """Not by the worker, and not by who waits."""
    async with running(docket), docket.redis() as redis:
        execution = await docket.add(echo, when=datetime.now(UTC) + timedelta(hours=1), key="one")(1)
        for key in (b"one", b"\xff\xfe"):
            await redis.publish(f"{docket.name}:{kind}:".encode() + key, b"\xff garbage")
        assert await (await docket.add(echo)("good")).get_result(timeout=timedelta(seconds=5)) == "good"
        await docket.cancel("one")
        with pytest.raises(ExecutionCancelled):
            await execution.get_result(timeout=timedelta(seconds=5))


async def test_a_strike_that_cannot_be_read_is_passed_over(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async with docket.redis() as redis:
        unreadable = {"direction": "strike", "function": "echo", "operator": "==", "value": b"garbage"}
        for fields in ({"odd": "1"}, unreadable):
            await redis.xadd(f"{docket.name}:strikes", fields)
        async with running(docket):
            assert await (await docket.add(echo)("good")).get_result(timeout=timedelta(seconds=5)) == "good"
            await redis.xadd(f"{docket.name}:strikes", {"odd": "2"})
            assert await (await docket.add(echo)("still")).get_result(timeout=timedelta(seconds=5)) == "still"
    assert "Passed over the strike" in caplog.text
