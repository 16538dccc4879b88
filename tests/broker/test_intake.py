"""How deliveries come into a worker's hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta

import anyio
import pytest
from attrs import evolve

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.intake import Intake
from docket_anyio._model.lifecycle import Step
from docket_anyio._model.message import Delivery, Undecodable
from tests.broker.brokers import ENDINGS, MESSAGE, NOW, entries, pending, queued, running
from tests.clocks import Stopwatch, virtual_time

AT_ONCE, FOR_LONG = timedelta(milliseconds=1), timedelta(minutes=5)


@pytest.fixture
async def intake(broker: Broker) -> AsyncGenerator[Intake]:
    async with broker.open_intake("W") as intake:
        yield intake


async def add(broker: Broker, *keys: str) -> None:
    for key in keys:
        await broker.queue.schedule(evolve(MESSAGE, key=key), due=True)


def keys(claimed: list[Delivery | Undecodable]) -> list[str]:
    return [each.message.key for each in claimed if isinstance(each, Delivery)]


async def test_the_group_is_there_and_may_have_been(broker: Broker, intake: Intake) -> None:
    await intake.create_group()
    (group,) = await broker.redis.xinfo_groups(broker.keys.stream)
    assert group["name"] == b"docket-workers"


async def test_what_was_added_before_the_first_worker_came_is_delivered(broker: Broker) -> None:
    await add(broker, "a")
    async with broker.open_intake("W") as intake:
        assert keys(await intake.claim(10, wait=AT_ONCE)) == ["a"]


async def test_a_claim_takes_as_many_as_asked_for_in_order(broker: Broker, intake: Intake) -> None:
    await add(broker, "a", "b", "c")
    assert keys(await intake.claim(2, wait=AT_ONCE)) == ["a", "b"]
    assert keys(await intake.claim(2, wait=AT_ONCE)) == ["c"]
    assert await intake.claim(2, wait=AT_ONCE) == []


async def test_a_delivery_goes_to_one_worker(broker: Broker, intake: Intake) -> None:
    await add(broker, "a", "b")
    async with broker.open_intake("W2") as other:
        assert keys(await intake.claim(1, wait=AT_ONCE)) == ["a"]
        assert keys(await other.claim(10, wait=AT_ONCE)) == ["b"]


async def test_a_waiting_claim_ends_as_soon_as_something_comes(broker: Broker, intake: Intake) -> None:
    found: list[str] = []

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(claim_into, found, intake)
            await anyio.wait_all_tasks_blocked()
            await add(broker, "a")
    assert found == ["a"]


@virtual_time
async def test_a_claim_waits_as_long_as_asked_for(intake: Intake) -> None:
    watch = Stopwatch()
    assert await intake.claim(10, wait=FOR_LONG) == []
    assert watch.seconds() == pytest.approx(300, abs=0.01)


async def claim_into(found: list[str], intake: Intake) -> None:
    found += keys(await intake.claim(10, wait=FOR_LONG))


async def test_a_cancelled_claim_loses_nothing(broker: Broker, intake: Intake) -> None:
    """Whatever the moment: what was given is left over, or still to be had."""
    found: list[str] = []
    for number in range(20):
        async with anyio.create_task_group() as group:
            group.start_soon(claim_into, found, intake)
            for _ in range(number % 5):
                await anyio.lowlevel.checkpoint()
            await add(broker, f"{number}")
            group.cancel_scope.cancel()
        found += keys(intake.leftover())
    found += keys(await intake.claim(100, wait=AT_ONCE))
    assert sorted(found, key=int) == [str(number) for number in range(20)]
    assert intake.leftover() == []


async def test_what_is_pending_under_the_own_name_is_found(broker: Broker, intake: Intake) -> None:
    await add(broker, "a", "b", "c")
    await intake.claim(2, wait=AT_ONCE)
    async with broker.open_intake("W2") as other:
        await other.claim(1, wait=AT_ONCE)
    assert keys(await intake.own_pending()) == ["a", "b"]


async def test_what_is_pending_and_was_deleted_is_no_message(broker: Broker, intake: Intake) -> None:
    delivery = await queued(broker)
    await broker.redis.xdel(broker.keys.stream, delivery.receipt)
    assert await intake.own_pending() == [Undecodable(delivery.receipt, "the message was deleted while it was pending")]


@pytest.mark.parametrize(
    "fields", [{"x": "y"}, {"key": "K"}, {"key": b"\xff", "when": "x"}], ids=["odd", "part", "bytes"]
)
async def test_what_is_no_message_is_told_and_can_be_discarded(
    broker: Broker, intake: Intake, fields: dict[str, str]
) -> None:
    receipt = await broker.redis.xadd(broker.keys.stream, fields)
    await add(broker, "a")
    odd, fine = await intake.claim(10, wait=AT_ONCE)
    assert isinstance(odd, Undecodable)
    assert odd.receipt == receipt
    assert odd.problem.startswith("a message with")
    assert keys([fine]) == ["a"]
    await broker.queue.discard(receipt)
    assert await pending(broker) == len(await entries(broker)) == 1


async def test_abandoned_deliveries_are_taken_over(broker: Broker, intake: Intake) -> None:
    abandoned = await running(broker)
    assert await intake.sweep(10, idle=timedelta(minutes=1)) == ([], True)
    found, at_end = await intake.sweep(10, idle=timedelta(0))
    assert found == [evolve(abandoned, redelivered=True)]
    assert at_end
    (entry,) = await broker.redis.xpending_range(broker.keys.stream, "docket-workers", "-", "+", 10)
    assert entry["consumer"] == b"W"


async def test_a_sweep_goes_on_where_it_stopped(broker: Broker, intake: Intake) -> None:
    await add(broker, *"abcde")
    async with broker.open_intake("dead") as dead:
        await dead.claim(5, wait=AT_ONCE)
    found: list[str] = []
    for _ in range(10):
        some, at_end = await intake.sweep(2, idle=timedelta(0))
        found += keys(some)
        if at_end:
            break
    assert found == list("abcde")


async def test_one_worker_at_a_time_sweeps(broker: Broker, intake: Intake) -> None:
    async with broker.open_intake("W2") as other:
        assert await intake.take_sweep(FOR_LONG)
        assert await intake.take_sweep(FOR_LONG)
        assert not await other.take_sweep(FOR_LONG)
        assert await broker.redis.get(broker.keys.sweep_lease) == b"W"
        assert 290 < await broker.redis.ttl(broker.keys.sweep_lease) <= 300


async def test_the_lease_of_the_sweep_runs_out(broker: Broker, intake: Intake) -> None:
    async with broker.open_intake("W2") as other:
        assert await intake.take_sweep(timedelta(milliseconds=20))
        with anyio.fail_after(2):
            while not await other.take_sweep(FOR_LONG):  # noqa: ASYNC110 - Redis tells nobody that a key has expired
                await anyio.sleep(0.005)
        assert not await intake.take_sweep(FOR_LONG)


async def test_what_was_settled_is_not_taken_over(broker: Broker, intake: Intake) -> None:
    delivery = await running(broker)
    await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW)
    assert await intake.sweep(10, idle=timedelta(0)) == ([], True)


async def test_several_workers_share_the_work(broker: Broker) -> None:
    await add(broker, *map(str, range(50)))
    taken = [(await claim_one(broker, f"W{number}")).message.key for number in range(10)]
    assert taken == [str(number) for number in range(10)]
    assert await pending(broker) == 10


async def claim_one(broker: Broker, worker: str) -> Delivery:
    async with broker.open_intake(worker) as intake:
        (delivery,) = await intake.claim(1, wait=AT_ONCE)
    assert isinstance(delivery, Delivery)
    return delivery
