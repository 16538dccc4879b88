"""Whose a delivery is: its lease may have been lost, and pydocket's clear takes the messages of running tasks away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from attrs import evolve

from docket_anyio._broker.answers import Answer
from docket_anyio._broker.broker import Broker
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._model.message import Delivery
from tests.broker.brokers import (
    ENDINGS,
    KEY,
    LATER,
    MESSAGE,
    NOW,
    PARKED,
    claim,
    entries,
    everything,
    open_broker,
    pending,
    published,
    queued,
    record,
    running,
    state_of,
    take_over,
)
from tests.conftest import Store

Transition = Callable[[Broker, Delivery], Awaitable[Answer]]

TRANSITIONS: dict[str, Transition] = {
    "completed": lambda broker, delivery: broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], LATER),
    "again now": lambda broker, delivery: broker.queue.again(delivery, delivery.message, NOW, due=True),
    "again later": lambda broker, delivery: broker.queue.again(
        delivery, evolve(delivery.message, when=LATER), NOW, due=False
    ),
    "hand back": lambda broker, delivery: broker.queue.hand_back(delivery, "W", NOW),
}
ANSWERS = {
    "completed": (Answer.SETTLED, ExecutionState.COMPLETED),
    "again now": (Answer.AGAIN, ExecutionState.QUEUED),
    "again later": (Answer.AGAIN, ExecutionState.SCHEDULED),
    "hand back": (Answer.QUEUED, ExecutionState.QUEUED),
}


async def lose_message(broker: Broker, delivery: Delivery) -> None:
    """Do what pydocket's clear does to a running task; on Redis 7 renewing the lease then forgets who had it."""
    await broker.redis.xdel(broker.keys.stream, delivery.receipt)
    await broker.queue.renew("W", [delivery])


# --- a message that pydocket has cleared --------------------------------------------------------------------------


async def test_a_run_without_its_message_is_still_its_workers(broker: Broker) -> None:
    delivery = await running(broker)
    await lose_message(broker, delivery)
    for _ in range(2):
        assert (await broker.queue.renew("W", [delivery])).lost == []
    assert await state_of(broker) is ExecutionState.RUNNING


