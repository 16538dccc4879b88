"""Channels of memory://."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest

from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.memory import pubsub
from docket_anyio._redis.memory.transport import open_memory_transport
from docket_anyio._redis.transport import Message, Subscription, Transport


@pytest.fixture
async def memory(anyio_backend: object, unique: str) -> AsyncGenerator[Transport]:
    transport = open_memory_transport(f"memory://{unique}")
    yield transport
    await transport.aclose()


async def publish(memory: Transport, channel: str, text: str | bytes) -> int:
    reply = await memory.execute(["PUBLISH", channel, text])
    assert isinstance(reply, int)
    return reply


async def test_messages_come_in_order_from_channels_and_patterns(memory: Transport) -> None:
    async with memory.open_subscription(channels=["a", "b"], patterns=["a*", "[xy]"]) as subscription:
        assert await publish(memory, "a", "1") == 2
        assert await publish(memory, "b", "2") == 1
        assert await publish(memory, "x", "3") == 1
        assert await publish(memory, "z", "4") == 0
        assert [await subscription.receive() for _ in range(4)] == [
            Message(b"a", b"1"),
            Message(b"a", b"1", b"a*"),
            Message(b"b", b"2"),
            Message(b"x", b"3", b"[xy]"),
        ]
    assert await publish(memory, "a", "5") == 0


async def test_a_receiver_is_woken_at_once_also_from_a_script(memory: Transport) -> None:
    received: list[bytes] = []

    async def listen(subscription: Subscription) -> None:
        while len(received) < 2:
            received.append((await subscription.receive()).data)

    async with memory.open_subscription(channels=["channel"]) as subscription, anyio.create_task_group() as group:
        group.start_soon(listen, subscription)
        await anyio.wait_all_tasks_blocked()
        await publish(memory, "channel", "one")
        await anyio.wait_all_tasks_blocked()
        assert received == [b"one"]
        await memory.execute(["EVAL", "return redis.call('PUBLISH', 'channel', ARGV[1])", 0, "two"])
    assert received == [b"one", b"two"]


async def test_a_cancelled_receive_takes_no_message(memory: Transport) -> None:
    async with memory.open_subscription(channels=["channel"]) as subscription:
        await publish(memory, "channel", "text")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await subscription.receive()
        assert (await subscription.receive()).data == b"text"


async def test_each_subscription_gets_every_message(memory: Transport) -> None:
    async with (
        memory.open_subscription(channels=["channel", "channel"], patterns=["c*"]) as one,
        memory.open_subscription(channels=["channel"], patterns=["c*"]) as other,
    ):
        assert await publish(memory, "channel", "text") == 4
        assert await memory.execute(["PUBSUB", "NUMSUB", "channel", "empty"]) == [b"channel", 2, b"empty", 0]
        assert (await one.receive()) == (await other.receive()) == Message(b"channel", b"text")


async def test_a_subscriber_that_falls_too_far_behind_is_dropped(
    memory: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "MAX_BUFFERED_BYTES", 100)
    async with memory.open_subscription(channels=["channel"]) as subscription:
        await publish(memory, "channel", b"x" * 90)
        assert len((await subscription.receive()).data) == 90
        await publish(memory, "channel", b"x" * 90)
        await publish(memory, "channel", b"x" * 90)
        assert await publish(memory, "channel", b"x") == 1
        with pytest.raises(Disconnected, match="fell too far behind"):
            await subscription.receive()
    with pytest.raises(Disconnected):
        await subscription.receive()
