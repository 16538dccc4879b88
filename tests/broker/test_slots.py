"""The slots of concurrency limits: who gets one, who waits, and in which order they go on."""

from __future__ import annotations

import pytest
from attrs import evolve

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.queue import Answer, Refusal
from docket_anyio._broker.slots import Asked, Slot
from docket_anyio._model.admission import SlotGate
from docket_anyio._model.cancelling import Found
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._model.message import Delivery
from tests.broker.brokers import (
    ENDINGS,
    KEY,
    LATER,
    MESSAGE,
    MUCH_LATER,
    NOW,
    ONE_AT_A_TIME,
    REDELIVERY,
    SECONDS,
    claim,
    claim_none,
    entries,
    everything,
    held,
    published,
    record,
    running,
    slots,
    state_of,
)

TWO = SlotGate("send", 2)
MINUTE = REDELIVERY.total_seconds()
SAFEGUARD = f"__safeguard__:{KEY}"


def slots_key(broker: Broker) -> str:
    return f"{broker.keys.prefix}:concurrency:send"


def waiters_key(broker: Broker) -> str:
    return f"{slots_key(broker)}:waiters"


async def ask(
    broker: Broker, delivery: Delivery, *, at: float = SECONDS, gate: SlotGate = ONE_AT_A_TIME
) -> Asked | Slot:
    return await slots(broker).take(delivery, gate, now=at)


async def parked(broker: Broker, *keys: str, gate: SlotGate = ONE_AT_A_TIME) -> None:
    """Keys that wait for a slot, in order."""
    for key in keys:
        assert await ask(broker, await running(broker, evolve(MESSAGE, key=key)), gate=gate) is Asked.PARKED


async def leave(broker: Broker, holder: tuple[Delivery, Slot], *, at: float = SECONDS) -> None:
    delivery, slot = holder
    await slots(broker).leave(delivery, slot.gate, slot=slot, now=at)


async def waiting(broker: Broker) -> list[str]:
    return [fields[b"key"].decode() for _, fields in await broker.redis.xrange(waiters_key(broker))]


async def come(broker: Broker, *, at: float = SECONDS, gate: SlotGate = ONE_AT_A_TIME) -> tuple[str, Asked | Slot]:
    """The next on the stream is claimed and started, and asks."""
    delivery = await claim(broker)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED
    return delivery.message.key, await ask(broker, delivery, at=at, gate=gate)


async def test_there_are_as_many_slots_as_the_limit_says(broker: Broker) -> None:
    await held(broker, "a", gate=TWO)
    await held(broker, "b", gate=TWO)
    await parked(broker, KEY, gate=TWO)
    assert await broker.redis.zrange(slots_key(broker), 0, -1, withscores=True) == [(b"a", SECONDS), (b"b", SECONDS)]
    assert 230 < await broker.redis.ttl(slots_key(broker)) <= 240


async def test_a_scope_has_slots_of_its_own(broker: Broker) -> None:
    await held(broker, "a")
    await held(broker, "b", gate=evolve(ONE_AT_A_TIME, scope="team"))
    assert await broker.redis.zcard(f"{broker.keys.prefix}:team:concurrency:send") == 1


async def test_parking_leaves_what_pydocket_leaves(broker: Broker) -> None:
    await held(broker, "a")
    async with published(broker, broker.keys.state_channel(KEY)) as collected:
        delivery = await running(broker)
        assert await ask(broker, delivery) is Asked.PARKED
        events = await collected()
    assert events[-1] == {"type": "state", "key": KEY, "state": "scheduled"}
    ((entry, message),) = await broker.redis.xrange(waiters_key(broker))
    assert message == {
        b"key": KEY.encode(), b"when": NOW.isoformat().encode(), b"function": b"send", b"args": MESSAGE.args,
        b"kwargs": MESSAGE.kwargs, b"attempt": b"1", b"traceparent": b"00-ab", b"generation": b"2",
    }  # fmt: skip
    fields = await record(broker)
    assert fields.pop("when")
    assert fields == {
        "state": b"scheduled", "generation": b"2", "waiter_stream": waiters_key(broker).encode(),
        "waiter_entry_id": entry, "function": b"send", "args": MESSAGE.args, "kwargs": MESSAGE.kwargs,
    }  # fmt: skip
    assert await entries(broker) == [fields for fields in await entries(broker) if fields[b"key"] != KEY.encode()]
    assert not await broker.redis.exists(broker.keys.progress(KEY))
    assert await broker.redis.ttl(waiters_key(broker)) == -1


