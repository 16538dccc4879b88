"""What ``docket.cancel()`` tells, and what becomes of the request that it makes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from attrs import define, field

from docket_anyio import (
    Cancellation,
    ConcurrencyLimit,
    Docket,
    Execution,
    ExecutionCancelled,
    ExecutionState,
    Perpetual,
    Retry,
    Worker,
)
from docket_anyio.abc import Delivery
from docket_anyio.dependencies import CurrentDocket, TaskKey
from docket_anyio.exceptions import InvalidKey, InvalidSetting
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, running

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@define
class Stage:
    """A body that waits to be stopped, for longer if it is held, and then does what it is to do then."""

    started: anyio.Event = field(factory=anyio.Event)
    told: anyio.Event = field(factory=anyio.Event)
    let_go: anyio.Event = field(factory=anyio.Event)
    runs: int = 0
    held: bool = False
    then: Callable[[], object] | None = None

    async def body(self) -> object:
        self.runs += 1
        self.started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            self.told.set()
            if self.held:
                with anyio.CancelScope(shield=True):
                    await self.let_go.wait()
            if self.then is None:
                raise
            return self.then()  # noqa: ASYNC104 - that is what it is for


@asynccontextmanager
async def at_work(docket: Docket, stage: Stage, **options: Any) -> AsyncGenerator[Execution[Any]]:
    """A run of the stage's body that has begun."""
    execution = await docket.add(stage.body, key="K")()
    async with running(docket, **options):
        with anyio.fail_after(5):
            await stage.started.wait()
        yield execution
        stage.let_go.set()


def fail() -> None:
    raise ValueError("in the clean-up")


async def reason_of(execution: Execution[Any]) -> str | None:
    with anyio.fail_after(5), pytest.raises(ExecutionCancelled) as caught:
        await execution.get_result()
    assert caught.value.key == execution.key
    return caught.value.reason


# --- what it tells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [None, HOUR], ids=["at once", "patient"])
async def test_of_what_does_not_run_it_tells_at_once(docket: Docket, grace: timedelta | None) -> None:
    stage = Stage()
    assert await docket.cancel("K", grace=grace) is Cancellation.UNKNOWN
    await docket.add(stage.body, key="queued")()
    await docket.add(stage.body, when=datetime.now(UTC) + HOUR, key="scheduled")()
    for key in ("queued", "scheduled"):
        assert await docket.cancel(key, grace=grace) is Cancellation.NEVER_STARTED
    async with Worker(docket) as worker:
        await worker.run_until_finished()
    assert stage.runs == 0
    for key in ("queued", "scheduled"):
        assert await docket.cancel(key, grace=grace) is Cancellation.ALREADY_FINISHED


async def test_of_what_runs_it_tells_that_it_was_asked_to_stop(docket: Docket) -> None:
    stage = Stage(held=True)
    async with at_work(docket, stage) as execution:
        for _ in range(2):
            assert await docket.cancel("K") is Cancellation.REQUESTED
        await stage.told.wait()
        await execution.sync()
        assert execution.state is ExecutionState.RUNNING  # and that is what it does
        assert execution.completed_at is None
        stage.let_go.set()
        assert await reason_of(execution) is None
    assert await docket.cancel("K") is Cancellation.ALREADY_FINISHED


@pytest.mark.parametrize(
    ("then", "came"),
    [
        (None, Cancellation.STOPPED),
        (lambda: "returned all the same", Cancellation.FINISHED_FIRST),
        (fail, Cancellation.FINISHED_FIRST),
    ],
    ids=["stops", "completes", "fails"],
)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
async def test_whoever_waits_is_told_how_it_ended(
    anyio_backend: object, store: Store, then: Callable[[], object] | None, came: Cancellation, *, kept: bool
) -> None:
    stage = Stage(then=then)
    options = {} if kept else {"execution_ttl": timedelta(0)}
    async with open_docket(store, **options) as docket, at_work(docket, stage):
        with anyio.fail_after(5):
            assert await docket.cancel("K", grace=HOUR) is came


@virtual_time
async def test_a_body_that_does_not_stop_is_still_running_and_nothing_else_is_said(docket: Docket) -> None:
    stage, watch = Stage(held=True), Stopwatch()
    async with at_work(docket, stage) as execution:
        assert await docket.cancel("K", grace=MINUTE) is Cancellation.STILL_RUNNING
        assert watch.seconds() == pytest.approx(61, abs=0.1)
        await execution.sync()
        assert execution.state is ExecutionState.RUNNING
        assert await docket.cancel("K", grace=MINUTE) is Cancellation.STILL_RUNNING
        stage.let_go.set()
        assert await docket.cancel("K", grace=MINUTE) is Cancellation.STOPPED


async def test_a_body_that_cancels_its_own_key_does_not_wait_for_itself(docket: Docket) -> None:
    told: list[Cancellation] = []

    async def body(docket: Docket = CurrentDocket(), key: str = TaskKey()) -> None:
        told.append(await docket.cancel(key, reason="enough", grace=HOUR))
        await anyio.sleep_forever()

    execution = await docket.add(body)()
    async with running(docket):
        assert await reason_of(execution) == "enough"
    assert told == [Cancellation.REQUESTED]


async def test_a_body_waits_for_another(docket: Docket) -> None:
    stage = Stage()

    async def canceller(docket: Docket = CurrentDocket()) -> Cancellation:
        return await docket.cancel("K", grace=HOUR)

    async with at_work(docket, stage):
        with anyio.fail_after(5):
            assert await (await docket.add(canceller)()).get_result() is Cancellation.STOPPED


