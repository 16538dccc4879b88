"""Rate limits, cooldowns and debounces, by the time that they are told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.gates import DROP
from docket_anyio._model.admission import CooldownGate, DebounceGate, RateGate
from docket_anyio._model.lifecycle import ExecutionState
from tests.broker.brokers import KEY, MESSAGE, NOW, PARKED, SECONDS, ended, running, state_of
from tests.conftest import Store

SECOND = timedelta(seconds=1)
RATE = RateGate("send", 2, 10 * SECOND)
SETTLE = DebounceGate("send", 10 * SECOND)
MILLISECONDS = int(SECONDS * 1000)


async def count(broker: Broker, key: str, after: float, gate: RateGate = RATE) -> float | None:
    pause = await broker.gates.count(key, gate, asked_at=SECONDS + after)
    return None if pause is None else pause.total_seconds()


async def come(broker: Broker, key: str, after: float, *, keep: bool = False) -> timedelta | None:
    return await broker.gates.debounce(key, SETTLE, asked_at=SECONDS + after, keep=keep)


async def test_so_many_begin_in_a_window(broker: Broker) -> None:
    assert [await count(broker, key, after) for key, after in (("a", 0), ("b", 4), ("c", 6))] == [None, None, 4]
    assert await count(broker, "c", 10) is None
    assert await count(broker, "d", 10) == 4


async def test_the_window_is_what_pydocket_keeps(broker: Broker) -> None:
    await count(broker, "a", 0)
    key = f"{broker.keys.prefix}:ratelimit:send"
    assert await broker.redis.zrange(key, 0, -1, withscores=True) == [(f"a:{MILLISECONDS}".encode(), MILLISECONDS)]
    assert 19_000 < await broker.redis.pttl(key) <= 20_000


async def test_asking_again_counts_once(broker: Broker) -> None:
    """The answer was lost."""
    assert await count(broker, "a", 0) is None
    for _ in range(5):
        assert await broker.gates.count("a", RATE, asked_at=SECONDS, again=True) is None
    assert await count(broker, "b", 1) is None
    assert await count(broker, "c", 1) == 9


async def test_a_retry_in_the_same_millisecond_is_no_answer_that_was_lost(broker: Broker) -> None:
    assert await count(broker, "a", 0, evolve(RATE, limit=1)) is None
    assert await count(broker, "a", 0, evolve(RATE, limit=1)) == 10


async def test_what_did_not_begin_is_not_counted(broker: Broker) -> None:
    await count(broker, "a", 0)
    await count(broker, "b", 1)
    await broker.gates.uncount("a", RATE, asked_at=SECONDS)
    assert await count(broker, "c", 1) is None


async def test_a_scope_is_shared_by_dockets_and_a_name_is_not(broker: Broker, store: Store) -> None:
    shared = evolve(RATE, limit=1, scope=f"{store.docket_name}-team")
    assert await count(broker, "a", 0, shared) is None
    assert await count(broker, "b", 0, shared) == 10
    assert await count(broker, "b", 0, evolve(shared, name="other")) is None
    assert await broker.redis.exists(f"{store.docket_name}-team:ratelimit:send")


async def test_after_one_has_begun_others_may_not_for_a_while(broker: Broker) -> None:
    gate = CooldownGate("send", 10 * SECOND)
    assert await broker.gates.begin_cooldown(gate)
    assert not await broker.gates.begin_cooldown(gate)
    assert await broker.gates.begin_cooldown(CooldownGate("customer:7", 10 * SECOND))
    key = f"{broker.keys.prefix}:cooldown:send"
    assert await broker.redis.get(key) == b"1"
    assert 9000 < await broker.redis.pttl(key) <= 10_000
    await broker.gates.end_cooldown(gate)
    assert await broker.gates.begin_cooldown(gate)


async def test_the_first_begins_when_no_more_come(broker: Broker) -> None:
    await broker.queue.schedule(evolve(PARKED, key="first"), due=False)
    assert await come(broker, "first", 0) == 10 * SECOND
    assert await come(broker, "second", 6) == DROP
    assert await come(broker, "first", 10) == 6 * SECOND
    assert await come(broker, "third", 12) == DROP
    assert await come(broker, "first", 16) == 6 * SECOND
    assert await come(broker, "first", 22) is None
    assert await come(broker, "fourth", 22) == 10 * SECOND


async def test_a_debounce_is_what_pydocket_keeps(broker: Broker) -> None:
    await come(broker, KEY, 0)
    base = f"{broker.keys.prefix}:debounce:send:{{send}}"
    assert await broker.redis.get(f"{base}:winner") == KEY.encode()
    assert await broker.redis.get(f"{base}:last_seen") == str(MILLISECONDS).encode()
    for each in ("winner", "last_seen"):
        assert 99_000 < await broker.redis.pttl(f"{base}:{each}") <= 100_000


async def test_the_first_has_others_dropped_until_it_begins(broker: Broker) -> None:
    """It has passed, but waits for something else."""
    await broker.queue.schedule(evolve(PARKED, key="first"), due=False)
    await come(broker, "first", 0)
    assert await come(broker, "first", 10, keep=True) is None
    assert await come(broker, "second", 10) == DROP
    assert await come(broker, "first", 20, keep=True) is None
    await broker.gates.end_debounce(SETTLE)
    assert await come(broker, "second", 21) == 10 * SECOND


@pytest.mark.parametrize("how", ["cancelled", "gone", "ended"])
async def test_a_first_that_will_never_begin_is_followed_by_the_next(broker: Broker, how: str) -> None:
    """Else all that come are dropped in its favour, for as long as they come."""
    await come(broker, KEY, 0)
    if how == "cancelled":
        await broker.queue.schedule(PARKED, due=False)
        await broker.queue.cancel(KEY, NOW)
        assert await state_of(broker) is ExecutionState.CANCELLED
    elif how == "ended":
        await ended(broker)
    assert await come(broker, "second", 5) == 10 * SECOND
    await running(broker, evolve(MESSAGE, key="second"))
    assert await come(broker, "third", 6) == DROP
    assert await come(broker, "second", 16) is None


async def test_in_a_scope_nobody_knows_whether_the_first_has_ended(broker: Broker, store: Store) -> None:
    """It may be a key of another docket."""
    gate = evolve(SETTLE, scope=f"{store.docket_name}-team")
    await broker.gates.debounce("first", gate, asked_at=SECONDS, keep=False)
    assert await broker.gates.debounce("second", gate, asked_at=SECONDS, keep=False) == DROP
