"""What the transitions leave in Redis: the fields of WIRE section 4, the generations of section 5, the TTLs of 12."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from attrs import evolve

from docket_anyio._broker.answers import Answer, Ending, Promotion, Refusal
from docket_anyio._broker.broker import Broker
from docket_anyio._model.cancelling import Found
from docket_anyio._model.codec import decode_stored, result_payload
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._model.message import Delivery
from tests.broker.brokers import (
    ARGS,
    ENDINGS,
    KEY,
    KWARGS,
    LATER,
    MESSAGE,
    MUCH_LATER,
    NOW,
    PARKED,
    claim,
    claim_none,
    ended,
    entries,
    everything,
    open_broker,
    pending,
    queued,
    record,
    running,
    state_of,
    take_over,
)
from tests.conftest import Store

WAITING = {"state", "generation", "when", "known", "function", "args", "kwargs"}
SECONDS = 15 * 60


async def ttl(broker: Broker, key: str) -> int:
    seconds: int = await broker.redis.ttl(key)
    return seconds


# --- schedule -----------------------------------------------------------------------------------------------------


async def test_a_task_due_now_is_a_message_in_the_stream(broker: Broker) -> None:
    assert await broker.queue.schedule(MESSAGE, due=True) == 1
    (message,) = await entries(broker)
    assert list(message) == [
        b"key", b"when", b"function", b"args", b"kwargs", b"attempt", b"traceparent", b"generation",
    ]  # fmt: skip
    assert message == {
        b"key": KEY.encode(),
        b"when": b"2026-11-22T03:50:03.727689+00:00",
        b"function": b"send",
        b"args": ARGS,
        b"kwargs": KWARGS,
        b"attempt": b"1",
        b"traceparent": b"00-ab",
        b"generation": b"1",
    }
    assert not await broker.redis.exists(broker.keys.queue, broker.keys.parked(KEY))


async def test_the_record_of_a_task_due_now(broker: Broker) -> None:
    await broker.queue.schedule(MESSAGE, due=True)
    found = await record(broker)
    assert set(found) == WAITING | {"stream_id"}
    ((receipt, _),) = await broker.redis.xrange(broker.keys.stream)
    assert found["stream_id"] == receipt
    assert (found["state"], found["generation"], found["function"]) == (b"queued", b"1", b"send")
    assert (found["args"], found["kwargs"]) == (ARGS, KWARGS)
    assert float(found["when"]) == float(found["known"]) == pytest.approx(NOW.timestamp(), abs=1e-6)
    assert await ttl(broker, broker.keys.runs(KEY)) == -1


async def test_a_task_for_later_is_parked(broker: Broker) -> None:
    assert await broker.queue.schedule(PARKED, due=False) == 1
    parked = await broker.redis.hgetall(broker.keys.parked(KEY))
    assert parked[b"when"] == b"2026-11-22T03:51:03.727689+00:00"
    assert parked[b"generation"] == b"1"
    assert set(parked) == {b"key", b"when", b"function", b"args", b"kwargs", b"attempt", b"traceparent", b"generation"}
    ((member, score),) = await broker.redis.zrange(broker.keys.queue, 0, -1, withscores=True)
    assert (member, score) == (KEY.encode(), pytest.approx(LATER.timestamp(), abs=1e-6))
    assert await entries(broker) == []
    found = await record(broker)
    assert set(found) == WAITING
    assert found["state"] == b"scheduled"


@pytest.mark.parametrize("due", [True, False])
@pytest.mark.parametrize("first", [MESSAGE, PARKED], ids=["queued", "scheduled"])
async def test_a_key_that_waits_is_taken(broker: Broker, first: object, *, due: bool) -> None:
    await broker.queue.schedule(MESSAGE if first is MESSAGE else PARKED, due=first is MESSAGE)
    before = await everything(broker)
    assert await broker.queue.schedule(evolve(MESSAGE, task="other"), due=due) is Refusal.TAKEN
    assert await everything(broker) == before


async def test_a_key_that_runs_is_taken(broker: Broker) -> None:
    await running(broker)
    before = await everything(broker)
    assert await broker.queue.schedule(MESSAGE, due=True) is Refusal.TAKEN
    assert await everything(broker) == before


async def test_a_key_that_an_old_docket_knows_is_taken(broker: Broker) -> None:
    await broker.redis.set(broker.keys.known(KEY), b"1")
    assert await broker.queue.schedule(MESSAGE, due=True) is Refusal.TAKEN


@pytest.mark.parametrize("step", ENDINGS, ids=lambda step: step.name.lower())
async def test_a_key_is_free_after_the_end_and_keeps_only_the_counter(broker: Broker, step: Step) -> None:
    await ended(broker, step)
    assert await broker.queue.schedule(evolve(PARKED, task="other"), due=False) == 2
    found = await record(broker)
    assert set(found) == WAITING
    assert (found["generation"], found["function"]) == (b"2", b"other")
    assert await ttl(broker, broker.keys.runs(KEY)) == -1


async def test_a_replaced_task_is_dropped(broker: Broker) -> None:
    await broker.queue.schedule(MESSAGE, due=True)
    assert await broker.queue.schedule(PARKED, due=False, replace=True) == 2
    assert await entries(broker) == []
    assert "stream_id" not in await record(broker)
    assert await broker.queue.schedule(evolve(MESSAGE, task="third"), due=True, replace=True) == 3
    assert [each[b"function"] for each in await entries(broker)] == [b"third"]
    assert not await broker.redis.exists(broker.keys.queue, broker.keys.parked(KEY))


async def test_what_runs_under_a_replaced_key_is_superseded(broker: Broker) -> None:
    old = await running(broker)
    await broker.queue.schedule(MESSAGE, due=True, replace=True)
    before = await record(broker)
    assert set(before) == WAITING | {"stream_id"}
    assert await broker.queue.settle(old, ENDINGS[Step.COMPLETE], NOW) is Answer.SUPERSEDED
    assert await record(broker) == before
    assert len(await entries(broker)) == 1
    assert await pending(broker) == 0


# --- promote ------------------------------------------------------------------------------------------------------


async def test_what_is_due_goes_to_the_stream(broker: Broker) -> None:
    await broker.queue.schedule(PARKED, due=False)
    parked = await broker.redis.hgetall(broker.keys.parked(KEY))
    before = await record(broker)
    assert await broker.queue.promote(LATER, limit=10) == Promotion(1, next_due=None)
    assert await entries(broker) == [parked]
    assert not await broker.redis.exists(broker.keys.queue, broker.keys.parked(KEY))
    ((receipt, _),) = await broker.redis.xrange(broker.keys.stream)
    assert await record(broker) == {**before, "state": b"queued", "stream_id": receipt}


async def test_what_is_not_due_stays(broker: Broker) -> None:
    await broker.queue.schedule(PARKED, due=False)
    before = await everything(broker)
    promotion = await broker.queue.promote(LATER - timedelta(microseconds=1), limit=10)
    assert promotion == Promotion(0, next_due=pytest.approx(LATER.timestamp(), abs=1e-6))
    assert await everything(broker) == before


async def test_at_most_so_many_are_promoted_at_once_in_order_of_time(broker: Broker) -> None:
    for second in (3, 1, 2):
        when = LATER + timedelta(seconds=second)
        await broker.queue.schedule(evolve(PARKED, key=f"K{second}", when=when), due=False)
    first = await broker.queue.promote(MUCH_LATER, limit=2)
    assert first == Promotion(2, next_due=pytest.approx(LATER.timestamp() + 3, abs=1e-6))
    assert await broker.queue.promote(MUCH_LATER, limit=2) == Promotion(1, next_due=None)
    assert await broker.queue.promote(MUCH_LATER, limit=2) == Promotion(0, next_due=None)
    assert [each[b"key"] for each in await entries(broker)] == [b"K1", b"K2", b"K3"]


async def test_a_parked_key_without_a_message_is_passed_over(broker: Broker) -> None:
    await broker.redis.zadd(broker.keys.queue, {"ghost": 1.0})
    assert await broker.queue.promote(NOW, limit=10) == Promotion(0, next_due=None)
    assert await everything(broker) == {}


# --- start --------------------------------------------------------------------------------------------------------


async def test_a_run_begins(broker: Broker) -> None:
    delivery = await queued(broker)
    assert delivery.message == evolve(MESSAGE, generation=1)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED
    found = await record(broker)
    assert set(found) == (WAITING - {"known"}) | {"worker", "started_at", "anyio:receipt"}
    assert (found["state"], found["worker"]) == (b"running", b"W")
    assert found["anyio:receipt"] == delivery.receipt
    assert found["started_at"] == b"2026-11-22T03:50:03.727689+00:00"
    assert found["generation"] == b"1"
    progress = await broker.redis.hgetall(broker.keys.progress(KEY))
    assert progress == {b"current": b"0", b"total": b"100", b"generation": b"1"}
    assert await pending(broker) == 1
    assert len(await entries(broker)) == 1


async def test_starting_again_after_a_lost_answer_changes_nothing(broker: Broker) -> None:
    delivery = await running(broker)
    before = await everything(broker)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED
    assert await everything(broker) == before


async def test_a_redelivered_run_begins_anew(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.redis.hset(broker.keys.progress(KEY), mapping={"current": 7, "message": "almost"})
    await take_over(broker, delivery, "W2")
    assert await broker.queue.start(delivery, "W2", LATER) is Answer.STARTED
    assert (await record(broker))["worker"] == b"W2"
    progress = await broker.redis.hgetall(broker.keys.progress(KEY))
    assert progress == {b"current": b"0", b"total": b"100", b"generation": b"1"}


@pytest.mark.parametrize("gone", [True, False], ids=["record gone", "newer generation"])
async def test_a_superseded_delivery_is_dropped(broker: Broker, *, gone: bool) -> None:
    delivery = await queued(broker)
    if gone:
        await broker.redis.delete(broker.keys.runs(KEY))
    else:
        await broker.queue.schedule(PARKED, due=False, replace=True)
    before = await record(broker)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.SUPERSEDED
    assert await record(broker) == before
    assert (await entries(broker), await pending(broker)) == ([], 0)
    assert not await broker.redis.exists(broker.keys.progress(KEY))


async def test_a_delivery_without_a_generation_is_never_superseded(broker: Broker) -> None:
    delivery = await queued(broker)
    await broker.redis.delete(broker.keys.runs(KEY))
    old = evolve(delivery, message=evolve(delivery.message, generation=0))
    assert await broker.queue.start(old, "W", NOW) is Answer.STARTED
    assert await broker.queue.settle(old, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED
    assert await state_of(broker) is ExecutionState.COMPLETED


async def test_a_cancelled_delivery_is_dropped(broker: Broker) -> None:
    await broker.queue.schedule(PARKED, due=False)
    await broker.queue.promote(LATER, limit=1)
    await broker.redis.hdel(broker.keys.runs(KEY), "stream_id")  # pydocket's scheduler does not tell the id
    await broker.queue.cancel(KEY, LATER)
    delivery = await claim(broker)
    assert await broker.queue.start(delivery, "W", LATER) is Answer.CANCELLED
    assert (await entries(broker), await pending(broker)) == ([], 0)
    assert await state_of(broker) is ExecutionState.CANCELLED
    assert 0 < await ttl(broker, broker.keys.runs(KEY)) <= SECONDS


# --- a key that begins anew ---------------------------------------------------------------------------------------


async def test_what_was_promoted_and_cancelled_never_starts(store: Store) -> None:
    # With nothing kept, the key's generations begin with 1 again: the message itself must be gone.
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        await broker.queue.schedule(PARKED, due=False)
        await broker.queue.promote(LATER, limit=1)
        await broker.queue.cancel(KEY, LATER)
        assert await broker.queue.schedule(evolve(MESSAGE, task="other"), due=True) == 1
        assert [each[b"function"] for each in await entries(broker)] == [b"other"]


IN_HAND: dict[str, Callable[[Broker, Delivery], Awaitable[Answer]]] = {
    "start": lambda broker, delivery: broker.queue.start(delivery, "W", NOW),
    "settle": lambda broker, delivery: broker.queue.settle(delivery, ENDINGS[Step.STOP], NOW),
    "again": lambda broker, delivery: broker.queue.again(delivery, MESSAGE, NOW, due=True),
    "hand_back": lambda broker, delivery: broker.queue.hand_back(delivery, "W", NOW),
}


@pytest.mark.parametrize("name", IN_HAND)
@pytest.mark.parametrize("due", [True, False])
async def test_what_was_cancelled_in_hand_is_not_taken_for_its_successor(store: Store, name: str, *, due: bool) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        old = await queued(broker)
        await broker.queue.cancel(KEY, NOW)
        assert await broker.queue.schedule(MESSAGE if due else PARKED, due=due) == old.message.generation
        before = await everything(broker)
        assert await IN_HAND[name](broker, old) is Answer.SUPERSEDED
        assert await everything(broker) == before


async def test_a_delivery_of_a_later_generation_is_not_taken_for_an_earlier_one(store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        await broker.queue.schedule(MESSAGE, due=True)
        await broker.queue.schedule(MESSAGE, due=True, replace=True)
        old = await claim(broker)
        await broker.queue.cancel(KEY, NOW)
        assert await broker.queue.schedule(MESSAGE, due=True) == old.message.generation - 1
        assert await broker.queue.start(old, "W", NOW) is Answer.SUPERSEDED


async def test_a_cancelled_run_is_known_until_it_has_ended(store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        old = await running(broker)
        await broker.queue.cancel(KEY, NOW)
        assert await state_of(broker) is ExecutionState.RUNNING
        assert await broker.queue.schedule(MESSAGE, due=True) == old.message.generation + 1
        assert await broker.queue.settle(old, ENDINGS[Step.STOP], NOW) is Answer.SUPERSEDED
        assert await state_of(broker) is ExecutionState.QUEUED


async def test_of_a_cancelled_run_that_has_ended_nothing_is_kept(store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        delivery = await running(broker)
        await broker.queue.cancel(KEY, NOW)
        assert await broker.queue.settle(delivery, ENDINGS[Step.STOP], NOW) is Answer.SETTLED
        assert await state_of(broker) is None


# --- settle -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ENDINGS, ids=lambda step: step.name.lower())
async def test_a_run_ends(broker: Broker, step: Step) -> None:
    await running(broker)
    ending = ENDINGS[step]
    delivery = Delivery(*[(await broker.redis.xrange(broker.keys.stream))[0][0], evolve(MESSAGE, generation=1)])
    assert await broker.queue.settle(delivery, ending, LATER) is Answer.SETTLED
    found = await record(broker)
    extra = {Step.COMPLETE: {"result_key"}, Step.FAIL: {"result_key", "error"}, Step.STOP: set[str]()}[step]
    assert set(found) == (WAITING - {"known"}) | {"worker", "started_at", "completed_at"} | extra
    assert found["state"].decode() == ending.state.value
    assert found["completed_at"] == b"2026-11-22T03:51:03.727689+00:00"
    assert found.get("error") == ("ValueError: nö".encode() if step is Step.FAIL else None)
    assert found.get("result_key") == (f"{KEY}:1".encode() if ending.result else None)
    assert (await entries(broker), await pending(broker)) == ([], 0)
    assert not await broker.redis.exists(broker.keys.progress(KEY))


async def test_what_is_left_of_an_execution_expires(broker: Broker) -> None:
    await ended(broker)
    left = {key.decode() async for key in broker.redis.scan_iter(match=f"{broker.keys.prefix}:*")}
    expected = {broker.keys.runs(KEY), broker.keys.result(f"{KEY}:1")}
    assert left == expected | {*broker.keys.streams}
    for key in expected:
        assert SECONDS - 5 <= await ttl(broker, key) <= SECONDS


async def test_a_result_is_stored_as_the_kind_of_deployment_has_it(broker: Broker, store: Store) -> None:
    await ended(broker)
    colons = ":" if store.kind == "memory" else "::"
    stored = await broker.redis.get(f"{store.docket_name}:results{colons}{KEY}:1")
    assert result_payload(decode_stored(stored)) == b"result"
    members = json.loads(stored)
    if store.kind == "memory":
        assert list(members) == ["data"]
    else:
        assert members["collection"] == f"{store.docket_name}:results"
        assert members["key"] == f"{KEY}:1"
        assert members["created_at"] == "2026-11-22T03:50:03.727689+00:00"
        assert members["expires_at"] == "2026-11-22T04:05:03.727689+00:00"
        assert members["version"] == 1


async def test_none_is_not_stored(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.settle(delivery, Ending(ExecutionState.COMPLETED), NOW)
    assert "result_key" not in await record(broker)
    assert not await broker.redis.exists(broker.keys.result(f"{KEY}:1"))


async def test_with_a_time_to_live_of_zero_nothing_is_kept(anyio_backend: object, store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        await ended(broker)
        assert set(await everything(broker)) == {each.encode() for each in broker.keys.streams}
        delivery = await queued(broker)
        assert delivery.message.generation == 1  # the counter starts anew


async def test_less_than_a_second_is_not_zero(anyio_backend: object, store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(milliseconds=1)) as broker:
        await ended(broker)
        assert await ttl(broker, broker.keys.runs(KEY)) in {0, 1}
        assert await broker.redis.exists(broker.keys.result(f"{KEY}:1"))


async def test_a_run_that_was_asked_to_stop_and_finished_has_finished(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.cancel(KEY, NOW)
    assert await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW) is Answer.SETTLED
    assert await state_of(broker) is ExecutionState.COMPLETED
    assert 0 < await ttl(broker, broker.keys.runs(KEY)) <= SECONDS


async def test_the_progress_of_a_newer_run_is_left_alone(broker: Broker) -> None:
    old = await running(broker)
    await broker.queue.schedule(MESSAGE, due=True, replace=True)
    new = await claim(broker, "W2")
    await broker.queue.start(new, "W2", NOW)
    await broker.queue.settle(old, ENDINGS[Step.COMPLETE], NOW)
    assert await broker.redis.hget(broker.keys.progress(KEY), "generation") == b"2"


# --- again --------------------------------------------------------------------------------------------------------


async def test_a_run_is_followed_by_another_now(broker: Broker) -> None:
    delivery = await running(broker)
    successor = evolve(delivery.message, attempt=2)
    assert await broker.queue.again(delivery, successor, NOW, due=True) is Answer.AGAIN
    assert set(await record(broker)) == WAITING | {"stream_id"}
    assert await pending(broker) == 0
    (message,) = await entries(broker)
    assert (message[b"attempt"], message[b"generation"], message[b"traceparent"]) == (b"2", b"2", b"00-ab")
    assert not await broker.redis.exists(broker.keys.progress(KEY))


async def test_a_run_is_followed_by_another_later(broker: Broker) -> None:
    delivery = await running(broker)
    successor = evolve(delivery.message, attempt=2, when=LATER)
    assert await broker.queue.again(delivery, successor, NOW, due=False) is Answer.AGAIN
    assert set(await record(broker)) == WAITING
    assert (await entries(broker), await pending(broker)) == ([], 0)
    parked = await broker.redis.hgetall(broker.keys.parked(KEY))
    assert (parked[b"attempt"], parked[b"generation"]) == (b"2", b"2")
    assert await broker.redis.zscore(broker.keys.queue, KEY) == pytest.approx(LATER.timestamp(), abs=1e-6)


async def test_a_cancelled_run_is_followed_by_none(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.cancel(KEY, NOW)
    assert await broker.queue.again(delivery, delivery.message, NOW, due=True) is Answer.CANCELLED
    assert (await entries(broker), await pending(broker)) == ([], 0)
    assert await state_of(broker) is ExecutionState.CANCELLED


# --- hand back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [queued, running], ids=["claimed", "running"])
async def test_a_delivery_returns_as_it_was(broker: Broker, begin: Callable[[Broker], Awaitable[Delivery]]) -> None:
    delivery = await begin(broker)
    assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.QUEUED
    found = await record(broker)
    assert set(found) == WAITING | {"stream_id"}
    assert (found["state"], found["generation"]) == (b"queued", b"1")
    again = await claim(broker, "W2")
    assert again.message == delivery.message
    assert again.receipt == found["stream_id"] != delivery.receipt
    assert not await broker.redis.exists(broker.keys.progress(KEY))


async def test_a_cancelled_delivery_does_not_return(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.cancel(KEY, NOW)
    assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.CANCELLED
    assert (await entries(broker), await pending(broker)) == ([], 0)


async def test_a_superseded_delivery_does_not_return(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.schedule(PARKED, due=False, replace=True)
    assert await broker.queue.hand_back(delivery, "W", NOW) is Answer.SUPERSEDED
    assert (await entries(broker), await pending(broker)) == ([], 0)


# --- cancel -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [MESSAGE, PARKED], ids=["queued", "scheduled"])
async def test_a_cancelled_task_waits_no_more(broker: Broker, message: object) -> None:
    await broker.queue.schedule(MESSAGE if message is MESSAGE else PARKED, due=message is MESSAGE)
    assert await broker.queue.cancel(KEY, LATER) == (Found.WAITING, 1)
    found = await record(broker)
    assert set(found) == (WAITING - {"known"}) | {"completed_at"}
    assert (found["state"], found["generation"]) == (b"cancelled", b"1")
    assert found["completed_at"] == b"2026-11-22T03:51:03.727689+00:00"
    assert SECONDS - 5 <= await ttl(broker, broker.keys.runs(KEY)) <= SECONDS
    assert await claim_none(broker)
    assert await broker.queue.is_empty()
    assert not await broker.redis.exists(broker.keys.parked(KEY))


async def test_a_running_task_is_asked_to_stop_and_keeps_its_delivery(broker: Broker) -> None:
    await running(broker)
    assert await broker.queue.cancel(KEY, LATER) == (Found.RUNNING, 1)
    assert await state_of(broker) is ExecutionState.RUNNING
    assert await pending(broker) == 1
    assert len(await entries(broker)) == 1


async def test_cancelling_an_unknown_key_changes_nothing(broker: Broker) -> None:
    assert await broker.queue.cancel(KEY, NOW) == (Found.UNKNOWN, 0)
    assert await everything(broker) == {}


@pytest.mark.parametrize("step", [Step.COMPLETE, Step.FAIL], ids=lambda step: step.name.lower())
async def test_cancelling_what_has_ended_changes_nothing(broker: Broker, step: Step) -> None:
    await ended(broker, step)
    before = await everything(broker)
    assert await broker.queue.cancel(KEY, NOW) == (Found.ENDED, 1)
    assert await everything(broker) == before


async def test_a_cancelled_key_with_a_time_to_live_of_zero_is_gone(anyio_backend: object, store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        await broker.queue.schedule(PARKED, due=False)
        await broker.queue.cancel(KEY, NOW)
        assert await everything(broker) == {}


# --- repeated calls -----------------------------------------------------------------------------------------------

REPEATED: dict[str, Callable[[Broker, Delivery], Awaitable[object]]] = {
    "settle": lambda broker, delivery: broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], LATER),
    "settle with an error": lambda broker, delivery: broker.queue.settle(delivery, ENDINGS[Step.FAIL], LATER),
    "again now": lambda broker, delivery: broker.queue.again(delivery, delivery.message, NOW, due=True),
    "again later": lambda broker, delivery: broker.queue.again(
        delivery, evolve(delivery.message, when=LATER), NOW, due=False
    ),
    "hand back": lambda broker, delivery: broker.queue.hand_back(delivery, "W", NOW),
    "discard": lambda broker, delivery: broker.queue.discard(delivery.receipt),
}


@pytest.mark.parametrize("name", REPEATED)
async def test_a_repeated_call_changes_nothing(broker: Broker, name: str) -> None:
    delivery = await running(broker)
    await REPEATED[name](broker, delivery)
    before = await everything(broker)
    answer = await REPEATED[name](broker, delivery)
    assert await everything(broker) == before
    assert answer in {Answer.GONE, Answer.SUPERSEDED, None}


@pytest.mark.parametrize("name", REPEATED)
async def test_a_repeated_call_does_not_touch_the_next_run(broker: Broker, name: str) -> None:
    delivery = await running(broker)
    await REPEATED[name](broker, delivery)
    await broker.queue.schedule(MESSAGE, due=True, replace=True)
    await broker.queue.start(await claim(broker, "W2"), "W2", NOW)
    before = await everything(broker)
    await REPEATED[name](broker, delivery)
    assert await everything(broker) == before


# --- leases -------------------------------------------------------------------------------------------------------


async def test_a_renewed_lease_is_young_again(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.redis.xclaim(broker.keys.stream, "docket-workers", "W", 0, [delivery.receipt], idle=100_000)
    assert (await broker.queue.renew("W", [delivery])).lost == []
    (entry,) = await broker.redis.xpending_range(broker.keys.stream, "docket-workers", "-", "+", 10)
    assert entry["consumer"] == b"W"
    assert entry["time_since_delivered"] < 10_000


async def test_a_lease_that_is_lost_is_told(broker: Broker) -> None:
    mine = await running(broker)
    theirs = await running(broker, evolve(MESSAGE, key="theirs"))
    settled = await running(broker, evolve(MESSAGE, key="settled"))
    await take_over(broker, theirs, "W2")
    await broker.queue.settle(settled, ENDINGS[Step.COMPLETE], NOW)
    assert (await broker.queue.renew("W", [mine, theirs, settled])).lost == [theirs.receipt, settled.receipt]


async def test_no_lease_is_renewed_without_asking(broker: Broker) -> None:
    assert (await broker.queue.renew("W", [])).lost == []


# --- empty --------------------------------------------------------------------------------------------------------


async def test_a_docket_is_empty_when_nothing_waits_or_runs(broker: Broker) -> None:
    assert await broker.queue.is_empty()
    await broker.queue.schedule(PARKED, due=False)
    assert not await broker.queue.is_empty()
    await broker.queue.promote(LATER, limit=1)
    assert not await broker.queue.is_empty()
    delivery = await claim(broker)
    await broker.queue.start(delivery, "W", LATER)
    assert not await broker.queue.is_empty()
    await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], LATER)
    assert await broker.queue.is_empty()


async def test_a_run_that_is_superseded_as_it_is_delivered_again_leaves_no_progress(broker: Broker) -> None:
    """Its worker died, and its record is gone: nobody else would delete the progress."""
    delivery = await running(broker)
    await broker.redis.delete(broker.keys.runs(KEY))
    await take_over(broker, delivery, "W2")
    assert await broker.queue.start(delivery, "W2", NOW) is Answer.SUPERSEDED
    assert not await broker.redis.exists(broker.keys.progress(KEY))
