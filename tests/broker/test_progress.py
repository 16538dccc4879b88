"""The script that reports progress, and what is read and announced of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from docket_anyio._broker.answers import Ending
from docket_anyio._broker.broker import Broker
from docket_anyio._broker.strikes import BEFORE_ALL
from docket_anyio._model.codec import dump_arguments
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, TaskMessage
from docket_anyio._model.record import ProgressRecord
from docket_anyio.exceptions import CorruptMessage, RedisRefused
from tests.broker.brokers import add_pydocket, claim, published

KEY = 'clé "1"\n\\'
NOW = datetime(2026, 11, 22, 3, 50, 3, 727689, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
ISO = "2026-11-22T03:50:03.727689+00:00"
ARGS, KWARGS = dump_arguments((), {}, "load")


async def schedule(broker: Broker, *, key: str = KEY, when: datetime = NOW, replace: bool = False) -> None:
    message = TaskMessage(key, "load", when, ARGS, KWARGS)
    await broker.queue.schedule(message, due=when == NOW, replace=replace, last_strike=BEFORE_ALL)


async def run(broker: Broker, *, replace: bool = False) -> Delivery:
    await schedule(broker, replace=replace)
    delivery = await claim(broker)
    await broker.queue.start(delivery, "W", NOW)
    return delivery


async def fields(broker: Broker) -> dict[str, str]:
    found = await broker.redis.hgetall(broker.keys.progress(KEY))
    return {name.decode(): value.decode() for name, value in found.items()}


async def increment(broker: Broker, amount: int, *, generation: int = 1) -> ProgressRecord | None:
    return await broker.progress.increment(KEY, amount, NOW, generation=generation)


async def test_a_run_starts_with_nothing_of_a_hundred(broker: Broker) -> None:
    await run(broker)
    assert await fields(broker) == {"current": "0", "total": "100", "generation": "1"}
    _, progress = await broker.records.read_with_progress(KEY)
    assert progress == ProgressRecord(0, 100)


async def test_each_report_is_written_and_read(broker: Broker) -> None:
    await run(broker)
    reports = broker.progress
    assert await increment(broker, 5) == ProgressRecord(5, 100, None, NOW)
    assert await reports.set_total(KEY, 7, NOW, generation=1) == ProgressRecord(5, 7, None, NOW)
    assert await reports.set_message(KEY, "hälf", LATER, generation=1) == ProgressRecord(5, 7, "hälf", LATER)
    assert await fields(broker) == {
        "current": "5",
        "total": "7",
        "message": "hälf",
        "updated_at": LATER.isoformat(),
        "generation": "1",
    }
    record, progress = await broker.records.read_with_progress(KEY)
    assert record is not None
    assert record.state is ExecutionState.RUNNING
    assert progress == ProgressRecord(5, 7, "hälf", LATER)
    assert await reports.set_message(KEY, None, NOW, generation=1) == ProgressRecord(5, 7, None, NOW)
    assert "message" not in await fields(broker)


async def test_an_empty_message_is_a_message(broker: Broker) -> None:
    await run(broker)
    assert await broker.progress.set_message(KEY, "", NOW, generation=1) == ProgressRecord(0, 100, "", NOW)


@pytest.mark.parametrize("message", ['"quotes"\\', "new\nline\ttab\r", "\x00\x1b\x7f", "ünï 🎉", "x" * 100_000])
async def test_each_report_is_announced_complete(broker: Broker, message: str) -> None:
    await run(broker)
    async with published(broker, broker.keys.progress(KEY)) as collected:
        await increment(broker, 5)
        await broker.progress.set_message(KEY, message, NOW, generation=1)
        await broker.progress.set_total(KEY, 7, NOW, generation=1)
        found = await collected()
    known: dict[str, Any] = {"type": "progress", "key": KEY, "current": 5, "total": 100, "updated_at": ISO}
    assert found == [
        {**known, "message": None},
        {**known, "message": message},
        {**known, "message": message, "total": 7},
    ]
    assert list(found[0]) == ["type", "key", "current", "total", "message", "updated_at"]


async def test_numbers_beyond_lua(broker: Broker) -> None:
    await run(broker)
    much = 2**62 + 1
    async with published(broker, broker.keys.progress(KEY)) as collected:
        assert await increment(broker, much) == ProgressRecord(much, 100, None, NOW)
        await broker.progress.set_total(KEY, 10**30, NOW, generation=1)
        assert [(each["current"], each["total"]) for each in await collected()] == [(much, 100), (much, 10**30)]
    with pytest.raises(RedisRefused, match="overflow"):
        await increment(broker, much)


async def test_reports_at_the_same_time_all_count(broker: Broker) -> None:
    await run(broker)
    assert [await increment(broker, 1) for _ in range(5)] == [ProgressRecord(n + 1, 100, None, NOW) for n in range(5)]


async def test_progress_of_a_task_that_waits(broker: Broker) -> None:
    await schedule(broker, when=LATER)
    assert await increment(broker, 3, generation=0) == ProgressRecord(3, 100, None, NOW)
    await broker.queue.promote(LATER, limit=1)
    delivery = await claim(broker)
    await broker.queue.start(delivery, "W", NOW)
    assert await fields(broker) == {"current": "0", "total": "100", "generation": "1"}


async def ignored(broker: Broker, generation: int) -> None:
    before = await fields(broker)
    async with published(broker, broker.keys.progress(KEY)) as collected:
        assert await increment(broker, 5, generation=generation) is None
        assert await broker.progress.set_total(KEY, 5, NOW, generation=generation) is None
        assert await broker.progress.set_message(KEY, "no", NOW, generation=generation) is None
        assert await broker.progress.set_message(KEY, None, NOW, generation=generation) is None
        assert await collected() == []
    assert await fields(broker) == before


async def test_a_superseded_run_is_not_heard_once_its_successor_has_begun(broker: Broker) -> None:
    await run(broker)
    await schedule(broker, replace=True)
    assert await increment(broker, 5, generation=1) == ProgressRecord(5, 100, None, NOW)
    delivery = await claim(broker, "W2")
    await broker.queue.start(delivery, "W2", NOW)
    await increment(broker, 1, generation=2)
    await ignored(broker, 1)
    assert (await fields(broker))["current"] == "1"
    # Whoever is not a run is never outdated.
    assert await increment(broker, 1, generation=0) == ProgressRecord(2, 100, None, NOW)


async def test_a_superseded_run_does_not_begin_the_progress_of_its_successor(broker: Broker) -> None:
    await run(broker)
    await add_pydocket(broker)
    await broker.queue.cancel(KEY, NOW)
    await schedule(broker, when=LATER)
    await ignored(broker, 1)


@pytest.mark.parametrize("generation", [0, 1])
async def test_nothing_is_left_behind_after_the_end(broker: Broker, generation: int) -> None:
    await broker.queue.settle(await run(broker), Ending(ExecutionState.COMPLETED), NOW)
    await ignored(broker, generation)
    await broker.redis.delete(broker.keys.runs(KEY))
    await ignored(broker, generation)


@pytest.mark.parametrize("generation", [0, 1])
async def test_nothing_is_left_behind_after_a_cancel(broker: Broker, generation: int) -> None:
    await run(broker)
    await add_pydocket(broker)
    await broker.queue.cancel(KEY, NOW)
    await ignored(broker, generation)


async def test_a_run_that_was_asked_to_stop_reports_until_it_has(broker: Broker) -> None:
    delivery = await run(broker)
    await increment(broker, 2, generation=1)
    await broker.queue.cancel(KEY, NOW)
    assert await increment(broker, 5, generation=1) == ProgressRecord(7, 100, None, NOW)
    await broker.queue.settle(delivery, Ending(ExecutionState.CANCELLED), NOW)
    await ignored(broker, 1)


async def test_a_report_through_an_older_pydocket_has_no_generation(broker: Broker) -> None:
    await schedule(broker)
    await broker.redis.hset(broker.keys.progress(KEY), mapping={"current": "2", "total": "9", "updated_at": ISO})
    assert await increment(broker, 1) == ProgressRecord(3, 9, None, NOW)


@pytest.mark.parametrize("broken", [{"current": "many"}, {"total": "1.5"}, {"updated_at": "soon"}])
async def test_progress_that_cannot_be_read(broker: Broker, broken: dict[str, str]) -> None:
    await broker.redis.hset(broker.keys.progress(KEY), mapping=broken)
    with pytest.raises(CorruptMessage, match="a progress with a field that cannot be read"):
        await broker.records.read_with_progress(KEY)


async def test_a_key_of_another_kind(broker: Broker) -> None:
    await broker.redis.set(broker.keys.progress(KEY), "text")
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await broker.records.read_with_progress(KEY)


async def test_watching_a_key(broker: Broker) -> None:
    async with broker.events.watch_all(KEY) as announcements:
        await schedule(broker, key="other")
        await claim(broker)
        await run(broker)
        queued, running = await announcements.next(), await announcements.next()
        assert queued == {"type": "state", "key": KEY, "state": ExecutionState.QUEUED, "when": ISO}
        assert running["type"] == "state"
        assert running["state"] is ExecutionState.RUNNING
        await increment(broker, 5)
        assert await announcements.next() == {
            "type": "progress", "key": KEY, "current": 5, "total": 100, "message": None, "updated_at": ISO,
        }  # fmt: skip


@pytest.mark.parametrize(
    "payload", ["", "5", "[]", "{}", '{"type": "state"}', '{"type": "progress"}', '{"type": "x"}', "\xff", "null"]
)
async def test_what_is_no_event(broker: Broker, payload: str) -> None:
    async with broker.events.watch_all(KEY) as announcements:
        await broker.redis.publish(broker.keys.progress(KEY), payload.encode("latin-1"))
        with pytest.raises(CorruptMessage, match="an event that cannot be read"):
            await announcements.next()


# --- pydocket ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def progress_of_pydocket(anyio_backend: tuple[str, Any], redis_server: Any) -> AsyncGenerator[Any]:
    docket = pytest.importorskip("docket")
    if anyio_backend[0] != "asyncio":
        pytest.skip("pydocket runs on asyncio only")
    async with docket.Docket(f"docket-{uuid4().hex}", redis_server.url) as opened:
        yield opened


@pytest.mark.filterwarnings("default")  # of pydocket's dependencies
async def test_fields_and_payloads_are_those_of_pydocket(progress_of_pydocket: Any) -> None:
    from docket.execution import ExecutionProgress as PydocketProgress

    from docket_anyio import Docket

    theirs = progress_of_pydocket
    seen: dict[str, tuple[list[str], list[Any]]] = {}
    async with Docket(theirs.name, theirs.url) as ours, ours.redis() as redis:
        for name in ("theirs", "ours"):
            key = f"key of {name}"
            await ours.add("trace", when=datetime.now(UTC) + timedelta(hours=1), key=key)("x")
            execution = await ours.get_execution(key)
            assert execution is not None
            progress = PydocketProgress(theirs, key) if name == "theirs" else execution.progress
            # pydocket sends the total that the object knows: let both know the same.
            await progress.sync()
            hash_key = f"{theirs.name}:progress:{key}"
            async with ours.broker.redis.transport.open_subscription(channels=[hash_key]) as subscription:
                await progress.set_total(20)
                await progress.increment(3)
                await progress.set_message('ünï "x"')
                await progress.set_message(None)
                payloads = [json.loads((await subscription.receive()).data) for _ in range(4)]
            found = await redis.hgetall(hash_key)
            assert datetime.fromisoformat(found[b"updated_at"].decode()).utcoffset() == timedelta(0)
            assert found.pop(b"updated_at").decode() == payloads[-1]["updated_at"]
            for each in payloads:
                assert each.pop("key") == key
                assert datetime.fromisoformat(each.pop("updated_at")).utcoffset() == timedelta(0)
            seen[name] = sorted(found.items()), [list(each.items()) for each in payloads]
            # What one side wrote the other reads.
            await execution.sync()
            read = await PydocketProgress.create(theirs, key)
            assert (read.current, read.total, read.message) == (3, 20, None)
            assert (execution.progress.current, execution.progress.total, execution.progress.message) == (3, 20, None)
            assert execution.progress.updated_at == read.updated_at
            await ours.cancel(key)
    assert seen["ours"] == seen["theirs"]
