"""A cancel and the end of what it is to stop: whoever is first, what is told, what is recorded and what was are one."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import define, field

from docket_anyio import Cancellation, Docket, ExecutionState, Retry
from tests.conftest import Store
from tests.dockets import open_docket, running
from tests.processes import FULL

ROUNDS = 500 if FULL else 60
AT_ONCE = 5
LONGEST = 0.004
"""How many seconds a run takes at most, and how many pass until it is cancelled."""

COMPLETED, FAILED, CANCELLED = ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED
FINISHED = {(COMPLETED, "returned"), (FAILED, "raised")}
# What was told: how it may stand then, and how the last attempt may have ended; None where there was none.
LEGAL: dict[Cancellation, set[tuple[ExecutionState, str | None]]] = {
    Cancellation.NEVER_STARTED: {(CANCELLED, None)},
    Cancellation.STOPPED: {(CANCELLED, None), (CANCELLED, "was cancelled")},
    Cancellation.FINISHED_FIRST: FINISHED,
    Cancellation.ALREADY_FINISHED: FINISHED,
}
# Between two attempts it waits, and is as good as stopped.
LEGAL_BETWEEN = {Cancellation.NEVER_STARTED: {(CANCELLED, "raised")}, Cancellation.STOPPED: {(CANCELLED, "raised")}}


@define(eq=False)
class Races:
    """Tasks that are cancelled at any moment, and what was seen of them."""

    seen: dict[str, str] = field(factory=dict)
    came: Counter[Cancellation] = field(factory=Counter)

    async def returning(self, key: str) -> str:
        await self._stay(key)
        self.seen[key] = "returned"
        return key

    async def raising(self, key: str) -> None:
        await self._stay(key)
        self.seen[key] = "raised"
        raise ValueError(key)

    async def retrying(self, key: str, retry: Retry = Retry(attempts=2)) -> str:
        await self._stay(key)
        if retry.attempt == 1:
            self.seen[key] = "raised"
            raise ValueError(key)
        self.seen[key] = "returned"
        return key

    async def _stay(self, key: str) -> None:
        try:
            await anyio.sleep(random.uniform(0, LONGEST))
        except anyio.get_cancelled_exc_class():
            self.seen[key] = "was cancelled"
            raise


async def race(docket: Docket, other: Docket, races: Races, task: Any, number: int) -> None:
    key = f"{task.__name__}-{number}"
    execution = await docket.add(task, key=key)(key)
    await anyio.sleep(random.uniform(0, 2 * LONGEST))
    with anyio.fail_after(20):
        came = await other.cancel(key, reason=key, grace=timedelta(seconds=15))
    await execution.sync()
    ended = execution.state, races.seen.get(key)
    legal = LEGAL[came] | (LEGAL_BETWEEN.get(came, set()) if task.__name__ == "retrying" else set())
    assert ended in legal, f"{key}: {came}, and then {ended}"
    races.came[came] += 1


@pytest.mark.timeout(60 + ROUNDS)
@pytest.mark.parametrize("name", ["returning", "raising", "retrying"])
async def test_a_cancel_races_with_the_end(anyio_backend: object, store: Store, name: str) -> None:
    races = Races()
    task = getattr(races, name)
    async with open_docket(store) as docket, open_docket(store) as other, running(docket, concurrency=AT_ONCE):

        async def rounds(first: int) -> None:
            for number in range(first, ROUNDS, AT_ONCE):
                await race(docket, other, races, task, number)

        async with anyio.create_task_group() as group:
            for first in range(AT_ONCE):
                group.start_soon(rounds, first)
        assert sum(races.came.values()) == ROUNDS
        async with docket.redis() as redis:
            assert (await redis.xlen(docket.stream_key), await redis.zcard(docket.queue_key)) == (0, 0)