async def test_a_safeguard_is_parked_with_each_that_waits(broker: Broker) -> None:
    await held(broker, "a")
    await parked(broker, KEY)
    due = (NOW + REDELIVERY).timestamp()
    assert await broker.redis.zrange(broker.keys.queue, 0, -1, withscores=True) == [(SAFEGUARD.encode(), due)]
    message = await broker.redis.hgetall(broker.keys.parked(SAFEGUARD))
    assert (message[b"function"], message[b"key"]) == (b"_safeguard_wake", SAFEGUARD.encode())
    fields = await record(broker, SAFEGUARD)
    assert (fields["state"], "known" in fields) == (b"scheduled", True)


async def test_the_oldest_goes_on_when_a_slot_is_given_back(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY, "c")
    async with published(broker, broker.keys.state_channel(KEY)) as collected:
        await leave(broker, holder)
        assert await collected() == [{"type": "state", "key": KEY, "state": "queued"}]
    assert await waiting(broker) == ["c"]
    woken = (await entries(broker))[-1]
    assert (woken[b"key"], woken[b"generation"], woken[b"traceparent"]) == (KEY.encode(), b"3", b"00-ab")
    fields = await record(broker)
    assert (fields["state"], fields["generation"]) == (b"queued", b"3")
    assert {"waiter_stream", "waiter_entry_id", "known"}.isdisjoint(fields)
    ((entry, _),) = [each for each in await broker.redis.xrange(broker.keys.stream) if each[1] == woken]
    assert fields["stream_id"] == entry
    assert await broker.redis.zscore(broker.keys.queue, SAFEGUARD) is None
    assert not await broker.redis.exists(broker.keys.parked(SAFEGUARD), broker.keys.runs(SAFEGUARD))


async def test_giving_back_twice_wakes_no_more(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY, "c")
    await leave(broker, holder)
    await leave(broker, holder)
    assert await waiting(broker) == ["c"]


async def test_slots_given_back_one_after_the_other_wake_one_each(broker: Broker) -> None:
    """Those that were woken and have not come yet count, too."""
    first, second = await held(broker, "a", gate=TWO), await held(broker, "b", gate=TWO)
    await parked(broker, "c", "d", "e", gate=TWO)
    await leave(broker, first)
    await leave(broker, second)
    assert await waiting(broker) == ["e"]


async def test_a_newcomer_does_not_take_the_slot_of_one_that_was_woken(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY)
    await leave(broker, holder)
    woken = await claim(broker)
    await parked(broker, "newcomer")
    await broker.queue.start(woken, "W", NOW)
    assert isinstance(await ask(broker, woken), Slot)
    assert await waiting(broker) == ["newcomer"]


async def test_a_newcomer_stands_behind_those_who_wait_though_there_is_room(broker: Broker) -> None:
    """The slot came back without anybody to say so: whoever comes next sees to it."""
    await held(broker, "dead")
    await parked(broker, KEY)
    await broker.redis.delete(slots_key(broker))
    delivery = await running(broker, evolve(MESSAGE, key="newcomer"))
    assert await ask(broker, delivery) is Asked.PARKED
    assert await waiting(broker) == ["newcomer"]
    assert (await come(broker))[0] == KEY


async def test_a_woken_run_that_another_worker_let_in_is_not_expected_any_more(broker: Broker) -> None:
    """A pydocket worker gives it a slot, and knows nothing of who was woken."""
    holder = await held(broker, "a", gate=TWO)
    await held(broker, "b", gate=TWO)
    await parked(broker, KEY, gate=TWO)
    await leave(broker, holder)
    await broker.queue.start(await claim(broker), "pydocket", NOW)
    await broker.redis.zadd(slots_key(broker), {KEY: SECONDS})
    await broker.redis.zrem(slots_key(broker), "b")
    await held(broker, "newcomer", gate=TWO)