async def test_a_superseded_run_without_its_message_goes_on_too(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.schedule(PARKED, due=False, replace=True)
    await lose_message(broker, delivery)
    assert (await broker.queue.renew("W", [delivery])).lost == []


@pytest.mark.parametrize("name", TRANSITIONS)
async def test_a_run_without_its_message_ends_as_any_other_and_once(broker: Broker, name: str) -> None:
    delivery = await running(broker)
    await lose_message(broker, delivery)
    answer, state = ANSWERS[name]
    assert await TRANSITIONS[name](broker, delivery) is answer
    assert await state_of(broker) is state
    assert await pending(broker) == 0
    assert (await broker.queue.renew("W", [delivery])).lost == ([] if name.startswith("again") else [delivery.receipt])
    before = await everything(broker)
    async with published(broker, broker.keys.state_channel(KEY)) as announced:
        assert await TRANSITIONS[name](broker, delivery) in {Answer.GONE, Answer.SUPERSEDED}
        assert await announced() == []
    assert await everything(broker) == before


@pytest.mark.parametrize("name", TRANSITIONS)
async def test_a_run_without_its_message_that_was_cancelled_ends_once(broker: Broker, name: str) -> None:
    delivery = await running(broker)
    await lose_message(broker, delivery)
    await broker.queue.cancel(KEY, NOW)
    assert (await broker.queue.renew("W", [delivery])).lost == []
    async with published(broker, broker.keys.state_channel(KEY)) as announced:
        await TRANSITIONS[name](broker, delivery)
        await TRANSITIONS[name](broker, delivery)
        (event,) = await announced()
    assert event["state"] == ("completed" if name == "completed" else "cancelled")
    assert await entries(broker) == []


async def test_what_was_cleared_between_claim_and_start_is_not_started(broker: Broker) -> None:
    delivery = await queued(broker)
    await broker.queue.cancel(KEY, NOW)  # which, as pydocket's clear, takes the message of what is queued away
    await broker.queue.renew("W", [delivery])
    assert await broker.queue.start(delivery, "W", NOW) is Answer.CANCELLED
    assert await state_of(broker) is ExecutionState.CANCELLED
    assert await pending(broker) == 0


async def test_a_start_whose_answer_was_lost_is_repeated_after_the_message_has_gone(broker: Broker) -> None:
    delivery = await running(broker)
    await lose_message(broker, delivery)
    before = await everything(broker)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED
    assert await everything(broker) == before


# --- a lease that was lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [0, 1])
async def test_a_delivery_that_another_worker_took_over_is_not_started(broker: Broker, generation: int) -> None:
    delivery = await queued(broker)
    delivery = evolve(delivery, message=evolve(delivery.message, generation=generation))
    await take_over(broker, delivery, "W2")
    before = await everything(broker)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.GONE
    assert await everything(broker) == before
    assert await broker.queue.start(delivery, "W2", NOW) is Answer.STARTED
    assert await broker.queue.start(delivery, "W", NOW) is Answer.GONE
    assert (await record(broker))["worker"] == b"W2"


async def test_a_delivery_that_another_worker_has_settled_is_not_started(broker: Broker) -> None:
    """Also where nothing is kept of it that would tell."""
    delivery = await queued(broker)
    old = evolve(delivery, message=evolve(delivery.message, generation=0))
    await take_over(broker, old, "W2")
    await broker.queue.start(old, "W2", NOW)
    await broker.queue.settle(old, ENDINGS[Step.COMPLETE], NOW)
    await broker.redis.delete(broker.keys.runs(KEY))
    before = await everything(broker)
    assert await broker.queue.start(old, "W", NOW) is Answer.GONE
    assert await everything(broker) == before


async def test_a_delivery_that_another_worker_handed_back_is_not_started(broker: Broker) -> None:
    delivery = await queued(broker)
    await take_over(broker, delivery, "W2")
    await broker.queue.hand_back(delivery, "W2", NOW)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.GONE
    assert await state_of(broker) is ExecutionState.QUEUED
    assert await broker.queue.start(await claim(broker, "W"), "W", NOW) is Answer.STARTED


async def test_a_superseded_delivery_in_other_hands_is_left_there(broker: Broker) -> None:
    delivery = await queued(broker)
    await take_over(broker, delivery, "W2")
    await broker.queue.schedule(PARKED, due=False, replace=True)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.GONE
    assert await pending(broker) == 1


async def test_what_another_worker_runs_is_not_handed_back(broker: Broker) -> None:
    delivery = await running(broker)
    await take_over(broker, delivery, "W2")
    for started in (False, True):
        if started:
            await broker.queue.start(delivery, "W2", NOW)
        before = await everything(broker)
        assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.GONE
        assert await everything(broker) == before
    assert await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED


async def test_what_another_worker_runs_without_its_message_is_not_handed_back(broker: Broker) -> None:
    delivery = await running(broker)
    await take_over(broker, delivery, "W2")
    await broker.queue.start(delivery, "W2", NOW)
    await broker.redis.xdel(broker.keys.stream, delivery.receipt)
    await broker.queue.renew("W2", [delivery])
    assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.GONE
    assert (await broker.queue.renew("W", [delivery])).lost == [delivery.receipt]
    assert (await broker.queue.renew("W2", [delivery])).lost == []


@pytest.mark.parametrize("name", ["completed", "again now", "again later"])
async def test_work_that_was_done_counts_also_after_the_lease_was_lost(broker: Broker, name: str) -> None:
    """The first to settle decides; the one that holds the delivery finds its lease gone, or the run superseded."""
    delivery = await running(broker)
    await take_over(broker, delivery, "W2")
    await broker.queue.start(delivery, "W2", NOW)
    answer, state = ANSWERS[name]
    assert await TRANSITIONS[name](broker, delivery) is answer
    assert await state_of(broker) is state
    settled = await broker.queue.settle(delivery, ENDINGS[Step.FAIL], NOW)
    assert settled in {Answer.GONE, Answer.SUPERSEDED}
    assert await state_of(broker) is state


async def test_a_repeated_call_does_not_end_the_next_run_where_generations_start_anew(
    anyio_backend: object, store: Store
) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        first = await running(broker)
        await broker.queue.settle(first, ENDINGS[Step.COMPLETE], NOW)
        second = await running(broker)
        assert (first.message.generation, second.message.generation) == (1, 1)
        before = await everything(broker)
        for transition in TRANSITIONS.values():
            assert await transition(broker, first) is Answer.GONE
        assert await everything(broker) == before
        assert await broker.queue.settle(second, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED


async def test_a_repeated_hand_back_does_not_stop_the_run_that_it_led_to(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.hand_back(delivery, "W", NOW)
    await broker.queue.start(await claim(broker, "W"), "W", NOW)
    before = await everything(broker)
    assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.GONE
    assert await everything(broker) == before


async def test_a_message_that_waits_says_nothing_of_a_delivery(broker: Broker) -> None:
    """No field of the record outlives the run that it is about."""
    delivery = await running(broker)
    await broker.queue.again(delivery, delivery.message, NOW, due=True)
    waiting = set(await record(broker))
    await broker.queue.start(await claim(broker), "W", NOW)
    assert await broker.queue.schedule(MESSAGE, due=True, replace=True) == 3
    assert set(await record(broker)) == waiting
