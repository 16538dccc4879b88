"""Every step from every state: the scripts do what the table of the lifecycle says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from attrs import evolve, frozen

from docket_anyio._broker.broker import Broker
from docket_anyio._model.lifecycle import ExecutionState, Step, advance
from docket_anyio._model.message import Delivery
from tests.broker.brokers import (
    ENDINGS,
    EXPIRING,
    KEY,
    LATER,
    MESSAGE,
    MUCH_LATER,
    NOW,
    PARKED,
    add_pydocket,
    ended,
    entries,
    park,
    queued,
    running,
    state_of,
    take_over,
    wake,
)

STATES = (None, *ExecutionState)


@frozen
class Scene:
    """A key in a state, with the delivery that a worker takes for the one in its hands."""

    broker: Broker
    delivery: Delivery


async def _absent(broker: Broker, step: Step) -> Delivery:
    delivery = await running(broker)
    await broker.redis.delete(broker.keys.runs(KEY))  # as if its time to live were over
    return delivery


async def _scheduled(broker: Broker, step: Step) -> Delivery:
    delivery = await running(broker)
    if step is Step.WAKE:
        await park(broker, delivery)
        return delivery
    await broker.queue.schedule(PARKED, due=False, replace=True)
    return delivery


async def _queued(broker: Broker, step: Step) -> Delivery:
    if step is Step.EXPIRE:
        return await queued(broker, EXPIRING)
    if step in {Step.START, Step.STOP, Step.HAND_BACK}:
        return await queued(broker)
    # Who settles was started: its lease is lost, and the worker that took the delivery over has handed it back.
    delivery = await running(broker)
    await broker.queue.hand_back(delivery, "W", NOW)
    return delivery


async def _running(broker: Broker, step: Step) -> Delivery:
    return await running(broker, EXPIRING if step is Step.EXPIRE else MESSAGE)


async def _completed(broker: Broker, step: Step) -> Delivery:
    return await ended(broker, Step.COMPLETE)


async def _failed(broker: Broker, step: Step) -> Delivery:
    return await ended(broker, Step.FAIL)


async def _cancelled(broker: Broker, step: Step) -> Delivery:
    delivery = await running(broker)
    await add_pydocket(broker)  # else it would be only asked to stop
    await broker.queue.cancel(KEY, NOW)
    return delivery


SETTINGS: dict[ExecutionState | None, Callable[[Broker, Step], Awaitable[Delivery]]] = {
    None: _absent,
    ExecutionState.SCHEDULED: _scheduled,
    ExecutionState.QUEUED: _queued,
    ExecutionState.RUNNING: _running,
    ExecutionState.COMPLETED: _completed,
    ExecutionState.FAILED: _failed,
    ExecutionState.CANCELLED: _cancelled,
}


async def take(scene: Scene, step: Step) -> None:
    queue, delivery = scene.broker.queue, scene.delivery
    match step:
        case Step.ADD_NOW | Step.REPLACE_NOW:
            await queue.schedule(MESSAGE, due=True, replace=step is Step.REPLACE_NOW)
        case Step.ADD_LATER | Step.REPLACE_LATER:
            await queue.schedule(PARKED, due=False, replace=step is Step.REPLACE_LATER)
        case Step.PROMOTE:
            await queue.promote(MUCH_LATER, limit=10)
        case Step.START:
            # A redelivered message is started by the worker that took it over.
            await take_over(scene.broker, delivery, "W2")
            await queue.start(delivery, "W2", NOW)
        case Step.EXPIRE:
            await take_over(scene.broker, delivery, "W2")
            await queue.start(delivery, "W2", LATER)
        case Step.COMPLETE | Step.FAIL | Step.STOP:
            await queue.settle(delivery, ENDINGS[step], NOW)
        case Step.AGAIN_NOW:
            await queue.again(delivery, evolve(delivery.message, attempt=2), NOW, due=True)
        case Step.AGAIN_LATER:
            await queue.again(delivery, evolve(delivery.message, attempt=2, when=LATER), NOW, due=False)
        case Step.HAND_BACK:
            await queue.hand_back(delivery, "W", NOW)
        case Step.PARK:
            await park(scene.broker, delivery)
        case Step.WAKE:
            await wake(scene.broker)
        case Step.CANCEL:
            await queue.cancel(KEY, NOW)
        case Step.CLEAR:
            await scene.broker.backlog.clear(NOW)


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name.lower())
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.value if state else "absent")
async def test_a_step_leads_where_the_table_says(broker: Broker, state: ExecutionState | None, step: Step) -> None:
    scene = Scene(broker, await SETTINGS[state](broker, step))
    assert await state_of(broker) is state
    await take(scene, step)
    assert await state_of(broker) is advance(state, step)


@pytest.mark.parametrize(
    "step", [Step.START, Step.AGAIN_NOW, Step.AGAIN_LATER, Step.HAND_BACK], ids=lambda step: step.name
)
async def test_a_run_that_was_asked_to_stop_only_ends(broker: Broker, step: Step) -> None:
    scene = Scene(broker, await running(broker))
    await broker.queue.cancel(KEY, NOW)
    assert await state_of(broker) is ExecutionState.RUNNING
    await take(scene, step)
    assert await state_of(broker) is ExecutionState.CANCELLED
    assert await entries(broker) == []


async def test_a_run_that_was_asked_to_stop_does_not_wait_for_a_slot(broker: Broker) -> None:
    scene = Scene(broker, await running(broker))
    await broker.queue.cancel(KEY, NOW)
    await take(scene, Step.PARK)
    assert await state_of(broker) is ExecutionState.RUNNING  # and its worker, which is told so, ends it


@pytest.mark.parametrize("state", [ExecutionState.COMPLETED, ExecutionState.FAILED], ids=lambda state: state.value)
async def test_what_another_worker_has_ended_is_not_started_again(broker: Broker, state: ExecutionState) -> None:
    # A lease ran out, a second worker took the delivery over, and just then the first one settled.
    delivery = await SETTINGS[state](broker, Step.START)
    answer = await broker.queue.start(delivery, "W2", NOW)
    assert answer.name == "GONE"
    assert await state_of(broker) is state


async def test_the_first_of_two_workers_to_settle_decides(broker: Broker) -> None:
    delivery = await running(broker)
    await take_over(broker, delivery, "W2")
    await broker.queue.start(delivery, "W2", NOW)
    assert (await broker.queue.settle(delivery, ENDINGS[Step.COMPLETE], NOW)).name == "SETTLED"
    assert (await broker.queue.settle(delivery, ENDINGS[Step.FAIL], NOW)).name == "GONE"
    assert await state_of(broker) is ExecutionState.COMPLETED
