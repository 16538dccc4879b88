"""While a docket is paused no delivery of it is started."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from docket_anyio._broker.answers import Answer
from docket_anyio._broker.broker import Broker
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio.exceptions import NotHonoured
from tests.broker.brokers import (
    EXPIRING,
    KEY,
    LATER,
    MESSAGE,
    NOW,
    PARKED,
    claim,
    everything,
    pending,
    published,
    queued,
    record,
    running,
    state_of,
)

WINDOW = timedelta(seconds=10)


async def pause(broker: Broker) -> None:
    await broker.pauses.begin(NOW, heard_since=NOW - WINDOW)


async def test_nothing_is_started_while_it_is_paused(broker: Broker) -> None:
    delivery = await queued(broker)
    assert not await broker.pauses.is_on()
    await pause(broker)
    assert await broker.pauses.is_on()
    before = await everything(broker)
    async with published(broker, broker.keys.state_channel(KEY)) as events:
        assert await broker.queue.start(delivery, "W", NOW) is Answer.PAUSED
        assert await events() == []
    assert await everything(broker) == before
    assert await pending(broker) == 1
    await broker.pauses.end()
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED


async def test_what_is_handed_back_meanwhile_is_as_it_was(broker: Broker) -> None:
    delivery = await queued(broker)
    before = await record(broker)
    await pause(broker)
    await broker.queue.start(delivery, "W", NOW)
    await broker.queue.hand_back(delivery, "W", NOW)
    after = await record(broker)
    assert {**after, "stream_id": b""} == {**before, "stream_id": b""}
    await broker.pauses.end()
    again = await claim(broker)
    assert again.message == delivery.message
    assert await broker.queue.start(again, "W", NOW) is Answer.STARTED


async def test_what_runs_ends_and_what_is_added_waits(broker: Broker) -> None:
    delivery = await running(broker)
    await pause(broker)
    await broker.queue.again(delivery, MESSAGE, NOW, due=True)
    assert await state_of(broker) is ExecutionState.QUEUED
    await broker.queue.schedule(PARKED, due=False, replace=True)
    await broker.queue.promote(LATER, limit=10)
    assert await broker.queue.start(await claim(broker), "W", NOW) is Answer.PAUSED


async def test_what_was_cancelled_or_has_expired_ends_all_the_same(broker: Broker) -> None:
    delivery = await queued(broker, EXPIRING)
    await pause(broker)
    assert await broker.queue.start(delivery, "W", LATER) is Answer.EXPIRED
    await broker.queue.schedule(MESSAGE, due=True)
    delivery = await claim(broker)
    await broker.queue.cancel(KEY, NOW)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.CANCELLED


async def test_twice_is_once(broker: Broker) -> None:
    await pause(broker)
    before = await everything(broker)
    await broker.pauses.begin(LATER, heard_since=NOW - WINDOW)
    assert await everything(broker) == before
    for _ in range(2):
        await broker.pauses.end()
        assert await everything(broker) == {}


async def test_who_watches_is_told(broker: Broker) -> None:
    async with broker.events.watch_pauses() as changes:
        with anyio.fail_after(2):
            await pause(broker)
            await changes.wait()
            await broker.pauses.end()
            await changes.wait()


async def test_it_is_refused_where_a_worker_would_go_on(broker: Broker) -> None:
    await broker.presence.heartbeat("W", [], now=NOW, window=WINDOW)
    await broker.redis.zadd(broker.keys.workers, {"theirs": NOW.timestamp()})
    with pytest.raises(NotHonoured, match="'theirs' is not one of docket-anyio's and would not honour the pause"):
        await pause(broker)
    assert not await broker.pauses.is_on()
    await broker.pauses.begin(NOW, heard_since=NOW)
    assert await broker.pauses.is_on()
