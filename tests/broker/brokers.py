"""Brokers and what they deliver, for tests of single transitions."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from docket_anyio._broker.answers import Answer, Ending
from docket_anyio._broker.broker import Broker
from docket_anyio._broker.keys import Keys
from docket_anyio._broker.slots import Slot, Slots
from docket_anyio._model.admission import SlotGate
from docket_anyio._model.codec import dump_arguments
from docket_anyio._model.lifecycle import ExecutionState, Step
from docket_anyio._model.message import Delivery, TaskMessage
from docket_anyio._redis.client import connect
from docket_anyio._redis.url import parse_url
from tests.conftest import Store
from tests.dockets import contents_under

NOW = datetime(2026, 11, 22, 3, 50, 3, 727689, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
MUCH_LATER = NOW + timedelta(days=1)
TTL = timedelta(minutes=15)
KEY = 'clé "1"\n'
ARGS, KWARGS = dump_arguments((1, "a"), {"b": None}, "send")
MESSAGE = TaskMessage(KEY, "send", NOW, ARGS, KWARGS, headers={"traceparent": b"00-ab"})
PARKED = evolve(MESSAGE, when=LATER)
EXPIRING = evolve(MESSAGE, expires=LATER)
ENDINGS = {
    Step.COMPLETE: Ending(ExecutionState.COMPLETED, result=b"result"),
    Step.FAIL: Ending(ExecutionState.FAILED, error="ValueError: nö", result=b"error"),
    Step.STOP: Ending(ExecutionState.CANCELLED),
}

REDELIVERY = timedelta(minutes=1)
ONE_AT_A_TIME = SlotGate("send", 1)
SECONDS = NOW.timestamp()


@asynccontextmanager
async def open_broker(store: Store, *, execution_ttl: timedelta = TTL) -> AsyncGenerator[Broker]:
    redis = connect(parse_url(store.url))
    async with redis:
        yield Broker(
            redis,
            Keys(store.docket_name, bare_results=store.kind == "memory"),
            execution_ttl,
            in_process=store.kind == "memory",
        )


async def claim(broker: Broker, worker: str = "W") -> Delivery:
    """Claim the one delivery that is ready."""
    async with broker.open_intake(worker) as intake:
        (delivery,) = await intake.claim(10, wait=timedelta(milliseconds=1))
    assert isinstance(delivery, Delivery)
    return delivery


async def claim_none(broker: Broker) -> bool:
    async with broker.open_intake("W") as intake:
        return await intake.claim(10, wait=timedelta(milliseconds=1)) == []


async def queued(broker: Broker, message: TaskMessage = MESSAGE) -> Delivery:
    await broker.queue.schedule(message, due=True)
    return await claim(broker)


async def running(broker: Broker, message: TaskMessage = MESSAGE) -> Delivery:
    delivery = await queued(broker, message)
    assert await broker.queue.start(delivery, "W", NOW) is Answer.STARTED
    return delivery


async def take_over(broker: Broker, delivery: Delivery, worker: str) -> None:
    """Have a delivery go from one worker to another, as if its lease had run out."""
    stream = broker.keys.stream_with(delivery.receipt)
    await broker.redis.xclaim(stream, "docket-workers", worker, 0, [delivery.receipt])


async def add_pydocket(broker: Broker) -> None:
    """Have a worker live that honours nothing of ours, as one of pydocket's."""
    await broker.redis.zadd(broker.keys.workers, {"theirs": SECONDS})


async def ended(broker: Broker, step: Step = Step.COMPLETE) -> Delivery:
    delivery = await running(broker)
    assert await broker.queue.settle(delivery, ENDINGS[step], NOW) is Answer.SETTLED
    return delivery


def slots(broker: Broker) -> Slots:
    return broker.slots(REDELIVERY)


async def held(
    broker: Broker, key: str, *, at: float = SECONDS, gate: SlotGate = ONE_AT_A_TIME
) -> tuple[Delivery, Slot]:
    """A run that has a slot."""
    delivery = await running(broker, evolve(MESSAGE, key=key))
    slot = await slots(broker).take(delivery, gate, now=at)
    assert isinstance(slot, Slot)
    return delivery, slot


async def park(broker: Broker, delivery: Delivery) -> None:
    """Have a run ask for the slot that another one has."""
    await broker.redis.zadd(broker.keys.slots(ONE_AT_A_TIME.name, None), {"another": SECONDS})
    await slots(broker).take(delivery, ONE_AT_A_TIME, now=SECONDS)


async def wake(broker: Broker) -> None:
    """Have the other one vanish, and the safeguard of the first one run."""
    await broker.redis.delete(broker.keys.slots(ONE_AT_A_TIME.name, None))
    waiters = f"{broker.keys.slots(ONE_AT_A_TIME.name, None)}:waiters"
    await slots(broker).wake(waiters, 1, safeguard=f"__safeguard__:{KEY}", now=SECONDS)


async def state_of(broker: Broker, key: str = KEY) -> ExecutionState | None:
    state = (await record(broker, key)).get("state")
    return None if state is None else ExecutionState(state.decode())


async def record(broker: Broker, key: str = KEY) -> dict[str, bytes]:
    fields = await broker.redis.hgetall(broker.keys.runs(key))
    return {name.decode(): value for name, value in fields.items()}


async def entries(broker: Broker) -> list[dict[bytes, bytes]]:
    return [fields for stream in broker.keys.streams for _, fields in await broker.redis.xrange(stream)]


async def pending(broker: Broker) -> int:
    count = 0
    for stream in broker.keys.streams:
        if await broker.redis.exists(stream):
            count += (await broker.redis.xpending(stream, "docket-workers"))["pending"]
    return count


async def everything(broker: Broker) -> dict[bytes, Any]:
    """All that Redis holds of a docket, as bytes that can be compared."""
    return await contents_under(broker.redis, broker.keys.prefix)


@asynccontextmanager
async def published(broker: Broker, *channels: str) -> AsyncGenerator[Callable[[], Any]]:
    """What is published meanwhile: a function that gives all of it, each payload decoded if it is JSON."""
    end = f"{broker.keys.prefix}:end-of-test"
    async with broker.redis.transport.open_subscription(channels=[*channels, end]) as subscription:

        async def collected() -> list[Any]:
            await broker.redis.publish(end, b"")
            found: list[Any] = []
            while (message := await subscription.receive()).channel != end.encode():
                found.append(json.loads(message.data) if message.data.startswith(b"{") else message.data)
            return found

        yield collected