async def test_of_a_key_that_is_added_again_meanwhile_no_end_can_be_told(docket: Docket) -> None:
    stage, came = Stage(held=True), list[Cancellation]()

    async def cancel() -> None:
        came.append(await docket.cancel("K", grace=HOUR))

    async with at_work(docket, stage, concurrency=1), anyio.create_task_group() as group:
        group.start_soon(cancel)
        await stage.told.wait()
        await docket.add(nothing, key="K")()
        stage.let_go.set()
    assert came == [Cancellation.REQUESTED]


async def nothing() -> None: ...


async def test_what_cannot_be_asked_for(docket: Docket) -> None:
    with pytest.raises(InvalidSetting, match="grace"):
        await docket.cancel("K", grace=-SECOND)
    with pytest.raises(InvalidKey):
        await docket.cancel("stream")


# --- the reason ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [None, HOUR], ids=["at once", "patient"])
async def test_the_reason_reaches_who_asks_for_the_result(docket: Docket, grace: timedelta | None) -> None:
    later = await docket.add(nothing, when=datetime.now(UTC) + HOUR)()
    await docket.cancel(later.key, reason="not today")
    assert await reason_of(later) == "not today"
    async with at_work(docket, Stage()) as execution:
        await docket.cancel("K", reason="the customer has left", grace=grace)
        with pytest.raises(ExecutionCancelled, match=r"^the execution 'K' was cancelled: the customer has left$"):
            await execution.get_result()


async def test_where_nothing_is_kept_the_announcement_has_the_reason(anyio_backend: object, store: Store) -> None:
    reasons: list[str | None] = []

    async def wait(execution: Execution[Any]) -> None:
        reasons.append(await reason_of(execution))

    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        stage = Stage(held=True)
        async with at_work(docket, stage) as execution, anyio.create_task_group() as group:
            group.start_soon(wait, execution)
            await docket.cancel("K", reason="enough")
            with anyio.fail_after(5):
                await stage.told.wait()
            await anyio.sleep(0.05)  # until it is subscribed
            stage.let_go.set()
    assert reasons == ["enough"]


async def test_events_tell_the_reason(docket: Docket) -> None:
    async with at_work(docket, Stage()) as execution, execution.events() as events:
        await docket.cancel("K", reason="enough")
        assert [event.get("reason") async for event in events if event["type"] == "state"] == [None, "enough"]
    async with execution.events() as events:
        assert (await anext(events)).get("reason") == "enough"


async def test_the_log_tells_the_reason(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "docket_anyio.worker"):
        async with at_work(docket, Stage()):
            await docket.cancel("K", reason="the customer has left", grace=HOUR)
    (line,) = (each for each in caplog.records if each.getMessage().startswith("✗"))
    assert line.getMessage().endswith("body{K} (cancelled: the customer has left)")
    assert vars(line)["docket.cause"] == "cancelled"


# --- it is kept ---------------------------------------------------------------------------------------------------


async def ask_unheard(docket: Docket, reason: str) -> None:
    """Make a request whose announcement is lost."""
    async with docket.redis() as redis:
        runs = docket.runs_key("K")
        generation = await redis.hget(runs, "generation")
        await redis.hset(runs, mapping={"anyio:cancel_requested": generation, "anyio:cancel_reason": reason.encode()})


@virtual_time
async def test_a_request_that_nobody_heard_is_seen_when_the_lease_is_renewed(docket: Docket) -> None:
    watch = Stopwatch()
    async with at_work(docket, Stage(), redelivery_timeout=MINUTE) as execution:
        await ask_unheard(docket, "unheard")
        with pytest.raises(ExecutionCancelled, match="unheard"):
            await execution.get_result()
    assert watch.seconds() <= 15.1


@pytest.mark.parametrize("how", ["fails", "is drained", "is handed back", "goes on later", "waits for a slot"])
async def test_a_request_that_nobody_heard_is_honoured_whatever_the_run_does(docket: Docket, how: str) -> None:
    stage, runs = Stage(), list[int]()

    async def body(
        retry: Retry = Retry(attempts=3),
        perpetual: Perpetual | None = Perpetual(every=HOUR) if how == "goes on later" else None,
    ) -> None:
        runs.append(retry.attempt)
        stage.started.set()
        await stage.let_go.wait()
        if how == "fails":
            raise ValueError

    async def alone(limit: ConcurrencyLimit = ConcurrencyLimit()) -> None: ...

    if how == "waits for a slot":
        async with docket.redis() as redis:
            await redis.zadd(f"{docket.name}:concurrency:alone", {"another": (await redis.time())[0]})
            await redis.expire(f"{docket.name}:concurrency:alone", 60)
        execution: Execution[Any] = await docket.add(alone, key="K")()
        async with docket.broker.open_intake("dead") as intake:
            (delivery,) = await intake.claim(1, wait=SECOND)
        assert isinstance(delivery, Delivery)
        await docket.broker.queue.start(delivery, "dead", docket.broker.clock.now())
        await ask_unheard(docket, how)
        async with running(docket, redelivery_timeout=timedelta(milliseconds=50)):
            assert await reason_of(execution) == how
        return
    execution = await docket.add(body, key="K")()
    async with running(docket, grace=timedelta(0) if how == "is handed back" else MINUTE) as worker:
        await stage.started.wait()
        await ask_unheard(docket, how)
        worker.stop()
        if how != "is handed back":
            stage.let_go.set()
    await execution.sync()
    ended = ExecutionState.COMPLETED if how == "is drained" else ExecutionState.CANCELLED
    assert (execution.state, runs) == (ended, [1])
    async with docket.redis() as redis:
        assert await redis.xlen(docket.stream_key) == 0
