"""A delivery that starts too late has expired, whatever its key went through; and who has to honour that."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve

from docket_anyio._broker.answers import Answer, Refusal
from docket_anyio._broker.broker import Broker
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.record import EXPIRED
from docket_anyio.exceptions import NotHonoured
from tests.broker.brokers import (
    EXPIRING,
    KEY,
    LATER,
    MESSAGE,
    MUCH_LATER,
    NOW,
    ONE_AT_A_TIME,
    SECONDS,
    claim,
    claim_none,
    ended,
    entries,
    everything,
    held,
    park,
    pending,
    published,
    queued,
    record,
    running,
    slots,
    state_of,
    take_over,
    wake,
)

WINDOW = timedelta(seconds=10)
JUST_IN_TIME = LATER - timedelta(milliseconds=1)


async def start(broker: Broker, at: object = MUCH_LATER) -> Answer:
    assert at in {NOW, JUST_IN_TIME, LATER, MUCH_LATER}
    return await broker.queue.start(await claim(broker), "W", at)


async def test_what_starts_in_time_runs(broker: Broker) -> None:
    await broker.queue.schedule(EXPIRING, due=True)
    assert await start(broker, JUST_IN_TIME) is Answer.STARTED
    found = await broker.records.read(KEY)
    assert found is not None
    assert abs(found.expires - LATER) < timedelta(milliseconds=1)


async def test_what_starts_too_late_ends_as_expired(broker: Broker) -> None:
    delivery = await queued(broker, EXPIRING)
    async with published(broker, broker.keys.state_channel(KEY)) as events:
        assert await broker.queue.start(delivery, "W", LATER) is Answer.EXPIRED
        (event,) = await events()
    assert event == {
        "type": "state", "key": KEY, "state": "cancelled", "completed_at": LATER.isoformat(), "error": EXPIRED,
    }  # fmt: skip
    found = await record(broker)
    assert (found["state"], found["error"]) == (b"cancelled", EXPIRED.encode())
    assert {"known", "stream_id", "worker", "started_at"} & found.keys() == set()
    assert await broker.redis.ttl(broker.keys.runs(KEY)) > 0
    assert not await broker.redis.exists(broker.keys.progress(KEY))
    assert (await entries(broker), await pending(broker)) == ([], 0)


async def test_an_answer_that_was_lost_may_be_asked_for_again(broker: Broker) -> None:
    delivery = await queued(broker, EXPIRING)
    await broker.queue.start(delivery, "W", LATER)
    before = await everything(broker)
    assert await broker.queue.start(delivery, "W", MUCH_LATER) is Answer.CANCELLED
    assert await everything(broker) == before


async def test_a_run_whose_worker_died_expires_with_its_progress(broker: Broker) -> None:
    delivery = await running(broker, EXPIRING)
    await take_over(broker, delivery, "W2")
    assert await broker.queue.start(delivery, "W2", LATER) is Answer.EXPIRED
    assert not await broker.redis.exists(broker.keys.progress(KEY))


async def test_a_retry_is_of_the_same_execution(broker: Broker) -> None:
    delivery = await running(broker, EXPIRING)
    await broker.queue.again(delivery, evolve(delivery.message, attempt=2), NOW, due=True)
    assert await start(broker) is Answer.EXPIRED


async def test_the_next_of_a_chain_is_another_one(broker: Broker) -> None:
    delivery = await running(broker, EXPIRING)
    await broker.queue.again(delivery, delivery.message, NOW, due=True, ended=ExecutionState.COMPLETED)
    assert await start(broker) is Answer.STARTED


async def test_what_is_handed_back_expires_all_the_same(broker: Broker) -> None:
    delivery = await running(broker, EXPIRING)
    await broker.queue.hand_back(delivery, "W", NOW)
    assert await start(broker) is Answer.EXPIRED


async def test_a_future_task_expires_after_it_was_promoted(broker: Broker) -> None:
    await broker.queue.schedule(evolve(EXPIRING, when=JUST_IN_TIME), due=False)
    await broker.queue.promote(LATER, limit=10)
    assert await start(broker, LATER) is Answer.EXPIRED


@pytest.mark.parametrize("message", [MESSAGE, evolve(EXPIRING, expires=MUCH_LATER + timedelta(1))], ids=str)
async def test_who_replaces_it_says_anew_when_it_expires(broker: Broker, message: TaskMessage) -> None:
    await queued(broker, EXPIRING)
    await broker.queue.schedule(message, due=True, replace=True)
    assert await start(broker) is Answer.STARTED


async def test_who_uses_the_key_again_says_anew_when_it_expires(broker: Broker) -> None:
    delivery = await queued(broker, EXPIRING)
    await broker.queue.start(delivery, "W", LATER)
    await broker.queue.schedule(MESSAGE, due=True)
    assert await start(broker) is Answer.STARTED
    assert "error" not in await record(broker)


async def test_what_waited_in_line_for_too_long_expires(broker: Broker) -> None:
    await park(broker, await running(broker, EXPIRING))
    await wake(broker)
    assert await start(broker) is Answer.EXPIRED


async def test_the_slot_of_one_that_expired_goes_to_the_next_in_line(broker: Broker) -> None:
    first, slot = await held(broker, "first")
    await slots(broker).take(await running(broker, EXPIRING), ONE_AT_A_TIME, now=SECONDS)
    await slots(broker).take(await running(broker, evolve(MESSAGE, key="next")), ONE_AT_A_TIME, now=SECONDS)
    await slots(broker).leave(first, ONE_AT_A_TIME, slot=slot, now=SECONDS)
    assert await start(broker) is Answer.EXPIRED
    assert await state_of(broker, "next") is ExecutionState.QUEUED
    assert (await claim(broker)).message.key == "next"


async def test_a_key_of_before_has_nothing_of_it(broker: Broker) -> None:
    await ended(broker)
    await broker.queue.schedule(EXPIRING, due=True)
    assert await start(broker) is Answer.EXPIRED


# --- who has to honour it -----------------------------------------------------------------------------------------


async def pydocket_beats(broker: Broker, worker: str = "theirs") -> None:
    await broker.redis.zadd(broker.keys.workers, {worker: NOW.timestamp()})


async def test_where_nobody_works_it_is_taken(broker: Broker) -> None:
    assert await broker.queue.schedule(EXPIRING, due=True, heard_since=NOW - WINDOW) == 1


async def test_where_only_our_workers_are_it_is_taken(broker: Broker) -> None:
    await broker.presence.heartbeat("W", [], now=NOW, window=WINDOW)
    assert await broker.queue.schedule(EXPIRING, due=True, heard_since=NOW - WINDOW) == 1


async def test_where_one_worker_is_not_ours_it_is_refused(broker: Broker) -> None:
    await broker.presence.heartbeat("W", [], now=NOW, window=WINDOW)
    await pydocket_beats(broker)
    before = await everything(broker)
    with pytest.raises(NotHonoured, match="the worker 'theirs' is not one of docket-anyio's and would not honour") as e:
        await broker.queue.schedule(EXPIRING, due=True, heard_since=NOW - WINDOW)
    assert e.value.worker == "theirs"
    assert await everything(broker) == before
    assert await claim_none(broker)


async def test_of_many_each_is_refused_on_its_own(broker: Broker) -> None:
    await pydocket_beats(broker)
    answers = await broker.queue.schedule_many(
        [(EXPIRING, True), (evolve(MESSAGE, key="plain"), True)], heard_since=NOW - WINDOW
    )
    assert isinstance(answers[0], NotHonoured)
    assert answers[1] == 1


async def test_a_task_that_does_not_expire_is_for_all(broker: Broker) -> None:
    await pydocket_beats(broker)
    assert await broker.queue.schedule(MESSAGE, due=True, heard_since=NOW - WINDOW) == 1


async def test_who_was_not_heard_of_for_long_is_not_asked(broker: Broker) -> None:
    await pydocket_beats(broker)
    assert await broker.queue.schedule(EXPIRING, due=True, heard_since=NOW) == 1


async def test_a_worker_of_theirs_may_have_the_name_of_one_of_ours_that_is_gone(broker: Broker) -> None:
    await broker.presence.heartbeat("W", [], now=NOW - 2 * WINDOW, window=WINDOW)
    await pydocket_beats(broker, "W")
    with pytest.raises(NotHonoured):
        await broker.queue.schedule(EXPIRING, due=True, heard_since=NOW - WINDOW)


async def test_it_is_refused_before_anything_else_is_looked_at(broker: Broker) -> None:
    await broker.queue.schedule(MESSAGE, due=True)
    assert await broker.queue.schedule(EXPIRING, due=True) is Refusal.TAKEN
    await pydocket_beats(broker)
    with pytest.raises(NotHonoured):
        await broker.queue.schedule(EXPIRING, due=True)
