"""Requests to stop what runs under a key: how they are kept, who hears of them, and when they are of no effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from attrs import evolve

from docket_anyio._broker.answers import Answer
from docket_anyio._broker.broker import Broker
from docket_anyio._broker.stops import Renewed
from docket_anyio._model.cancelling import NO_WORDS, Found, Words
from docket_anyio._model.extras import Extra
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._model.message import Delivery
from docket_anyio._model.record import RunRecord
from tests.broker.brokers import (
    ENDINGS,
    KEY,
    LATER,
    MESSAGE,
    NOW,
    PARKED,
    TTL,
    add_pydocket,
    claim,
    entries,
    everything,
    pending,
    published,
    record,
    running,
    state_of,
    take_over,
)

WORDS = Words('too "late", öh', timedelta(seconds=1.5))
DAY = 86400
OURS = ("anyio:cancel_requested", "anyio:cancel_at", "anyio:cancel_reason", "anyio:cancel_grace")


async def read(broker: Broker) -> RunRecord:
    found = await broker.records.read(KEY)
    assert found is not None
    return found


async def asked(broker: Broker, words: Words = WORDS) -> Delivery:
    """A run that was asked to stop."""
    delivery = await running(broker)
    assert await broker.queue.cancel(KEY, NOW, words=words) == (Found.RUNNING, 1)
    return delivery


# --- what is kept -------------------------------------------------------------------------------------------------


async def test_a_request_stands_in_the_record_beside_the_state(broker: Broker) -> None:
    await asked(broker)
    found = await record(broker)
    assert [found[name].decode() for name in OURS] == ["1", NOW.isoformat(), WORDS.reason, "1.5"]
    assert (found["state"], "completed_at" in found) == (b"running", False)
    told = await read(broker)
    assert (told.cancel_requested, told.cancel_reason, told.cancel_grace) == (1, WORDS.reason, WORDS.grace)
    assert await broker.redis.ttl(broker.keys.runs(KEY)) == -1


async def test_a_second_request_does_not_change_what_the_first_one_said(broker: Broker) -> None:
    await asked(broker)
    before = await everything(broker)
    async with published(broker, broker.keys.cancel_channel(KEY)) as collected:
        assert await broker.queue.cancel(KEY, LATER, words=Words("another")) == (Found.RUNNING, 1)
        assert await collected() == [KEY.encode()]  # nobody may have heard the first
    assert await everything(broker) == before


async def test_a_repeated_call_gives_the_same_answer(broker: Broker) -> None:
    """The first answer may have been lost."""
    await broker.queue.schedule(PARKED, due=False)
    for _ in range(2):
        assert await broker.queue.cancel(KEY, LATER, words=WORDS) == (Found.WAITING, 1)
    assert await broker.queue.cancel(KEY, NOW, words=WORDS) == (Found.ENDED, 1)


async def test_what_waited_keeps_why_it_was_cancelled(broker: Broker) -> None:
    await broker.queue.schedule(PARKED, due=False)
    async with published(broker, broker.keys.state_channel(KEY)) as collected:
        await broker.queue.cancel(KEY, NOW, words=WORDS)
        (event,) = await collected()
    assert event["reason"] == (await read(broker)).reason == WORDS.reason
    assert 0 < await broker.redis.ttl(broker.keys.runs(KEY)) <= TTL.total_seconds()


async def test_a_run_that_nobody_may_be_left_to_end_is_forgotten_in_time(broker: Broker) -> None:
    """Its message was cleared by pydocket: it will not be delivered again. If its worker lives, that ends it."""
    delivery = await running(broker)
    await broker.redis.xdel(broker.keys.stream, delivery.receipt)
    await broker.queue.cancel(KEY, NOW)
    assert DAY - 5 <= await broker.redis.ttl(broker.keys.runs(KEY)) <= DAY
    await broker.queue.schedule(MESSAGE, due=True)
    assert await broker.redis.ttl(broker.keys.runs(KEY)) == -1


# --- how it ends --------------------------------------------------------------------------------------------------

NEVER_AGAIN: dict[str, Callable[[Broker, Delivery], Awaitable[Answer]]] = {
    "start": lambda broker, delivery: broker.queue.start(delivery, "W", LATER),
    "again now": lambda broker, delivery: broker.queue.again(delivery, delivery.message, LATER, due=True),
    "again later": lambda broker, delivery: broker.queue.again(delivery, delivery.message, LATER, due=False),
    "hand back": lambda broker, delivery: broker.queue.hand_back(delivery, "W", LATER),
}


@pytest.mark.parametrize("name", NEVER_AGAIN)
async def test_a_run_that_was_asked_to_stop_does_not_begin_again(broker: Broker, name: str) -> None:
    delivery = await asked(broker)
    async with published(broker, broker.keys.state_channel(KEY)) as collected:
        assert await NEVER_AGAIN[name](broker, delivery) is Answer.CANCELLED
        (event,) = await collected()
    assert event == {
        "type": "state", "key": KEY, "state": "cancelled", "completed_at": LATER.isoformat(), "reason": WORDS.reason,
    }  # fmt: skip
    assert (await entries(broker), await pending(broker)) == ([], 0)
    told = await read(broker)
    assert (told.state, told.completed_at, told.reason) == (ExecutionState.CANCELLED, LATER, WORDS.reason)
    assert 0 < await broker.redis.ttl(broker.keys.runs(KEY)) <= TTL.total_seconds()
    assert not await broker.redis.exists(broker.keys.progress(KEY))


async def test_a_run_that_is_delivered_again_ends(broker: Broker) -> None:
    """Its worker has died."""
    delivery = await asked(broker)
    await take_over(broker, delivery, "W2")
    assert await broker.queue.start(delivery, "W2", LATER) is Answer.CANCELLED
    assert await state_of(broker) is ExecutionState.CANCELLED


@pytest.mark.parametrize("step", ENDINGS, ids=lambda step: step.name.lower())
async def test_how_it_ended_is_what_is_recorded(broker: Broker, step: Step) -> None:
    delivery = await asked(broker)
    assert await broker.queue.settle(delivery, ENDINGS[step], LATER) is Answer.SETTLED
    assert await state_of(broker) is ENDINGS[step].state
    before = await everything(broker)
    assert await broker.queue.cancel(KEY, LATER) == (Found.ENDED, 1)
    assert await everything(broker) == before


# --- the next run of the key --------------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
async def test_a_request_is_for_the_run_that_was_there(broker: Broker, *, replace: bool) -> None:
    old = await asked(broker)
    assert await broker.queue.schedule(MESSAGE, due=True, replace=replace) == 2
    assert (await read(broker)).reason is None
    new = await claim(broker)
    assert await broker.queue.start(new, "W", NOW) is Answer.STARTED
    # The old one is still told.
    assert await broker.queue.renew("W", [old, new]) == Renewed([], [(old.receipt, WORDS)])
    assert await broker.queue.settle(old, ENDINGS[Step.STOP], NOW) is Answer.SUPERSEDED
    assert await broker.queue.settle(new, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED


# --- who hears of it ----------------------------------------------------------------------------------------------


async def test_whoever_renews_a_lease_hears_of_a_request(broker: Broker) -> None:
    mine = await asked(broker)
    other = await running(broker, evolve(MESSAGE, key="other"))
    quiet = await running(broker, evolve(MESSAGE, key="quiet"))
    await broker.queue.cancel("quiet", NOW)
    assert await broker.queue.renew("W", [mine, other, quiet]) == Renewed(
        [], [(mine.receipt, WORDS), (quiet.receipt, NO_WORDS)]
    )


async def test_whoever_renews_a_lease_hears_of_what_a_pydocket_client_has_asked_for(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.redis.hset(broker.keys.runs(KEY), "state", "cancelled")
    assert await broker.queue.renew("W", [delivery]) == Renewed([], [(delivery.receipt, NO_WORDS)])


async def test_whoever_has_lost_a_lease_only_hears_of_that(broker: Broker) -> None:
    delivery = await asked(broker)
    await take_over(broker, delivery, "W2")
    assert await broker.queue.renew("W", [delivery]) == Renewed([delivery.receipt], [])


# --- with pydocket's workers --------------------------------------------------------------------------------------


async def test_where_a_pydocket_worker_lives_the_state_says_so_at_once(broker: Broker) -> None:
    """It does not know of our request, and would run what it took over from a worker of ours."""
    delivery = await running(broker)
    await add_pydocket(broker)
    assert await broker.queue.cancel(KEY, NOW, words=WORDS) == (Found.RUNNING, 1)
    told = await read(broker)
    assert (told.state, told.reason, told.cancelled_early) == (ExecutionState.CANCELLED, WORDS.reason, True)
    assert DAY - 5 <= await broker.redis.ttl(broker.keys.runs(KEY)) <= DAY
    assert await broker.queue.renew("W", [delivery]) == Renewed([], [(delivery.receipt, WORDS)])
    assert await broker.queue.cancel(KEY, NOW) == (Found.RUNNING, 1)
    await broker.queue.settle(delivery, ENDINGS[Step.STOP], NOW)
    assert not (await read(broker)).cancelled_early
    assert await broker.queue.cancel(KEY, NOW) == (Found.ENDED, 1)


async def test_a_pydocket_worker_that_comes_after_the_request(broker: Broker) -> None:
    await asked(broker)
    await add_pydocket(broker)
    assert await broker.queue.cancel(KEY, LATER) == (Found.RUNNING, 1)
    told = await read(broker)
    assert (told.state, told.cancelled_early, told.reason) == (ExecutionState.CANCELLED, True, WORDS.reason)


async def test_a_run_of_pydockets_that_was_called_cancelled_early_has_ended_when_it_says_when(broker: Broker) -> None:
    await running(broker)
    await broker.redis.hdel(broker.keys.runs(KEY), "anyio:receipt")  # which its workers do not write
    await add_pydocket(broker)
    await broker.queue.cancel(KEY, NOW)
    assert await broker.queue.cancel(KEY, LATER) == (Found.RUNNING, 1)
    await broker.redis.hset(broker.keys.runs(KEY), "completed_at", LATER.isoformat())
    assert not (await read(broker)).cancelled_early
    assert await broker.queue.cancel(KEY, LATER) == (Found.ENDED, 1)


async def test_one_that_is_not_heard_of_any_more_does_not_count(broker: Broker) -> None:
    await running(broker)
    await add_pydocket(broker)
    await broker.redis.zadd(broker.keys.workers, {"W": LATER.timestamp()})
    await broker.redis.zadd(broker.keys.honouring(Extra.CANCEL), {"W": LATER.timestamp()})
    await broker.queue.cancel(KEY, LATER, heard_since=NOW)
    assert await state_of(broker) is ExecutionState.RUNNING