@pytest.mark.parametrize("how", ["cancelled", "replaced"])
async def test_one_that_was_woken_and_will_not_come_lets_the_next_go_on(broker: Broker, how: str) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY, "next")
    await leave(broker, holder)
    if how == "cancelled":
        await broker.queue.cancel(KEY, NOW)
    else:
        await broker.queue.schedule(evolve(MESSAGE, when=LATER), due=False, replace=True)
    assert await waiting(broker) == []
    assert (await come(broker))[0] == "next"


async def test_one_that_was_woken_and_is_struck_lets_the_next_go_on(broker: Broker) -> None:
    delivery, slot = await held(broker, "a")
    await parked(broker, KEY, "next")
    await slots(broker).leave(delivery, ONE_AT_A_TIME, slot=slot, now=SECONDS)
    struck = await claim(broker)
    assert await broker.queue.settle(struck, ENDINGS[Step.STOP], NOW) is Answer.SETTLED
    assert await waiting(broker) == []


async def test_one_that_was_woken_and_is_blocked_elsewhere_lets_the_next_go_on(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY, "next")
    await leave(broker, holder)
    woken = await claim(broker)
    await broker.queue.start(woken, "W", NOW)
    await slots(broker).leave(woken, ONE_AT_A_TIME, slot=None, now=SECONDS)
    assert await waiting(broker) == []
    assert await state_of(broker, "next") is ExecutionState.QUEUED


async def test_cancelling_one_that_waits_leaves_nothing_of_it_in_the_line(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY)
    async with published(broker, broker.keys.state_channel(KEY)) as collected:
        assert (await broker.queue.cancel(KEY, NOW))[0] is Found.WAITING
        assert [event["state"] for event in await collected()] == ["cancelled"]
    assert not await broker.redis.exists(
        waiters_key(broker), broker.keys.queue, broker.keys.parked(SAFEGUARD), broker.keys.runs(SAFEGUARD)
    )
    assert {"waiter_stream", "waiter_entry_id"}.isdisjoint(await record(broker))
    await leave(broker, holder)
    assert await state_of(broker) is ExecutionState.CANCELLED
    assert await claim_none(broker)


@pytest.mark.parametrize("due", [True, False])
async def test_replacing_one_that_waits_leaves_nothing_of_it_in_the_line(broker: Broker, *, due: bool) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY)
    await broker.queue.schedule(evolve(MESSAGE, task="other", when=LATER), due=due, replace=True)
    assert await waiting(broker) == []
    assert {"waiter_stream", "waiter_entry_id"}.isdisjoint(await record(broker))
    await leave(broker, holder)
    await broker.queue.promote(LATER, limit=10)
    assert (await claim(broker)).message.task == "other"
    assert await claim_none(broker)


async def test_what_pydocket_has_cancelled_or_replaced_does_not_go_on(broker: Broker) -> None:
    """It leaves the entries where they are, and its replace the fields of the record, too."""
    holder = await held(broker, "a", gate=SlotGate("send", 1))
    await parked(broker, "cancelled", "replaced", "next")
    keys, redis = broker.keys, broker.redis
    await redis.hset(keys.runs("cancelled"), "state", "cancelled")
    await redis.hset(keys.runs("replaced"), mapping={"known": "1", "state": "scheduled", "generation": 9})
    await leave(broker, holder)
    assert await waiting(broker) == []
    assert (await claim(broker)).message.key == "next"
    assert await claim_none(broker)
    assert await redis.exists(keys.parked("__safeguard__:cancelled"), keys.parked("__safeguard__:replaced")) == 0


@pytest.mark.parametrize("state", ["waits", "was woken"])
async def test_a_key_that_waits_for_a_slot_is_taken(broker: Broker, state: str) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY)
    if state == "was woken":
        await leave(broker, holder)
    assert await broker.queue.schedule(MESSAGE, due=True) is Refusal.TAKEN


