"""Which workers live, and what they can run (WIRE section 7)."""

from __future__ import annotations

from datetime import timedelta

from docket_anyio._broker.broker import Broker
from docket_anyio._model.extras import Extra
from tests.broker.brokers import LATER, NOW, everything

WINDOW = timedelta(seconds=10)


async def test_a_worker_says_that_it_lives(broker: Broker) -> None:
    await broker.presence.heartbeat("W", ["send", "receive"], now=NOW, window=WINDOW)
    redis, keys = broker.redis, broker.keys
    honouring = [keys.honouring(extra) for extra in Extra]
    for key in (keys.workers, *honouring, keys.task_workers("send"), keys.task_workers("receive")):
        assert await redis.zrange(key, 0, -1, withscores=True) == [(b"W", NOW.timestamp())]
        assert await redis.ttl(key) == -1
    assert await redis.smembers(keys.worker_tasks("W")) == {b"send", b"receive"}
    assert 8 <= await redis.ttl(keys.worker_tasks("W")) <= 10


async def test_a_worker_without_tasks(broker: Broker) -> None:
    await broker.presence.heartbeat("W", [], now=NOW, window=WINDOW)
    assert await broker.redis.zrange(broker.keys.workers, 0, -1) == [b"W"]
    assert not await broker.redis.exists(broker.keys.worker_tasks("W"))


async def test_a_short_window_is_a_second_at_least(broker: Broker) -> None:
    await broker.presence.heartbeat("W", ["send"], now=NOW, window=timedelta(milliseconds=1))
    assert 0 < await broker.redis.pttl(broker.keys.worker_tasks("W")) <= 1000


async def test_who_is_not_heard_of_is_forgotten(broker: Broker) -> None:
    await broker.presence.heartbeat("gone", ["send"], now=NOW, window=WINDOW)
    await broker.presence.heartbeat("W", ["send"], now=LATER, window=WINDOW)
    for key in (broker.keys.workers, broker.keys.honouring(Extra.EXPIRY), broker.keys.task_workers("send")):
        assert await broker.redis.zrange(key, 0, -1) == [b"W"]


async def test_a_worker_leaves_nothing_behind(broker: Broker) -> None:
    await broker.presence.heartbeat("W", ["send"], now=NOW, window=WINDOW)
    await broker.presence.depart("W", ["send"])
    assert await everything(broker) == {}
