"""Tasks that expire: they are run in time, or not at all."""

from __future__ import annotations

import itertools
import pickle
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from docket_anyio import (
    ConcurrencyLimit,
    Disposition,
    Docket,
    Execution,
    ExecutionCancelled,
    ExecutionState,
    Perpetual,
    Retry,
)
from docket_anyio.abc import DropReason
from docket_anyio.exceptions import DocketError, ExecutionExpired, InvalidSetting, InvalidTime, NotHonoured
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import contents, open_docket, run_all, running
from tests.worker.instruments import Drops

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


async def give(value: str) -> str:
    return value


def now(docket: Docket) -> datetime:
    return docket.broker.clock.now()


async def assert_expired(execution: Execution[str]) -> None:
    with pytest.raises(ExecutionExpired, match=f"'{execution.key}' had not begun when it expired"):
        await execution.get_result()
    assert execution.state is ExecutionState.CANCELLED
    assert execution.error == "ExecutionExpired: it had not begun when it expired"
    assert execution.started_at is None


async def test_what_is_run_in_time_gives_its_result(docket: Docket) -> None:
    execution = await docket.add(give, expires=HOUR)("value")
    await run_all(docket)
    assert await execution.get_result() == "value"


async def test_what_waited_for_too_long_is_not_run(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    drops = Drops()
    execution = await docket.add(give, expires=timedelta(milliseconds=1))("value")
    await anyio.sleep(0.01)
    await run_all(docket, instruments=[drops])
    await assert_expired(execution)
    assert drops.reasons == [DropReason.EXPIRED]
    assert f"give{{{execution.key}}} (expired)" in caplog.text


async def test_who_waits_for_the_result_is_told(docket: Docket) -> None:
    execution = await docket.add(give, expires=timedelta(milliseconds=1))("value")
    await anyio.sleep(0.01)
    async with execution.events() as events, running(docket):
        await assert_expired(execution)
        states = [event async for event in events if event["type"] == "state"]
    assert states[-1]["state"] is ExecutionState.CANCELLED
    assert states[-1]["error"] == "ExecutionExpired: it had not begun when it expired"


async def test_who_waits_is_told_where_nothing_is_kept(store: Store, anyio_backend: object) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        execution = await docket.add(give, when=now(docket) + SECOND / 2, expires=timedelta(microseconds=1))("value")
        async with anyio.create_task_group() as group:

            async def work() -> None:
                async with running(docket):
                    await waited.wait()

            waited = anyio.Event()
            group.start_soon(work)
            with pytest.raises(ExecutionExpired):
                await execution.get_result()
            waited.set()


def test_what_expired_was_cancelled() -> None:
    assert issubclass(ExecutionExpired, ExecutionCancelled)


@virtual_time
async def test_the_time_counts_from_when_it_is_due(docket: Docket) -> None:
    execution = await docket.add(give, when=now(docket) + HOUR, expires=MINUTE)("value")
    assert execution.expires == execution.when + MINUTE
    async with running(docket):
        assert await execution.get_result() == "value"


@virtual_time
async def test_one_that_was_due_before_has_its_time_from_now(docket: Docket) -> None:
    execution = await docket.add(give, when=now(docket) - HOUR, expires=MINUTE)("value")
    await anyio.sleep(55)
    await run_all(docket)
    assert await execution.get_result() == "value"


@virtual_time
async def test_a_time_may_be_given(docket: Docket) -> None:
    late = await docket.add(give, expires=now(docket) + MINUTE)("late")
    in_time = await docket.add(give, expires=now(docket) + HOUR)("in time")
    await anyio.sleep(65)
    await run_all(docket)
    await assert_expired(late)
    assert await in_time.get_result() == "in time"


@virtual_time
async def test_each_of_many_and_what_replaces_others_may_expire(docket: Docket) -> None:
    later = now(docket) + SECOND
    calls = [docket.call(give, later, "a", expires=MINUTE)("a"), docket.call("give", later, "b")("b")]
    await docket.add_many(calls)
    await docket.add(give, later, "c")("c")
    a, b = await docket.replace_many(calls)
    c = await docket.replace(give, later, "c", expires=MINUTE)("c")
    assert [each.expires for each in (a, b, c)] == [later + MINUTE, None, later + MINUTE]
    await anyio.sleep(65)
    await run_all(docket)
    await assert_expired(a)
    await assert_expired(c)
    assert await b.get_result() == "b"


async def test_a_handle_that_is_found_again_knows_it(docket: Docket) -> None:
    execution = await docket.add(give, key="K", expires=HOUR)("value")
    found = await docket.get_execution("K")
    assert found is not None
    assert execution.expires is not None
    assert found.expires is not None
    assert abs(found.expires - execution.expires) < timedelta(milliseconds=1)
    await docket.add(give, key="plain")("value")
    plain = await docket.get_execution("plain")
    assert plain is not None
    assert plain.expires is None


@virtual_time
async def test_an_execution_made_by_hand_may_expire(docket: Docket) -> None:
    docket.register(give)
    begun = now(docket)
    execution = Execution(docket, give, ("value",), {}, "K", begun, expires=begun + MINUTE)
    await execution.schedule()
    await anyio.sleep(65)
    assert not await execution.claim("W")
    await assert_expired(execution)


@virtual_time
async def test_a_retry_that_is_due_too_late_is_not_made(docket: Docket) -> None:
    attempts = itertools.count(1)

    async def flaky(retry: Retry = Retry(attempts=10, delay=MINUTE)) -> None:
        next(attempts)
        raise ValueError("again")

    execution = await docket.add(flaky, expires=MINUTE * 2.5)()
    async with running(docket):
        with pytest.raises(ExecutionExpired):
            await execution.get_result()
    assert next(attempts) == 4


@virtual_time
async def test_an_expiry_is_about_one_run_of_a_perpetual_task(docket: Docket) -> None:
    runs: list[float] = []

    async def poll(perpetual: Perpetual = Perpetual(every=HOUR)) -> None:
        runs.append(anyio.current_time())
        if len(runs) == 3:
            perpetual.cancel()

    await docket.add(poll, key="poll", expires=MINUTE)()
    await run_all(docket)
    assert [later - earlier for earlier, later in itertools.pairwise(runs)] == pytest.approx([3600, 3600], abs=0.1)


@virtual_time
async def test_what_waits_in_line_for_too_long_expires_and_the_next_goes_on(docket: Docket) -> None:
    async def work(value: str, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=1)) -> str:
        await anyio.sleep(120)
        return value

    async with running(docket):
        first = await docket.add(work)("first")
        await anyio.sleep(1)
        late = await docket.add(work, expires=MINUTE)("late")
        await anyio.sleep(1)
        last = await docket.add(work)("last")
        assert await first.get_result() == "first"
        await assert_expired(late)
        with anyio.fail_after(121):
            assert await last.get_result() == "last"


