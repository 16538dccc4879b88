"""Tasks that are rate limited, cooled down or debounced, and all of it together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import (
    ConcurrencyLimit,
    Cooldown,
    Cron,
    Debounce,
    Docket,
    Execution,
    ExecutionState,
    Perpetual,
    RateLimit,
    Retry,
    Worker,
)
from docket_anyio.exceptions import ExecutionCancelled, InvalidSetting, InvalidTask
from tests.clocks import virtual_time
from tests.dockets import run_all, running

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


async def ended(executions: list[Execution[Any]]) -> list[str]:
    """How each of them has ended."""
    ends: list[str] = []
    for each in executions:
        with anyio.fail_after(3600):
            try:
                ends.append(str(await each.get_result()))
            except ExecutionCancelled:
                ends.append("dropped")
    return ends


@virtual_time
async def test_a_rate_limit_lets_so_many_begin_in_any_window(docket: Docket) -> None:
    begun: list[float] = []

    async def work(rate: RateLimit = RateLimit(3, per=MINUTE)) -> None:
        begun.append(anyio.current_time())

    async with running(docket, name="A"), running(docket, name="B"):
        executions = [await docket.add(work)() for _ in range(10)]
        assert await ended(executions) == ["None"] * 10
    for earlier, later in zip(begun, begun[3:], strict=False):
        assert later - earlier >= 60
    assert begun[-1] - begun[0] == pytest.approx(180, abs=0.1)


async def test_a_rate_limit_for_real(docket: Docket) -> None:
    begun: list[float] = []

    async def work(rate: RateLimit = RateLimit(2, per=timedelta(milliseconds=100))) -> None:
        begun.append(anyio.current_time())

    async with running(docket):
        executions = [await docket.add(work)() for _ in range(5)]
        with anyio.fail_after(4):
            await ended(executions)
    assert begun[-1] - begun[0] >= 0.12  # two windows, but for how long a body takes to begin


@virtual_time
async def test_a_rate_limit_may_drop_what_is_too_much(docket: Docket) -> None:
    async def work(rate: RateLimit = RateLimit(2, per=MINUTE, drop=True)) -> str:
        return "ran"

    async with running(docket):
        executions = [await docket.add(work)() for _ in range(4)]
        assert sorted(await ended(executions)) == ["dropped", "dropped", "ran", "ran"]
        await anyio.sleep(61)
        assert await ended([await docket.add(work)()]) == ["ran"]


@virtual_time
async def test_what_a_rate_limit_defers_keeps_its_attempt_and_its_key(docket: Docket) -> None:
    attempts: list[int] = []

    async def work(rate: RateLimit = RateLimit(1, per=MINUTE), retry: Retry = Retry(attempts=2)) -> None:
        attempts.append(retry.attempt)
        if retry.attempt == 1:
            raise ValueError("no")

    async with running(docket):
        execution = await docket.add(work, key="one")()
        await anyio.sleep(1)
        await execution.sync()
        assert execution.state is ExecutionState.SCHEDULED
        assert [each.attempt for each in (await docket.snapshot()).future] == [2]
        assert await ended([execution]) == ["None"]
    assert attempts == [1, 2]


@virtual_time
async def test_what_is_deferred_can_be_cancelled(docket: Docket) -> None:
    runs: list[int] = []

    async def work(number: int, rate: RateLimit = RateLimit(1, per=MINUTE)) -> None:
        runs.append(number)

    async with running(docket):
        await docket.add(work)(1)
        await anyio.sleep(1)
        execution = await docket.add(work)(2)
        await anyio.sleep(1)
        await docket.cancel(execution.key)
        assert await ended([execution]) == ["dropped"]
        await anyio.sleep(120)
    assert runs == [1]


@virtual_time
async def test_a_cooldown_runs_the_first_and_drops_the_others(docket: Docket) -> None:
    async def work(number: int, cooldown: Cooldown = Cooldown(MINUTE)) -> int:
        await anyio.sleep(5)
        return number

    async with running(docket):
        executions = []
        for number in range(5):
            executions.append(await docket.add(work)(number))
            await anyio.sleep(25)
        assert await ended(executions) == ["0", "dropped", "dropped", "3", "dropped"]


@virtual_time
async def test_a_retry_is_not_dropped_by_the_cooldown_of_its_own_first_attempt(docket: Docket) -> None:
    async def work(cooldown: Cooldown = Cooldown(MINUTE), retry: Retry = Retry(attempts=3, delay=SECOND)) -> int:
        if retry.attempt < 3:
            raise ValueError("no")
        return retry.attempt

    async with running(docket):
        assert await ended([await docket.add(work)()]) == ["3"]


@virtual_time
async def test_what_is_delivered_again_is_not_dropped_by_its_own_cooldown(docket: Docket) -> None:
    """Its first worker died in the middle."""

    async def work(cooldown: Cooldown = Cooldown(timedelta(hours=1))) -> str:
        return "ran"

    execution = await docket.add(work, key="one")()
    async with docket.redis() as redis:
        await redis.xgroup_create(docket.stream_key, "docket-workers", "0-0", mkstream=True)
        await redis.xreadgroup("docket-workers", "dead", {docket.stream_key: ">"})
        await redis.set(f"{docket.name}:cooldown:work", "1", px=3_600_000)
    async with running(docket, redelivery_timeout=MINUTE):
        assert await ended([execution]) == ["ran"]
        assert await ended([await docket.add(work)()]) == ["dropped"]


@virtual_time
async def test_a_debounce_runs_the_first_when_no_more_come(docket: Docket) -> None:
    ran: list[tuple[int, float]] = []
    begin = anyio.current_time()

    async def work(number: int, debounce: Debounce = Debounce(10 * SECOND)) -> int:
        ran.append((number, anyio.current_time() - begin))
        return number

    async with running(docket):
        executions = []
        for number in range(5):
            executions.append(await docket.add(work)(number))
            await anyio.sleep(4)
        assert await ended(executions) == ["0", "dropped", "dropped", "dropped", "dropped"]
        executions = [await docket.add(work)(number) for number in (7, 7)]
        assert sorted(await ended(executions)) == ["7", "dropped"]
    assert ran[0] == (0, pytest.approx(26, abs=0.1))
    assert len(ran) == 2


@virtual_time
async def test_a_debounced_run_that_is_cancelled_does_not_take_the_others_with_it(docket: Docket) -> None:
    async def work(number: int, debounce: Debounce = Debounce(10 * SECOND)) -> int:
        return number

    async with running(docket):
        first = await docket.add(work)(1)
        await anyio.sleep(1)
        second = await docket.add(work)(2)
        await anyio.sleep(1)
        await docket.cancel(first.key)
        third = await docket.add(work)(3)
        assert await ended([first, second, third]) == ["dropped", "dropped", "3"]


@virtual_time
async def test_debounce_and_cooldown_together(docket: Docket) -> None:
    """The first is debounced, and is not dropped by a cooldown that it has begun itself when it was."""

    async def work(
        number: int, cooldown: Cooldown = Cooldown(timedelta(minutes=5)), debounce: Debounce = Debounce(10 * SECOND)
    ) -> int:
        return number

    async with running(docket):
        executions = [await docket.add(work)(1)]
        await anyio.sleep(1)
        executions.append(await docket.add(work)(2))
        assert await ended(executions) == ["1", "dropped"]
        assert await ended([await docket.add(work)(3)]) == ["dropped"]


@virtual_time
async def test_a_cooldown_begins_when_a_run_does_and_not_when_it_waits(docket: Docket) -> None:
    async def hold(where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where")) -> None:
        await anyio.sleep(30)

    async def work(
        where: str,
        cooldown: Cooldown = Cooldown(MINUTE),
        limit: ConcurrencyLimit = ConcurrencyLimit("where"),
    ) -> str:
        return "ran"

    async with running(docket):
        await docket.add(hold)("x")
        await anyio.sleep(1)
        first = await docket.add(work)("x")
        await anyio.sleep(1)
        second = await docket.add(work)("x")
        assert await ended([first, second]) == ["ran", "dropped"]


@virtual_time
async def test_what_waits_for_a_slot_is_not_counted_by_a_rate_limit(docket: Docket) -> None:
    begun: list[float] = []

    async def work(
        limit: ConcurrencyLimit = ConcurrencyLimit(), rate: RateLimit = RateLimit(2, per=timedelta(minutes=10))
    ) -> None:
        begun.append(anyio.current_time())
        await anyio.sleep(30)

    async with running(docket):
        executions = []
        for _ in range(3):
            executions.append(await docket.add(work)())
            await anyio.sleep(1)
        await ended(executions)
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert gaps == [pytest.approx(30, abs=0.1), pytest.approx(570, abs=0.1)]


@virtual_time
async def test_a_woken_run_that_is_then_dropped_lets_the_next_go_on(docket: Docket) -> None:
    async def hold(where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where")) -> None:
        await anyio.sleep(30)

    async def work(
        where: str, cooldown: Cooldown = Cooldown(MINUTE), limit: ConcurrencyLimit = ConcurrencyLimit("where")
    ) -> str:
        return "ran"

    async with running(docket):
        await docket.add(hold)("x")
        await anyio.sleep(1)
        executions = []
        for task in (work, work, work, hold):
            executions.append(await docket.add(task)("x"))
            await anyio.sleep(1)
        begin = anyio.current_time()
        assert await ended(executions) == ["ran", "dropped", "dropped", "None"]
        assert anyio.current_time() - begin < 60


@virtual_time
async def test_a_perpetual_task_goes_on_after_it_was_deferred_or_has_waited(docket: Docket) -> None:
    begun: list[float] = []

    async def work(
        perpetual: Perpetual = Perpetual(every=SECOND),
        rate: RateLimit = RateLimit(1, per=MINUTE),
        limit: ConcurrencyLimit = ConcurrencyLimit(),
    ) -> None:
        begun.append(anyio.current_time())
        if len(begun) == 4:
            perpetual.cancel()

    await docket.add(work)()
    await run_all(docket)
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert gaps == pytest.approx([60, 60, 60], abs=0.1)


@virtual_time
async def test_a_perpetual_task_that_is_dropped_ends_and_an_automatic_one_comes_back(docket: Docket) -> None:
    begun: list[str] = []

    async def work(perpetual: Perpetual = Perpetual(every=SECOND), cooldown: Cooldown = Cooldown(MINUTE)) -> None:
        begun.append("work")

    async def automatic(cron: Cron = Cron("* * * * *"), cooldown: Cooldown = Cooldown(90 * SECOND)) -> None:
        begun.append("automatic")

    docket.register(automatic)
    async with running(docket):
        await docket.add(work)()
        await anyio.sleep(600)
        await docket.cancel("automatic")
    assert begun.count("work") == 1
    assert 4 <= begun.count("automatic") <= 6


@virtual_time
async def test_what_run_at_most_counts_are_runs(docket: Docket) -> None:
    runs: list[int] = []

    async def work(perpetual: Perpetual = Perpetual(), rate: RateLimit = RateLimit(1, per=MINUTE)) -> None:
        runs.append(1)

    await docket.add(work, key="counted")()
    async with Worker(docket) as worker:
        await worker.run_at_most({"counted": 3})
    assert runs == [1, 1, 1]


@virtual_time
async def test_two_runs_of_a_task_do_not_share_what_they_were_told(docket: Docket) -> None:
    seen: list[tuple[str, str]] = []

    async def work(
        customer: str,
        limit: ConcurrencyLimit = ConcurrencyLimit("customer"),
        rate: RateLimit = RateLimit(100, per=MINUTE),
    ) -> None:
        await anyio.sleep(1)
        seen.append((customer, limit.concurrency_key))

    async with running(docket):
        await ended([await docket.add(work)(each) for each in "abc"])
    assert sorted(seen) == [(each, f"{docket.name}:concurrency:customer:{each}") for each in "abc"]


async def test_each_argument_is_on_its_own_where_it_is_annotated(docket: Docket) -> None:
    rate = RateLimit(1, per=MINUTE).bind_to_parameter("customer", 7)
    assert rate.gate("work", {"customer": 7}).name == "customer:7"
    assert Cooldown(MINUTE).bind_to_parameter("customer", 7).gate("work", {"customer": 8}).name == "customer:8"
    assert Debounce(MINUTE).gate("work", {"customer": 8}).name == "work"
    limit = ConcurrencyLimit(3).bind_to_parameter("customer", 7).gate("work", {"customer": 7})
    assert (limit.name, limit.limit) == ("customer:7", 3)
    assert ConcurrencyLimit("other").bind_to_parameter("customer", 7).argument_name == "other"
    with pytest.raises(InvalidSetting, match="'customer'"):
        rate.gate("work", {})

    async def work(cooldown: Cooldown = Cooldown(MINUTE).bind_to_parameter("customer", 7)) -> None: ...

    with pytest.raises(InvalidTask, match="'customer'"):
        docket.register(work)


def test_what_cannot_be_a_limit() -> None:
    wrong: list[Callable[[], object]] = [
        lambda: RateLimit(0, per=MINUTE),
        lambda: RateLimit(1, per=timedelta(0)),
        lambda: RateLimit(1, per=timedelta(microseconds=1)),
        lambda: Cooldown(timedelta(0)),
        lambda: Cooldown(-SECOND),
        lambda: Debounce(timedelta(microseconds=999)),
    ]
    for each in wrong:
        with pytest.raises(InvalidSetting):
            each()
