"""Deliveries come in the order of priority, whatever their key went through, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

import anyio
import pytest
from attrs import evolve

from docket_anyio._broker.answers import Answer, Refusal
from docket_anyio._broker.broker import Broker
from docket_anyio._broker.intake import Intake
from docket_anyio._model.cancelling import Found
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._model.message import Delivery, Undecodable
from docket_anyio._model.priority import Priority
from docket_anyio._model.snapshot import Depth
from docket_anyio.exceptions import NotHonoured, RedisUnavailable
from tests.broker.brokers import (
    ENDINGS,
    EXPIRING,
    KEY,
    LATER,
    MESSAGE,
    NOW,
    claim,
    claim_none,
    ended,
    entries,
    everything,
    park,
    pending,
    queued,
    record,
    running,
    state_of,
    take_over,
    wake,
)

AT_ONCE, WINDOW = timedelta(milliseconds=1), timedelta(seconds=10)
URGENT = evolve(MESSAGE, priority=Priority.HIGH)
ANY = pytest.mark.parametrize("priority", Priority)
NOT_NORMAL = pytest.mark.parametrize("priority", [Priority.HIGH, Priority.LOW])


@pytest.fixture
async def intake(broker: Broker) -> AsyncGenerator[Intake]:
    """A worker that knows that priorities are in use."""
    delivery = await running(broker, evolve(URGENT, key="before"))
    await broker.queue.settle(delivery, ENDINGS[Step.STOP], NOW)
    async with broker.open_intake("W") as intake:
        yield intake


async def add(broker: Broker, priority: Priority, *keys: str) -> None:
    for key in keys:
        await broker.queue.schedule(evolve(MESSAGE, key=key, priority=priority), due=True)


def keys(claimed: list[Delivery | Undecodable]) -> list[str]:
    return [each.message.key for each in claimed if isinstance(each, Delivery)]


# --- the order ----------------------------------------------------------------------------------------------------


async def test_what_is_more_urgent_comes_first(broker: Broker, intake: Intake) -> None:
    await add(broker, Priority.LOW, "l1", "l2")
    await add(broker, Priority.NORMAL, "n1", "n2")
    await add(broker, Priority.HIGH, "h1", "h2")
    assert keys(await intake.claim(4, wait=AT_ONCE)) == ["h1", "h2", "n1", "n2"]
    await add(broker, Priority.HIGH, "h3")
    assert keys(await intake.claim(10, wait=AT_ONCE)) == ["h3", "l1", "l2"]
    assert await intake.claim(10, wait=AT_ONCE) == []


async def test_a_worker_that_knew_of_no_priority_is_given_too_much_once(broker: Broker) -> None:
    async with broker.open_intake("W") as intake:
        for priority in Priority:
            await add(broker, priority, f"{priority.value} 1", f"{priority.value} 2")
        assert keys(await intake.claim(1, wait=AT_ONCE)) == ["high 1", "normal 1", "low 1"]
        assert keys(await intake.claim(1, wait=AT_ONCE)) == ["high 2"]
        assert keys(await intake.claim(2, wait=AT_ONCE)) == ["normal 2", "low 2"]


@pytest.mark.parametrize("at_once", [1, 3, 16])
async def test_nothing_waits_for_ever(broker: Broker, intake: Intake, at_once: int) -> None:
    for priority in Priority:
        await add(broker, priority, *(f"{priority.value} {number}" for number in range(40)))
    taken: list[str] = []
    while len(taken) < 32:
        taken += [key[0] for key in keys(await intake.claim(min(at_once, 32 - len(taken)), wait=AT_ONCE))]
    assert "".join(taken) == "hhhnhhhnhhhnhhhl" * 2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Priority.HIGH, Priority.LOW, "hhhhhhhhhhhhhhhl"),
        (Priority.NORMAL, Priority.LOW, "nnnnnnnnnnnnnnnl"),
        (Priority.HIGH, Priority.NORMAL, "hhhnhhhnhhhnhhhh"),
    ],
)
async def test_the_turn_of_who_is_not_there_goes_to_the_most_urgent(
    broker: Broker, intake: Intake, first: Priority, second: Priority, expected: str
) -> None:
    for priority in (first, second):
        await add(broker, priority, *(f"{priority.value} {number}" for number in range(20)))
    assert "".join(key[0] for key in keys(await intake.claim(16, wait=AT_ONCE))) == expected


@ANY
async def test_a_worker_that_waits_is_woken(broker: Broker, intake: Intake, priority: Priority) -> None:
    async with anyio.create_task_group() as group:

        async def claim_one() -> None:
            claimed.extend(keys(await intake.claim(1, wait=timedelta(seconds=30))))

        claimed: list[str] = []
        group.start_soon(claim_one)
        await anyio.wait_all_tasks_blocked()
        await add(broker, priority, "K")
    assert claimed == ["K"]


async def test_a_cancelled_claim_loses_nothing(broker: Broker, intake: Intake) -> None:
    """Whatever the moment: what was given is left over, or still to be had."""
    found: list[str] = []

    async def claim_all() -> None:
        found.extend(keys(await intake.claim(2, wait=timedelta(minutes=5))))

    for number in range(21):
        async with anyio.create_task_group() as group:
            await add(broker, [*Priority][number % 3], f"{number}")
            group.start_soon(claim_all)
            for _ in range(number % 5):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        found += keys(intake.leftover())
    while claimed := await intake.claim(100, wait=AT_ONCE):
        found += keys(claimed)
    assert sorted(found, key=int) == [str(number) for number in range(21)]


async def test_a_docket_that_was_flushed_is_begun_anew(broker: Broker, intake: Intake) -> None:
    await broker.redis.delete(*broker.keys.streams, broker.keys.sequence)
    with pytest.raises(RedisUnavailable, match="the consumer group is gone: NOGROUP"):
        await intake.claim(10, wait=AT_ONCE)
    await intake.create_group()
    for priority in Priority:
        await add(broker, priority, priority.value)
    assert keys(await intake.claim(10, wait=AT_ONCE)) == ["high", "normal", "low"]


async def test_a_server_that_lost_its_scripts_is_given_them_again(broker: Broker, intake: Intake) -> None:
    await broker.redis.script_flush()
    await add(broker, Priority.LOW, "K")
    assert keys(await intake.claim(10, wait=AT_ONCE)) == ["K"]


# --- on the wire --------------------------------------------------------------------------------------------------


async def test_where_nobody_asks_for_one_nothing_is_written_of_it(broker: Broker) -> None:
    await queued(broker)
    assert not any(b"anyio" in name for name in (await entries(broker))[0])
    assert not any(name.startswith("anyio:priority") for name in await record(broker))
    assert not await broker.redis.exists(broker.keys.sequence)


async def test_no_two_messages_have_the_same_id(broker: Broker) -> None:
    messages = [evolve(MESSAGE, key=f"{number} {each}", priority=each) for number in range(5) for each in Priority]
    await broker.queue.schedule_many([(each, True) for each in messages])
    streams = {receipt: stream for stream in broker.keys.streams for receipt, _ in await broker.redis.xrange(stream)}
    assert len(streams) == len(messages)
    assert {receipt: broker.keys.stream_with(receipt) for receipt in streams} == streams


async def test_one_that_is_not_known_here_is_that_of_most(broker: Broker) -> None:
    delivery = await queued(broker, URGENT)
    (fields,) = await entries(broker)
    await broker.queue.settle(delivery, ENDINGS[Step.STOP], NOW)
    await broker.redis.xadd(broker.keys.stream, {**fields, b"anyio:priority": b"highest", b"generation": b"0"})
    found = await claim(broker)
    assert found.message.priority is Priority.NORMAL


# --- what a key goes through --------------------------------------------------------------------------------------


async def retry(broker: Broker, delivery: Delivery) -> None:
    await broker.queue.again(delivery, evolve(delivery.message, attempt=2), NOW, due=True)


async def retry_later(broker: Broker, delivery: Delivery) -> None:
    await broker.queue.again(delivery, evolve(delivery.message, attempt=2, when=LATER), NOW, due=False)
    await broker.queue.promote(LATER, limit=10)


async def succeed(broker: Broker, delivery: Delivery) -> None:
    await broker.queue.again(delivery, delivery.message, NOW, due=True, ended=ExecutionState.COMPLETED)


async def hand_back(broker: Broker, delivery: Delivery) -> None:
    assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.QUEUED


async def wait_for_a_slot(broker: Broker, delivery: Delivery) -> None:
    await park(broker, delivery)
    assert await state_of(broker) is ExecutionState.SCHEDULED
    assert await noted(broker) is delivery.message.priority
    await wake(broker)


@ANY
@pytest.mark.parametrize(
    "step", [retry, retry_later, succeed, hand_back, wait_for_a_slot], ids=lambda each: each.__name__
)
async def test_it_stays_with_the_task(
    broker: Broker, priority: Priority, step: Callable[[Broker, Delivery], Awaitable[None]]
) -> None:
    delivery = await running(broker, evolve(MESSAGE, priority=priority))
    await step(broker, delivery)
    assert await noted(broker) is priority
    found = await claim(broker)
    assert found.receipt != delivery.receipt
    assert found.message.priority is priority
    assert broker.keys.stream_with(found.receipt) == broker.keys.stream_of(priority)
    assert await broker.queue.start(found, "W", NOW) is Answer.STARTED
    assert await broker.queue.settle(found, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED
    assert (await entries(broker), await pending(broker)) == ([], 0)


@ANY
async def test_a_future_task_has_it_when_it_is_due(broker: Broker, priority: Priority) -> None:
    await broker.queue.schedule(evolve(MESSAGE, when=LATER, priority=priority), due=False)
    await broker.queue.promote(LATER, limit=10)
    delivery = await claim(broker)
    assert delivery.message.priority is priority
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED


@ANY
async def test_what_a_dead_worker_had_is_taken_over(broker: Broker, priority: Priority) -> None:
    abandoned = await running(broker, evolve(MESSAGE, priority=priority))
    async with broker.open_intake("W2") as intake:
        found, _ = await intake.sweep(10, idle=timedelta(0))
    assert found == [evolve(abandoned, redelivered=True)]
    assert await broker.queue.start(abandoned, "W", NOW) is Answer.GONE
    assert await broker.queue.start(evolve(abandoned, redelivered=True), "W2", NOW) is Answer.STARTED


async def test_who_has_no_lease_looks_after_our_streams_all_the_same(broker: Broker) -> None:
    async with broker.open_intake("dead") as dead:
        for priority in Priority:
            await add(broker, priority, priority.value)
        assert len(await dead.claim(1, wait=AT_ONCE)) == 3
    async with broker.open_intake("W") as intake:
        assert keys((await intake.sweep(10, idle=timedelta(0), leased=False))[0]) == ["high"]
        some, at_end = await intake.sweep(10, idle=timedelta(0), leased=False)
        assert (keys(some), at_end) == (["low"], True)


async def test_a_worker_finds_what_is_pending_under_its_name(broker: Broker) -> None:
    for priority in Priority:
        await add(broker, priority, priority.value)
    async with broker.open_intake("W") as intake:
        claimed = await intake.claim(10, wait=AT_ONCE)
        assert sorted(keys(await intake.own_pending())) == sorted(keys(claimed)) == ["high", "low", "normal"]


async def test_leases_of_all_are_renewed(broker: Broker) -> None:
    deliveries = [await running(broker, evolve(MESSAGE, key=each.value, priority=each)) for each in Priority]
    await take_over(broker, deliveries[0], "W2")
    for each in deliveries:
        worker = "W2" if each is deliveries[0] else "W"
        stream = broker.keys.stream_with(each.receipt)
        await broker.redis.xclaim(stream, "docket-workers", worker, 0, [each.receipt], idle=3_600_000)
    assert (await broker.queue.renew("W", deliveries)).lost == [deliveries[0].receipt]
    async with broker.open_intake("W3") as intake:
        found = [each for _ in range(3) for each in (await intake.sweep(10, idle=timedelta(minutes=1)))[0]]
    assert found == [evolve(deliveries[0], redelivered=True)]


@NOT_NORMAL
async def test_what_is_no_message_is_taken_off(broker: Broker, intake: Intake, priority: Priority) -> None:
    start = {Priority.HIGH: "0-", Priority.LOW: "1-"}[priority]
    await broker.redis.xadd(broker.keys.stream_of(priority), {"junk": "1"}, id=f"{start}1000")
    (odd,) = await intake.claim(10, wait=AT_ONCE)
    assert isinstance(odd, Undecodable)
    await broker.queue.discard(odd.receipt)
    assert (await entries(broker), await pending(broker)) == ([], 0)


@ANY
async def test_what_is_cancelled_is_not_delivered(broker: Broker, priority: Priority) -> None:
    await add(broker, priority, KEY)
    assert await broker.queue.cancel(KEY, NOW) == (Found.WAITING, 1)
    assert await entries(broker) == []
    assert await claim_none(broker)


@ANY
@pytest.mark.parametrize("then", Priority)
async def test_who_replaces_it_says_anew_how_urgent_it_is(broker: Broker, priority: Priority, then: Priority) -> None:
    await add(broker, priority, KEY)
    await broker.queue.schedule(evolve(MESSAGE, priority=then), due=True, replace=True)
    assert len(await entries(broker)) == 1
    assert ("anyio:priority" in await record(broker)) == (then is not Priority.NORMAL)
    assert await noted(broker) is then
    assert (await running_of(broker)).message.priority is then


@ANY
@pytest.mark.parametrize("then", Priority)
async def test_what_is_replaced_in_hand_is_superseded(broker: Broker, priority: Priority, then: Priority) -> None:
    delivery = await queued(broker, evolve(MESSAGE, priority=priority))
    await broker.queue.schedule(evolve(MESSAGE, priority=then), due=True, replace=True)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.SUPERSEDED
    assert (await running_of(broker)).message.priority is then


@ANY
@pytest.mark.parametrize("then", Priority)
async def test_what_waits_tells_which_is_newer_where_the_record_is_gone(
    broker: Broker, priority: Priority, then: Priority
) -> None:
    delivery = await queued(broker, evolve(MESSAGE, priority=priority))
    await broker.redis.delete(broker.keys.runs(KEY))
    assert await broker.queue.schedule(evolve(MESSAGE, priority=then), due=True) == delivery.message.generation
    assert await broker.queue.start(delivery, "W", NOW) is Answer.SUPERSEDED
    assert (await running_of(broker)).message.priority is then


@ANY
@pytest.mark.parametrize("then", Priority)
async def test_a_key_is_taken_whatever_its_priority(broker: Broker, priority: Priority, then: Priority) -> None:
    await add(broker, priority, KEY)
    assert await broker.queue.schedule(evolve(MESSAGE, priority=then), due=True) is Refusal.TAKEN


async def noted(broker: Broker) -> Priority | None:
    found = await broker.records.read(KEY)
    return None if found is None else found.priority


async def running_of(broker: Broker) -> Delivery:
    delivery = await claim(broker)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED
    return delivery


# --- a docket as a whole ------------------------------------------------------------------------------------------


@ANY
async def test_a_docket_is_empty_when_nothing_of_any_priority_is_left(broker: Broker, priority: Priority) -> None:
    assert await broker.queue.is_empty()
    delivery = await running(broker, evolve(MESSAGE, priority=priority))
    assert not await broker.queue.is_empty()
    assert await broker.backlog.depth(NOW) == Depth(due=1, later=0)
    await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW)
    assert await broker.queue.is_empty()


async def test_a_survey_lists_the_most_urgent_first(broker: Broker) -> None:
    await add(broker, Priority.LOW, "low")
    await add(broker, Priority.NORMAL, "normal")
    await add(broker, Priority.HIGH, "high")
    survey = await broker.backlog.survey(NOW)
    assert [(each.message.key, each.message.priority.value) for each in survey.waiting] == [
        ("high", "high"), ("normal", "normal"), ("low", "low"),
    ]  # fmt: skip
    assert survey.total == 3
    short = await broker.backlog.survey(NOW, at_once=2)
    assert ([each.message.key for each in short.waiting], short.total) == (["high", "normal"], 3)


async def test_a_survey_tells_who_has_what(broker: Broker) -> None:
    await running(broker, URGENT)
    (in_hand,) = (await broker.backlog.survey(NOW)).in_hand
    assert (in_hand.message.key, in_hand.worker, in_hand.message.priority) == (KEY, "W", Priority.HIGH)


@pytest.mark.parametrize("at_once", [1, 2, 1000])
async def test_all_are_cleared_but_for_what_runs(broker: Broker, at_once: int) -> None:
    delivery = await running(broker, URGENT)
    for priority in Priority:
        await add(broker, priority, *(f"{priority.value} {number}" for number in range(3)))
    assert await broker.backlog.clear(NOW, at_once=at_once) == 9
    assert len(await entries(broker)) == 1
    assert await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED
    assert await broker.queue.is_empty()


# --- who has to honour it -----------------------------------------------------------------------------------------


async def pydocket_beats(broker: Broker) -> None:
    await broker.redis.zadd(broker.keys.workers, {"theirs": NOW.timestamp()})


@NOT_NORMAL
async def test_where_one_worker_is_not_ours_it_is_refused(broker: Broker, priority: Priority) -> None:
    await broker.presence.heartbeat("W", [], now=NOW, window=WINDOW)
    await pydocket_beats(broker)
    before = await everything(broker)
    with pytest.raises(NotHonoured, match=r"the worker 'theirs' is not one of docket-anyio's and .* the priority") as e:
        await broker.queue.schedule(evolve(MESSAGE, priority=priority), due=True, heard_since=NOW - WINDOW)
    assert (e.value.what, e.value.worker) == ("priority", "theirs")
    assert await everything(broker) == before


async def test_where_only_our_workers_are_it_is_taken(broker: Broker) -> None:
    await broker.presence.heartbeat("W", [], now=NOW, window=WINDOW)
    assert await broker.queue.schedule(URGENT, due=True, heard_since=NOW - WINDOW) == 1


async def test_what_most_have_is_for_all(broker: Broker) -> None:
    await pydocket_beats(broker)
    assert await broker.queue.schedule(MESSAGE, due=True, heard_since=NOW - WINDOW) == 1


async def test_of_two_that_are_ignored_the_first_is_named(broker: Broker) -> None:
    await pydocket_beats(broker)
    both = evolve(EXPIRING, priority=Priority.LOW)
    answers = await broker.queue.schedule_many([(both, True), (URGENT, True)], heard_since=NOW - WINDOW)
    assert [each.what for each in answers if isinstance(each, NotHonoured)] == ["expiry", "priority"]


async def test_a_key_of_before_has_nothing_of_it(broker: Broker) -> None:
    delivery = await running(broker, URGENT)
    await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW)
    await ended(broker)
    assert (await queued(broker)).message.priority is Priority.NORMAL
