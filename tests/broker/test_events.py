"""What is announced, as WIRE section 6 has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.keys import Keys
from docket_anyio._model.events import StateChanged
from docket_anyio._model.lifecycle import ExecutionState, Step
from tests.broker.brokers import (
    ENDINGS,
    KEY,
    LATER,
    MESSAGE,
    NOW,
    PARKED,
    claim,
    ended,
    open_broker,
    published,
    running,
)
from tests.conftest import Store

AT_NOW, AT_LATER = "2026-11-22T03:50:03.727689+00:00", "2026-11-22T03:51:03.727689+00:00"


def event(state: str, **details: str) -> dict[str, str]:
    return {"type": "state", "key": KEY, "state": state, **details}


async def announced(broker: Broker, happens: Callable[[], Awaitable[object]]) -> list[Any]:
    async with published(broker, broker.keys.state_channel(KEY)) as collected:
        await happens()
        found: list[Any] = await collected()
    assert [list(each)[:3] for each in found] == [["type", "key", "state"]] * len(found)
    return found


async def test_scheduling(broker: Broker) -> None:
    queue = broker.queue
    assert await announced(broker, lambda: queue.schedule(PARKED, due=False)) == [event("scheduled", when=AT_LATER)]
    replaced = await announced(broker, lambda: queue.schedule(MESSAGE, due=True, replace=True))
    assert replaced == [event("queued", when=AT_NOW)]
    assert await announced(broker, lambda: queue.schedule(MESSAGE, due=True)) == []


async def test_promoting(broker: Broker) -> None:
    await broker.queue.schedule(PARKED, due=False)
    promoted = await announced(broker, lambda: broker.queue.promote(LATER, limit=1))
    assert promoted == [event("queued", when=AT_LATER)]


async def test_starting(broker: Broker) -> None:
    await broker.queue.schedule(MESSAGE, due=True)
    delivery = await claim(broker)
    started = await announced(broker, lambda: broker.queue.start(delivery, "W", NOW))
    assert started == [event("running", worker="W", started_at=AT_NOW)]


@pytest.mark.parametrize("step", ENDINGS, ids=lambda step: step.name.lower())
async def test_settling_once(broker: Broker, step: Step) -> None:
    delivery, ending = await running(broker), ENDINGS[step]
    expected = event(ending.state.value, completed_at=AT_LATER)
    if ending.error:
        expected["error"] = ending.error
    assert await announced(broker, lambda: broker.queue.settle(delivery, ending, LATER)) == [expected]
    assert await announced(broker, lambda: broker.queue.settle(delivery, ending, LATER)) == []


async def test_settling_a_superseded_run(broker: Broker) -> None:
    delivery = await running(broker)
    await broker.queue.schedule(PARKED, due=False, replace=True)
    settled = await announced(broker, lambda: broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], LATER))
    assert settled == [event("completed", completed_at=AT_LATER)]


@pytest.mark.parametrize("step", ENDINGS, ids=lambda step: step.name.lower())
async def test_settling_the_last_of_a_chain_is_quiet_only_where_it_is_superseded(broker: Broker, step: Step) -> None:
    quiet = evolve(ENDINGS[step], quiet=True)
    delivery = await running(broker)
    assert len(await announced(broker, lambda: broker.queue.settle(delivery, quiet, LATER))) == 1
    delivery = await running(broker)
    await broker.queue.schedule(PARKED, due=False, replace=True)
    assert await announced(broker, lambda: broker.queue.settle(delivery, quiet, LATER)) == []


async def test_settling_where_nothing_is_kept(anyio_backend: object, store: Store) -> None:
    async with open_broker(store, execution_ttl=timedelta(0)) as broker:
        delivery = await running(broker)
        settled = await announced(broker, lambda: broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], LATER))
        assert settled == [event("completed", completed_at=AT_LATER)]
        assert await announced(broker, lambda: broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], LATER)) == []


async def test_running_again(broker: Broker) -> None:
    delivery = await running(broker)
    successor = evolve(delivery.message, when=LATER, attempt=2)
    again = await announced(broker, lambda: broker.queue.again(delivery, successor, NOW, due=False))
    assert again == [event("scheduled", when=AT_LATER)]
    assert await announced(broker, lambda: broker.queue.again(delivery, successor, NOW, due=False)) == []


async def test_handing_back(broker: Broker) -> None:
    delivery = await running(broker)
    back = await announced(broker, lambda: broker.queue.hand_back(delivery, "W", NOW))
    assert back == [event("queued", when=AT_NOW)]
    assert await announced(broker, lambda: broker.queue.hand_back(delivery, "W", NOW)) == []


async def test_cancelling_what_waits(broker: Broker) -> None:
    await broker.queue.schedule(PARKED, due=False)
    cancelled = await announced(broker, lambda: broker.queue.cancel(KEY, LATER))
    assert cancelled == [event("cancelled", completed_at=AT_LATER)]


async def test_cancelling_what_runs_is_announced_by_its_worker(broker: Broker) -> None:
    delivery = await running(broker)
    assert await announced(broker, lambda: broker.queue.cancel(KEY, NOW)) == []
    settled = await announced(broker, lambda: broker.queue.settle(delivery, ENDINGS[Step.STOP], LATER))
    assert settled == [event("cancelled", completed_at=AT_LATER)]


async def test_cancelling_what_has_ended_or_never_was(broker: Broker) -> None:
    assert await announced(broker, lambda: broker.queue.cancel(KEY, NOW)) == []
    await ended(broker)
    assert await announced(broker, lambda: broker.queue.cancel(KEY, NOW)) == []


@pytest.mark.parametrize("what", ["start", "again", "hand back"])
async def test_a_cancelled_delivery_is_announced_when_it_is_dropped(broker: Broker, what: str) -> None:
    delivery = await running(broker)
    await broker.queue.cancel(KEY, NOW)
    drop = {
        "start": lambda: broker.queue.start(delivery, "W", LATER),
        "again": lambda: broker.queue.again(delivery, delivery.message, LATER, due=True),
        "hand back": lambda: broker.queue.hand_back(delivery, "W", LATER),
    }[what]
    assert await announced(broker, drop) == [event("cancelled", completed_at=AT_LATER)]


async def test_workers_are_asked_to_stop_a_key(broker: Broker) -> None:
    async with published(broker, broker.keys.cancel_channel(KEY)) as collected:
        await broker.queue.cancel(KEY, NOW)
        assert await collected() == [KEY.encode()]


async def test_promoters_are_woken_by_what_is_due_first(broker: Broker) -> None:
    async with published(broker, broker.keys.wake_channel) as collected:
        await broker.queue.schedule(PARKED, due=False)
        await broker.queue.schedule(evolve(PARKED, key="after", when=LATER + timedelta(seconds=1)), due=False)
        await broker.queue.schedule(evolve(PARKED, key="before", when=LATER - timedelta(seconds=1)), due=False)
        found = await collected()
    assert [float(each) for each in found] == pytest.approx([LATER.timestamp(), LATER.timestamp() - 1], abs=1e-6)


async def test_watching_a_key(broker: Broker) -> None:
    async with broker.events.watch(KEY) as changes:
        await broker.queue.schedule(evolve(MESSAGE, key="other"), due=True)
        await broker.queue.schedule(PARKED, due=False)
        assert await changes.next() == StateChanged(KEY, ExecutionState.SCHEDULED)
        await broker.queue.promote(LATER, limit=1)
        assert await changes.next() == StateChanged(KEY, ExecutionState.QUEUED)


@pytest.mark.parametrize("name", ["plain", "a*b", "a?b", "a[bc]", "a^b", "back\\slash", "colon:", "{tag}", "ünïcode"])
async def test_watching_for_cancellations(anyio_backend: object, store: Store, name: str) -> None:
    fitting = name.replace("*", "x").replace("?", "x").replace("[bc]", "b")
    other = Keys(store.docket_name + fitting, bare_results=False)
    async with (
        open_broker(Store(store.kind, store.url, store.docket_name + name)) as broker,
        broker.events.watch_cancellations() as cancellations,
    ):
        if fitting != name:
            await broker.redis.publish(other.cancel_channel("elsewhere"), b"elsewhere")
        for key in (KEY, "a:b", "*", ""):
            await broker.redis.publish(broker.keys.cancel_channel(key), key.encode())
            assert await cancellations.next() == key