async def test_clearing_cancels_those_who_wait(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY, "b")
    assert await broker.backlog.clear(NOW) == 2
    assert await state_of(broker) is ExecutionState.CANCELLED
    assert await state_of(broker, "b") is ExecutionState.CANCELLED
    assert await waiting(broker) == []
    assert not await broker.redis.exists(broker.keys.queue, broker.keys.runs(SAFEGUARD))
    await leave(broker, holder)
    assert await claim_none(broker)


async def test_clearing_finds_those_whose_safeguard_is_due(broker: Broker) -> None:
    await held(broker, "a")
    await parked(broker, KEY)
    await broker.queue.promote(MUCH_LATER, limit=10)
    assert await broker.backlog.clear(NOW) == 1
    assert await state_of(broker) is ExecutionState.CANCELLED


async def test_a_survey_lists_those_who_wait_in_the_place_of_their_safeguards(broker: Broker) -> None:
    await held(broker, "a")
    await parked(broker, KEY)
    survey = await broker.backlog.survey(NOW)
    assert [(each.message.key, each.message.task, each.state) for each in survey.waiting] == [
        (KEY, "send", ExecutionState.SCHEDULED)
    ]


async def test_a_worker_that_asks_again_is_told_the_same(broker: Broker) -> None:
    """The answer may have been lost."""
    first = await running(broker, evolve(MESSAGE, key="a"))
    second = await running(broker, evolve(MESSAGE, key="b"))
    for now, asked_at in ((SECONDS, None), (SECONDS + 5, SECONDS)):
        slot = await slots(broker).take(first, ONE_AT_A_TIME, now=now, asked_at=asked_at)
        assert isinstance(slot, Slot)
        assert slot.taken_at == now
        assert await slots(broker).take(second, ONE_AT_A_TIME, now=now, asked_at=asked_at) is Asked.PARKED
    assert await waiting(broker) == ["b"]


async def test_a_run_of_a_key_waits_for_an_older_one_that_goes_on(broker: Broker) -> None:
    holder = await held(broker, KEY, gate=TWO)
    await broker.queue.schedule(MESSAGE, due=True, replace=True)
    key, answer = await come(broker, gate=TWO, at=SECONDS + 1)
    assert (key, answer) == (KEY, Asked.PARKED)
    await leave(broker, holder)
    key, answer = await come(broker, gate=TWO, at=SECONDS + 2)
    assert (key, isinstance(answer, Slot)) == (KEY, True)


async def test_a_run_that_is_delivered_again_takes_over_the_slot_of_its_key(broker: Broker) -> None:
    delivery, slot = await held(broker, KEY)
    again = evolve(delivery, redelivered=True)
    assert isinstance(await ask(broker, again, at=SECONDS + MINUTE), Slot)
    # Its first worker was not dead after all: it has no slot any more, and gives none back.
    assert await slots(broker).keep([evolve(slot, renewal=SECONDS + MINUTE + 1)]) == [False]
    await slots(broker).leave(delivery, ONE_AT_A_TIME, slot=slot, now=SECONDS + MINUTE + 1)
    assert await broker.redis.zrange(slots_key(broker), 0, -1, withscores=True) == [(KEY.encode(), SECONDS + MINUTE)]


async def test_a_slot_that_is_renewed_is_not_taken_over(broker: Broker) -> None:
    delivery, slot = await held(broker, KEY)
    assert await slots(broker).keep([evolve(slot, renewal=SECONDS + MINUTE - 1)]) == [True]
    assert await ask(broker, evolve(delivery, redelivered=True), at=SECONDS + MINUTE) is Asked.PARKED


async def test_the_slot_of_a_dead_worker_goes_to_whoever_comes(broker: Broker) -> None:
    await held(broker, "dead")
    await parked(broker, KEY)
    await broker.queue.cancel(KEY, NOW)
    delivery = await running(broker, evolve(MESSAGE, key="later"))
    assert await ask(broker, delivery, at=SECONDS + MINUTE - 1) is Asked.PARKED
    await broker.queue.cancel("later", NOW)
    delivery = await running(broker, evolve(MESSAGE, key="much later"))
    assert isinstance(await ask(broker, delivery, at=SECONDS + MINUTE), Slot)