# --- bad input ----------------------------------------------------------------------------------------------------


async def test_what_is_no_time_to_expire(docket: Docket) -> None:
    for nothing in (timedelta(0), -SECOND):
        with pytest.raises(InvalidSetting, match="expires must be longer than zero"):
            docket.add(give, expires=nothing)
        with pytest.raises(InvalidSetting, match="expires must be longer than zero"):
            docket.replace(give, datetime.now(UTC), "K", expires=nothing)
        with pytest.raises(InvalidSetting, match="expires must be longer than zero"):
            docket.call(give, expires=nothing)
    with pytest.raises(InvalidTime, match=r"expires is .* which has no time zone"):
        docket.add(give, expires=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


async def test_what_would_expire_before_it_is_due(docket: Docket) -> None:
    docket.register(give)
    before = await contents(docket)
    due = now(docket) + HOUR
    too_early = docket.add(give, due, expires=due)
    with pytest.raises(InvalidSetting, match=r"the task is not due before .*; let it expire later"):
        await too_early("value")
    with pytest.raises(InvalidSetting):
        await docket.add(give, expires=now(docket) - SECOND)("value")
    with pytest.raises(InvalidSetting):
        await docket.add_many([docket.call(give)("fine"), docket.call(give, due, expires=due - SECOND)("value")])
    with pytest.raises(InvalidSetting):
        await docket.schedule(Execution(docket, give, ("value",), {}, "K", due, expires=due))
    assert await contents(docket) == before


async def test_it_is_refused_where_a_worker_would_not_honour_it(docket: Docket) -> None:
    async with docket.redis() as redis:
        await redis.zadd(docket.workers_set, {"theirs": now(docket).timestamp()})
        with pytest.raises(NotHonoured, match="would not honour the expiry") as caught:
            await docket.add(give, expires=MINUTE)("value")
        expiring, plain = await docket.add_many([docket.call(give, expires=MINUTE)("a"), docket.call(give)("b")])
        await redis.zrem(docket.workers_set, "theirs")
    assert isinstance(caught.value, DocketError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert expiring.disposition is Disposition.FAILED
    assert isinstance(expiring.schedule_exception, NotHonoured)
    assert plain.disposition is Disposition.SCHEDULED
    assert (await docket.add(give, expires=MINUTE)("value")).disposition is Disposition.SCHEDULED
    await run_all(docket)


async def test_our_own_workers_honour_it(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(give, expires=MINUTE)("value")
        assert await execution.get_result() == "value"
