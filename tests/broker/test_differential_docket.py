"""memory:// and a real redis-server are given the same steps of a docket; all that can be seen of them is compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.broker.brokers import NOW
from tests.broker.laws import Laws, View
from tests.broker.sides import Side, attempt, open_side
from tests.broker.steps import (
    TTL,
    Claim,
    Discard,
    Pass,
    Promote,
    Settle,
    Start,
    Step,
    Sweep,
    Turn,
    WithHand,
    histories,
)
from tests.conftest import StartRedis
from tests.redis.differential import NIGHTLY
from tests.servers import RedisServer

EXAMPLES = 2000 if NIGHTLY else 100
FIRST = Turn(NOW, 0)


@pytest.fixture(scope="module")
def server(start_redis: StartRedis, redis_version: tuple[int, ...]) -> Iterator[RedisServer]:
    if redis_version < (7,):
        pytest.skip("memory:// follows Redis 7.0, which tells more of a stream")
    with start_redis() as server:
        yield server


@define
class Comparison:
    """Takes each step on both sides."""

    memory: Side
    real: Side
    laws: Laws
    turn: Turn = field(default=FIRST, init=False)
    view: View = field(factory=View.nothing, init=False)

    async def take(self, step: Step) -> None:
        hand = step.hand(self.memory) if isinstance(step, WithHand) else None
        if hand is None and isinstance(step, WithHand):
            return
        answer, other = [await attempt(step.take(side, self.turn)) for side in (self.memory, self.real)]
        one, two = self.memory.normal(answer), self.real.normal(other)
        assert one == two, f"{step}\n  memory answers {one}\n  redis answers  {two}"
        seen, real = await self.memory.look(self.turn.now), await self.real.look(self.turn.now)
        assert (found := seen.differences(real)) == [], "\n".join([f"after {step}, memory and redis:", *found])
        view = View.of(seen)
        self.laws.check(step, self.turn, hand, answer, self.memory, self.view, view)
        self.view = view
        passed = timedelta(minutes=step.minutes if isinstance(step, Pass) else 0, seconds=1)
        self.turn = Turn(self.turn.now + passed, self.turn.serial + 10)

    async def finish(self) -> None:
        """Let one more worker do all that there is."""
        for side in (self.memory, self.real):
            side.hands.clear()
        # A sweep comes to one stream after the other.
        for step in (Promote(ahead=1_000_000), *[Sweep("last", 1000, timedelta())] * 3, Claim("last", 1000)):
            await self.take(step)
        for step in (Discard(), Start(), Settle()):
            while step.hand(self.memory) is not None:
                await self.take(step)
        self.laws.check_end(self.view)
        assert await self.memory.records() == await self.real.records()


async def compare(path: Path, taken: list[Step], execution_ttl: timedelta) -> None:
    async with (
        open_side("memory://differential", execution_ttl) as memory,
        open_side(f"unix://{path}", execution_ttl) as real,
    ):
        comparison = Comparison(memory, real, Laws(keeps_records=bool(execution_ttl)))
        for step in taken:
            await comparison.take(step)
        await comparison.finish()


@pytest.mark.timeout(60 + EXAMPLES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(taken=histories, execution_ttl=st.sampled_from([TTL, timedelta()]))
def test_all_that_can_be_seen_is_the_same(server: RedisServer, taken: list[Step], execution_ttl: timedelta) -> None:
    anyio.run(compare, server.socket, taken, execution_ttl, backend="trio")