async def test_the_slots_of_dead_workers_come_back_though_nobody_comes(broker: Broker) -> None:
    await held(broker, "dead")
    await parked(broker, KEY, "c")
    mine = slots(broker)
    assert await mine.wake(waiters_key(broker), 1, safeguard=SAFEGUARD, now=SECONDS + MINUTE - 1) is True
    assert await waiting(broker) == [KEY, "c"]
    assert await mine.wake(waiters_key(broker), 1, safeguard=SAFEGUARD, now=SECONDS + MINUTE) is False
    assert await waiting(broker) == ["c"]
    assert await mine.wake(waiters_key(broker), 1, safeguard="__safeguard__:c", now=SECONDS + MINUTE) is True
    assert (await come(broker, at=SECONDS + MINUTE))[0] == KEY


async def test_a_slot_that_was_thought_dead_is_taken_again_if_there_is_room(broker: Broker) -> None:
    _, slot = await held(broker, KEY)
    await broker.redis.delete(slots_key(broker))
    assert await slots(broker).keep([evolve(slot, renewal=SECONDS + 1)]) == [True]
    assert await broker.redis.zscore(slots_key(broker), KEY) == SECONDS + 1
    await broker.redis.delete(slots_key(broker))
    await held(broker, "another")
    assert await slots(broker).keep([evolve(slot, renewal=SECONDS + 2)]) == [False]


async def test_a_slot_whose_renewal_had_no_answer_is_given_back(broker: Broker) -> None:
    delivery, slot = await held(broker, KEY)
    unsure = evolve(slot, renewal=SECONDS + 15)
    await slots(broker).keep([unsure])
    await slots(broker).leave(delivery, ONE_AT_A_TIME, slot=unsure, now=SECONDS + 16)
    assert not await broker.redis.exists(slots_key(broker))


@pytest.mark.parametrize("how", ["cancelled", "replaced", "handed on"])
async def test_what_is_not_a_run_of_its_worker_any_more_does_not_wait(broker: Broker, how: str) -> None:
    await held(broker, "a")
    delivery = await running(broker)
    if how == "cancelled":
        await broker.queue.cancel(KEY, NOW)
    elif how == "replaced":
        await broker.queue.schedule(evolve(MESSAGE, when=LATER), due=False, replace=True)
    else:
        await broker.queue.hand_back(delivery, "W", NOW)
    before = await everything(broker)
    expected = {"cancelled": Asked.CANCELLED, "replaced": Asked.SUPERSEDED, "handed on": Asked.GONE}
    assert await ask(broker, delivery) is expected[how]
    assert await everything(broker) == before


async def test_a_message_from_before_generations_is_parked_and_woken(broker: Broker) -> None:
    holder = await held(broker, "a")
    fields = {
        "key": KEY, "when": NOW.isoformat(), "function": "send", "args": MESSAGE.args, "kwargs": MESSAGE.kwargs,
        "attempt": "1",
    }  # fmt: skip
    await broker.redis.xadd(broker.keys.stream, fields)
    assert await come(broker) == (KEY, Asked.PARKED)
    await leave(broker, holder)
    key, answer = await come(broker)
    assert (key, isinstance(answer, Slot)) == (KEY, True)


async def test_no_key_of_a_limit_stays_for_ever(broker: Broker) -> None:
    holder = await held(broker, "a")
    await parked(broker, KEY)
    await leave(broker, holder)
    names = [key async for key in broker.redis.scan_iter(match=f"{slots_key(broker)}*")]
    assert names
    assert all([await broker.redis.ttl(name) > 0 for name in names])


async def test_a_safeguard_that_its_worker_has_begun_leaves_nothing_when_it_is_not_needed(broker: Broker) -> None:
    """The worker died, and the record went with the wait."""
    holder = await held(broker, "a")
    await parked(broker, KEY)
    await broker.queue.promote(MUCH_LATER, limit=10)
    safeguard = await claim(broker)
    await broker.queue.start(safeguard, "dead", NOW)
    await leave(broker, holder)
    assert await broker.queue.start(evolve(safeguard, redelivered=True), "W", NOW) is Answer.SUPERSEDED
    assert not await broker.redis.exists(broker.keys.progress(SAFEGUARD))
