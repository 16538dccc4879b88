"""The broker as a whole: its clock, and the errors that leave it."""

from __future__ import annotations

import time
from datetime import timedelta

import anyio
import pytest
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.errors import redis_errors
from docket_anyio._model.codec import result_value
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._redis.errors import Disconnected
from docket_anyio.exceptions import CorruptMessage, RedisRefused, RedisUnavailable
from tests.broker.brokers import ENDINGS, KEY, MESSAGE, NOW, ended, running
from tests.clocks import virtual_time


async def test_the_clock_is_that_of_redis(broker: Broker) -> None:
    await broker.measure_clock()
    assert broker.clock.timestamp() == pytest.approx(time.time(), abs=0.5)
    assert broker.clock.now().utcoffset() == timedelta(0)


async def test_a_wrong_clock_is_put_right(broker: Broker) -> None:
    now = anyio.current_time()
    broker.clock.measured(1000.0, asked_at=now, answered_at=now)
    assert broker.clock.timestamp() == pytest.approx(1000, abs=0.5)
    await broker.measure_clock()
    assert broker.clock.timestamp() == pytest.approx(time.time(), abs=0.5)


@virtual_time
async def test_the_clock_of_memory_follows_the_event_loop(broker: Broker) -> None:
    before = broker.clock.now()
    await anyio.sleep(timedelta(days=1).total_seconds())
    await broker.measure_clock()
    assert broker.clock.now() - before == pytest.approx(timedelta(days=1), abs=timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("error", "ours", "words"),
    [
        (RedisConnectionError("lost"), RedisUnavailable, "lost"),
        (RedisTimeoutError("late"), RedisUnavailable, "late"),
        (BusyLoadingError("soon"), RedisUnavailable, "still loading its data: soon"),
        (AuthenticationError("who"), RedisRefused, "refused the credentials: who"),
        (AuthorizationError("who"), RedisRefused, "refused the credentials: who"),
        (NoPermissionError("no"), RedisRefused, "answered with an error: no"),
        (ReadOnlyError("replica"), RedisRefused, "answered with an error: replica"),
        (OutOfMemoryError("full"), RedisRefused, "answered with an error: full"),
        (ResponseError("WRONGTYPE"), RedisRefused, "answered with an error: WRONGTYPE"),
        (RedisError("odd"), RedisRefused, "answered with an error: odd"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_of_redis_becomes_ours(error: RedisError, ours: type[Exception], words: str) -> None:
    with pytest.raises(ours, match=words) as caught, redis_errors():
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("maybe", [True, False])
def test_an_error_tells_whether_it_may_have_been_executed(*, maybe: bool) -> None:
    with pytest.raises(RedisUnavailable) as caught, redis_errors():
        raise Disconnected("lost", maybe_executed=maybe)
    assert caught.value.maybe_executed is maybe


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), redis_errors():
        raise ZeroDivisionError


async def test_an_error_reply_is_ours(broker: Broker) -> None:
    await broker.redis.set(broker.keys.queue, b"not a sorted set")
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        await broker.queue.promote(NOW, limit=1)
    await broker.redis.delete(broker.keys.queue)


async def test_a_record_is_read(broker: Broker) -> None:
    assert await broker.records.read(KEY) is None
    await running(broker)
    record = await broker.records.read(KEY)
    assert record is not None
    assert (record.state, record.task, record.worker) == (ExecutionState.RUNNING, "send", "W")
    assert (record.started_at, record.completed_at, record.generation) == (NOW, None, 1)
    assert (record.args, record.kwargs) == (MESSAGE.args, MESSAGE.kwargs)


async def test_a_result_is_read(broker: Broker) -> None:
    await ended(broker, Step.FAIL)
    record = await broker.records.read(KEY)
    assert record is not None
    assert record.error == ENDINGS[Step.FAIL].error
    assert record.result_key == f"{KEY}:1"
    assert await broker.results.get(record.result_key) == result_value(b"error")
    assert await broker.results.get("other:1") is None


async def test_a_result_that_cannot_be_read(broker: Broker) -> None:
    await broker.redis.set(broker.keys.result("K:1"), b"garbage", ex=10)
    with pytest.raises(CorruptMessage, match="a stored result that cannot be read"):
        await broker.results.get("K:1")
