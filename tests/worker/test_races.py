"""What happens to a key while its task ends: whoever is first, one chain is left, or none where it was cancelled."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import anyio
from attrs import define, field

from docket_anyio import Disposition, Docket, Execution, ExecutionCancelled, ExecutionState, Perpetual
from docket_anyio.dependencies import current_execution
from tests.dockets import running
from tests.processes import FULL

T = TypeVar("T")

ROUNDS = 300 if FULL else 30
KEY = "K"
HOUR = timedelta(hours=1)
LONGEST = 0.003
"""How many seconds a run takes at most, and how many pass until somebody interferes with it."""


@define(eq=False)
class Chain:
    """A perpetual task that never rests, and what was seen of its runs: label and generation, in order."""

    runs: list[tuple[int, int]] = field(factory=list)

    async def poll(self, label: int, perpetual: Perpetual) -> None:
        self.runs.append((label, current_execution.get().generation))
        await anyio.sleep(random.uniform(0, LONGEST))

    def of(self, label: int) -> list[int]:
        return [generation for each, generation in self.runs if each == label]

    async def wait_runs(self, label: int, count: int) -> None:
        with anyio.fail_after(5):
            while len(self.of(label)) < count:  # noqa: ASYNC110 - on a random moment of the run, not on its start
                await anyio.sleep(0.001)


async def a_moment() -> None:
    await anyio.sleep(random.uniform(0, LONGEST))


async def wait_for(wanted: T, question: Callable[[], Awaitable[T]]) -> None:
    found: T | None = None
    with anyio.move_on_after(5):
        while (found := await question()) != wanted:  # noqa: ASYNC110 - it is about Redis
            await anyio.sleep(0.001)
    assert found == wanted


async def entries(docket: Docket) -> tuple[int, int]:
    """Return how many tasks are in the stream and how many in the queue, at one moment."""
    async with docket.redis() as redis, redis.pipeline(transaction=True) as both:
        both.xlen(docket.stream_key)
        both.zcard(docket.queue_key)
        stream, queue = await both.execute()
    return stream, queue


async def test_a_replacement_for_now_goes_on_as_the_only_chain(docket: Docket) -> None:
    chain = Chain()

    async def poll(label: int, perpetual: Perpetual = Perpetual()) -> None:
        await chain.poll(label, perpetual)

    async with running(docket, name="A"), running(docket, name="B"):
        await docket.add(poll, key=KEY)(0)
        for label in range(1, ROUNDS + 1):
            await chain.wait_runs(label - 1, 1)
            await a_moment()
            replacement = await docket.replace(poll, datetime.now(UTC), KEY)(label)
            await chain.wait_runs(label, 2)
            # It took over: what was replaced is gone from the stream, and what goes on is there once.
            await wait_for((1, 0), lambda: entries(docket))
            assert {await entries(docket) for _ in range(3)} == {(1, 0)}
            generations = chain.of(label)
            assert generations == [*range(replacement.generation, replacement.generation + len(generations))]
        await docket.cancel(KEY)
        await wait_for((0, 0), lambda: entries(docket))
    # Over all rounds: no generation ran twice, and none with arguments that were replaced before.
    assert len({generation for _, generation in chain.runs}) == len(chain.runs)
    assert [label for _, label in sorted((generation, label) for label, generation in chain.runs)] == sorted(
        label for label, _ in chain.runs
    )


async def test_a_replacement_for_later_ends_the_chain_that_runs(docket: Docket) -> None:
    chain = Chain()

    async def poll(label: int, perpetual: Perpetual = Perpetual()) -> None:
        await chain.poll(label, perpetual)

    async with running(docket, name="A"), running(docket, name="B"):
        for label in range(ROUNDS):
            await docket.replace(poll, datetime.now(UTC), KEY)(label)
            await chain.wait_runs(label, 1)
            await a_moment()
            replacement = await docket.replace(poll, datetime.now(UTC) + HOUR, KEY)(-1)
            await wait_for((0, 1), lambda: entries(docket))
            left = await docket.get_execution(KEY)
            assert left is not None
            assert (left.state, left.args) == (ExecutionState.SCHEDULED, (-1,))
            assert left.generation == replacement.generation
        await docket.cancel(KEY)
    assert not chain.of(-1)


async def test_a_chain_that_is_cancelled_is_over(docket: Docket) -> None:
    chain = Chain()

    async def poll(label: int, perpetual: Perpetual = Perpetual()) -> None:
        await chain.poll(label, perpetual)

    async with running(docket, name="A"), running(docket, name="B"):
        for label in range(ROUNDS):
            execution = await docket.add(poll, key=KEY)(label)
            assert execution.disposition is Disposition.SCHEDULED
            await chain.wait_runs(label, 1)
            await a_moment()
            await docket.cancel(KEY)
            # The last run may have returned all the same; nothing follows it.
            heard = await ending(execution)
            assert heard in {ExecutionState.CANCELLED, ExecutionState.COMPLETED}
            await wait_for((0, 0), lambda: entries(docket))
            await execution.sync()
            assert execution.state is heard
            seen = len(chain.runs)
            await a_moment()
            assert (await entries(docket), len(chain.runs)) == ((0, 0), seen)


async def test_a_cancellation_while_a_run_ends(docket: Docket) -> None:
    """The record tells what the body did: it has returned, or it has not."""
    returned: set[int] = set()

    async def work(label: int) -> int:
        await a_moment()
        returned.add(label)
        return label

    async with running(docket, name="A"), running(docket, name="B"):
        for label in range(1, ROUNDS + 1):
            execution = await docket.add(work, key=KEY)(label)
            assert execution.disposition is Disposition.SCHEDULED
            await anyio.sleep(random.uniform(0, 2 * LONGEST))
            await docket.cancel(KEY)
            heard = await ending(execution, label)
            await wait_for((0, 0), lambda: entries(docket))
            await execution.sync()
            assert execution.state is (ExecutionState.COMPLETED if label in returned else ExecutionState.CANCELLED)
            assert heard is execution.state
            # The key is free, and a request that comes late is not taken for one about the next run.
            following = await docket.add(work, key=KEY)(-label)
            assert following.disposition is Disposition.SCHEDULED
            assert await ending(following, -label) is ExecutionState.COMPLETED
            await wait_for((0, 0), lambda: entries(docket))


async def ending(execution: Execution[T], result: T | None = None) -> ExecutionState:
    """Wait for the end that an execution has for who waits for it."""
    try:
        assert await execution.get_result(timeout=timedelta(seconds=5)) == result
    except ExecutionCancelled:
        return ExecutionState.CANCELLED
    return ExecutionState.COMPLETED
