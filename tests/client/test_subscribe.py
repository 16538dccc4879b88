"""Following an execution: how it stands, every change, the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
import redis.exceptions

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState, Perpetual, Progress, Retry, Worker
from docket_anyio._model.events import ExecutionEvent
from docket_anyio.exceptions import ExecutionGone, RedisUnavailable
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, running
from tests.redis.proxy import Proxy, open_proxy
from tests.servers import RedisServer
from tests.stage import Stage

SCHEDULED, QUEUED, RUNNING = ExecutionState.SCHEDULED, ExecutionState.QUEUED, ExecutionState.RUNNING
COMPLETED, FAILED, CANCELLED = ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED
HOUR = timedelta(hours=1)
PATIENCE = 4  # less than the backstop, so that nothing here is seen through it

Follow = Callable[[Execution[Any]], AsyncGenerator[ExecutionEvent]]


async def give(value: Any = None) -> Any:
    return value


async def by_block(execution: Execution[Any]) -> AsyncGenerator[ExecutionEvent]:
    async with execution.events() as events:
        async for event in events:
            yield event  # noqa: ASYNC119 - the block holds no cancel scope and no task


def by_generator(execution: Execution[Any]) -> AsyncGenerator[ExecutionEvent]:
    return execution.subscribe()


@pytest.fixture(params=[by_block, by_generator], ids=["events", "subscribe"])
def follow(request: pytest.FixtureRequest) -> Follow:
    result: Follow = request.param
    return result


@asynccontextmanager
async def followed(execution: Execution[Any]) -> AsyncGenerator[list[ExecutionEvent]]:
    """What is told of an execution, from here to its end, which the block is left with."""
    found: list[ExecutionEvent] = []
    async with execution.events() as events, anyio.create_task_group() as group:

        async def read() -> None:
            async for event in events:
                found.append(event)  # noqa: PERF401 - as each comes

        group.start_soon(read)
        yield found
        group.cancel_scope.deadline = anyio.current_time() + PATIENCE
    assert not group.cancel_scope.cancelled_caught, f"no end after {found}"


@asynccontextmanager
async def changes(execution: Execution[Any]) -> AsyncGenerator[AsyncIterator[ExecutionEvent]]:
    """What is told of an execution after how it stands and how far it has come."""
    async with execution.events() as events:
        for _ in range(2):
            await anext(events)
        yield events


@asynccontextmanager
async def behind_a_proxy(server: RedisServer) -> AsyncGenerator[tuple[Proxy, Docket, Execution[Any]]]:
    """An execution whose docket can lose its Redis, with a docket that cannot."""
    name = f"docket-{uuid4().hex}"
    async with (
        open_proxy(server.port) as proxy,
        Docket(name, server.url) as docket,
        Docket(name, proxy.url) as far,
    ):
        await later(docket)
        execution = await far.get_execution("one")
        assert execution is not None
        yield proxy, docket, execution


def states(events: list[ExecutionEvent]) -> list[ExecutionState]:
    return [event["state"] for event in events if event["type"] == "state"]


def counts(events: list[ExecutionEvent]) -> list[int | None]:
    return [event["current"] for event in events if event["type"] == "progress"]


async def later(docket: Docket, key: str = "one") -> Execution[Any]:
    return await docket.add(give, when=datetime.now(UTC) + HOUR, key=key)("value")


async def listeners(docket: Docket, key: str = "one") -> int:
    async with docket.redis() as client:
        found = await client.pubsub_numsub(f"{docket.name}:state:{key}", f"{docket.name}:progress:{key}")
    return sum(count for _, count in found)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that nobody announces."""
    with anyio.fail_after(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - see above
            await anyio.sleep(0.005)


async def until_followed(docket: Docket, *, by: int) -> None:
    """Wait until the server knows so many subscriptions; it hears of the end of one some time after it."""

    async def known() -> bool:
        return await listeners(docket) == 2 * by

    await until(known)


async def until_told(condition: Callable[[], bool]) -> None:
    async def told() -> bool:
        await anyio.lowlevel.checkpoint()
        return condition()

    await until(told)


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_first_how_it_stands_then_how_far_it_has_come(docket: Docket, follow: Follow) -> None:
    execution = await later(docket)
    async with aclosing(follow(execution)) as events:
        first = await anext(events)
        assert first["type"] == "state"
        when = datetime.fromisoformat(first.pop("when"))
        assert when == pytest.approx(execution.when, abs=timedelta(milliseconds=1))
        assert first == {
            "type": "state", "key": "one", "state": SCHEDULED, "worker": None, "started_at": None, "completed_at": None,
            "error": None,
        }  # fmt: skip
        assert await anext(events) == {
            "type": "progress", "key": "one", "current": None, "total": 100, "message": None, "updated_at": None,
        }  # fmt: skip
        await docket.cancel("one")
        last = await anext(events)
        assert last["type"] == "state"
        assert (last["state"], sorted(last)) == (CANCELLED, ["completed_at", "key", "state", "type"])
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(events)


async def test_a_life(docket: Docket, follow: Follow) -> None:
    async def load(progress: Progress = Progress()) -> None:
        await progress.set_total(2)
        await progress.increment()
        await progress.set_message("halfway")
        await progress.increment()

    execution = await docket.add(load, when=datetime.now(UTC) + timedelta(milliseconds=400), key="one")()
    found: list[ExecutionEvent] = []
    async with (
        aclosing(follow(execution)) as events,
        Worker(docket, name="W") as worker,
        anyio.create_task_group() as group,
    ):
        async for event in events:
            found.append(event)
            if len(found) == 2:
                group.start_soon(worker.run_until_finished)
    assert states(found) == [SCHEDULED, QUEUED, RUNNING, COMPLETED]
    assert counts(found) == [None, 0, 1, 1, 2]
    assert [each["type"] for each in found] == ["state", "progress", "state", "state", *["progress"] * 4, "state"]
    assert found[3] == {
        "type": "state", "key": "one", "state": RUNNING, "worker": "W", "started_at": found[3].get("started_at"),
    }  # fmt: skip
    assert execution.state is COMPLETED


async def test_a_failure_says_what_went_wrong(docket: Docket) -> None:
    execution = await docket.add("fail", key="one")("on purpose")
    async with followed(execution) as found, Worker(docket) as worker:
        await worker.run_until_finished()
    assert states(found) == [QUEUED, RUNNING, FAILED]
    assert found[-1].get("error") == "RuntimeError: on purpose"


async def test_what_has_ended_is_told_and_no_more(docket: Docket, follow: Follow) -> None:
    async with running(docket):
        execution = await docket.add(give, key="one")("value")
        await execution.get_result()
        found = [event async for event in follow(execution)]
    assert (states(found), counts(found)) == ([COMPLETED], [None])


async def test_progress_so_far_is_told_first(docket: Docket, follow: Follow) -> None:
    execution = await later(docket)
    await execution.progress.increment(5)
    async with aclosing(follow(execution)) as events:
        found = [await anext(events), await anext(events)]
    assert counts(found) == [5]
    assert found[1].get("updated_at") == execution.progress.updated_at.isoformat()  # type: ignore[union-attr]
    await docket.cancel("one")


async def test_a_retry_is_not_the_end(docket: Docket) -> None:
    async def flaky(progress: Progress = Progress(), retry: Retry = Retry(attempts=3)) -> None:
        await progress.increment(retry.attempt)
        if retry.attempt < 3:
            raise ValueError

    execution = await docket.add(flaky, key="one")()
    async with followed(execution) as found, running(docket):
        await execution.get_result()
    assert states(found) == [QUEUED, RUNNING, QUEUED, RUNNING, QUEUED, RUNNING, COMPLETED]
    assert counts(found) == [None, 1, 2, 3]


async def test_the_end_of_a_run_is_not_the_end_of_a_perpetual_task(docket: Docket) -> None:
    gates = [anyio.Event() for _ in range(3)]
    waiting = list(gates)

    async def poll(perpetual: Perpetual = Perpetual()) -> None:
        await waiting.pop(0).wait()
        if not waiting:
            perpetual.cancel()

    execution = await docket.add(poll, key="one")()
    async with followed(execution) as found, running(docket):
        for number, gate in enumerate(gates):
            await until_told(lambda number=number: states(found).count(COMPLETED) == number)
            gate.set()
        await execution.get_result()
    assert states(found).count(COMPLETED) == 3
    assert states(found)[-1] is COMPLETED
    assert QUEUED in states(found)[3:]


async def test_the_end_of_a_replaced_run_is_not_the_end(docket: Docket) -> None:
    stage = Stage()
    async with running(docket):
        execution = await docket.add(stage.perform, key="one")()
        await stage.started.wait()
        async with followed(execution) as found:
            await docket.replace(give, when=datetime.now(UTC) + HOUR, key="one")("value")
            stage.go_on.set()
            await until_told(lambda: COMPLETED in states(found))
            await docket.cancel("one")
    assert states(found)[:3] == [RUNNING, SCHEDULED, COMPLETED]
    assert states(found)[-2:] == [SCHEDULED, CANCELLED]


async def test_a_running_task_that_is_cancelled(docket: Docket) -> None:
    stage = Stage()
    async with running(docket):
        execution = await docket.add(stage.hang, key="one")()
        await stage.started.wait()
        async with followed(execution) as found:
            await docket.cancel("one")
    assert states(found) == [RUNNING, CANCELLED]


async def _is_waited_for(docket: Docket) -> bool:
    return await listeners(docket) > 0


async def test_who_waits_for_a_scheduled_task_hears_that_it_is_cancelled(docket: Docket) -> None:
    executions = [await later(docket), await docket.get_execution("one")]
    cancelled: list[str] = []

    async def wait(execution: Execution[Any]) -> None:
        with pytest.raises(ExecutionCancelled, match="the execution 'one' was cancelled"):
            await execution.get_result()
        cancelled.append(execution.key)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for execution in executions:
                assert execution is not None
                group.start_soon(wait, execution)
            await until(lambda: _is_waited_for(docket))
            await docket.cancel("one")
    assert cancelled == ["one", "one"]
    with pytest.raises(ExecutionCancelled):
        await (await docket.get_execution("one")).get_result()  # type: ignore[union-attr]


async def test_the_same_is_told_once(docket: Docket) -> None:
    execution = await later(docket)
    async with followed(execution) as found, docket.redis() as client:
        # As pydocket says it: when it is cancelled, and by a worker that refuses it.
        payload = f'{{"type":"state","key":"one","state":"scheduled","when":"{execution.when.isoformat()}"}}'
        for _ in range(2):
            await client.publish(f"{docket.name}:state:one", payload)
        await docket.cancel("one")
    assert states(found) == [SCHEDULED, CANCELLED]


# --- nothing is missed ------------------------------------------------------------------------------------------------


async def test_an_end_that_comes_at_any_moment_is_not_missed(docket: Docket) -> None:
    async with running(docket):
        for checkpoints in range(60):
            execution = await docket.add(give)(checkpoints)
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            async with followed(execution) as found:
                pass
            assert states(found)[-1] is COMPLETED


async def test_once_ready_every_change_is_told(docket: Docket) -> None:
    execution = await later(docket)
    ready = anyio.Event()

    async def work() -> None:
        await ready.wait()
        for _ in range(3):
            await execution.progress.increment()
        await docket.cancel("one")

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            found = [event async for event in execution.subscribe(ready=ready)]
    assert states(found) == [SCHEDULED, CANCELLED]
    assert counts(found) == [None, 1, 2, 3]


async def test_ready_may_be_an_event_of_any_library(docket: Docket) -> None:
    execution = await later(docket)

    class Noted:
        times = 0

        def set(self) -> str:
            self.times += 1
            return "whatever"

    ready = Noted()
    async with execution.events(ready=ready) as events:
        assert ready.times == 1
        await docket.cancel("one")
        found = [event async for event in events]
    assert states(found) == [SCHEDULED, CANCELLED]
    assert ready.times == 1
    async for _ in execution.subscribe(ready=ready):
        assert ready.times == 2


async def test_a_cancelled_wait_takes_no_event(docket: Docket) -> None:
    execution = await later(docket)
    async with changes(execution) as events:
        for number in range(20):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(anext, events)
                    for _ in range(number % 4):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            assert scope.cancelled_caught
        await execution.progress.increment()
        with anyio.fail_after(PATIENCE):
            assert counts([await anext(events)]) == [1]
    await docket.cancel("one")


async def test_many_follow_one(docket: Docket) -> None:
    execution = await later(docket)
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(followed(execution)) for _ in range(20)]
        await execution.progress.increment()
        await docket.cancel("one")
    assert [(states(each), counts(each)) for each in found] == [([SCHEDULED, CANCELLED], [None, 1])] * 20


async def test_garbage_on_the_channels_is_passed_over(docket: Docket) -> None:
    execution = await later(docket)
    async with followed(execution) as found, docket.redis() as client:
        for payload in ("garbage", "{}", '{"type":"state","state":"unheard of"}', b"\xff"):
            await client.publish(f"{docket.name}:state:one", payload)
            await client.publish(f"{docket.name}:progress:one", payload)
        await docket.cancel("one")
    assert states(found) == [SCHEDULED, CANCELLED]


@virtual_time
async def test_an_announcement_that_got_lost(docket: Docket) -> None:
    execution = await later(docket)
    watch = Stopwatch()
    async with changes(execution) as events, docket.redis() as client:
        await client.hset(f"{docket.name}:progress:one", mapping={"current": 5})
        assert counts([await anext(events)]) == [5]
        await client.hset(f"{docket.name}:runs:one", mapping={"state": "cancelled"})
        assert states([await anext(events)]) == [CANCELLED]
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    assert watch.seconds() == pytest.approx(10, abs=0.1)
    assert watch.real_seconds() < 2
    async with docket.redis() as client:
        await client.delete(f"{docket.name}:runs:one", f"{docket.name}:progress:one")
        await client.hset(f"{docket.name}:runs:one", mapping={"state": "scheduled"})
    await docket.cancel("one")


# --- connections that break -------------------------------------------------------------------------------------------


async def test_a_lost_subscription_is_made_up_for(
    anyio_backend: object, redis_server: RedisServer, store: Store
) -> None:
    if store.kind == "memory":
        pytest.skip("has no connection to lose")
    async with open_docket(store) as docket:
        execution = await later(docket)
        async with followed(execution) as found, docket.redis() as client:
            for number in range(1, 4):
                await until_followed(docket, by=1)
                # In one piece, so that it happens while nobody listens.
                async with client.pipeline(transaction=True) as pipe:
                    pipe.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                    pipe.hincrby(f"{docket.name}:progress:one", "current", 1)
                    await pipe.execute()
                await until_told(lambda number=number: number in counts(found))
            await docket.cancel("one")
    assert counts(found) == [None, 1, 2, 3]
    # Nothing is told again that has not changed.
    assert states(found) == [SCHEDULED, CANCELLED]


async def test_redis_is_away_and_comes_back(anyio_backend: object, redis_server: RedisServer) -> None:
    async with behind_a_proxy(redis_server) as (proxy, docket, execution), changes(execution) as events:
        proxy.refuse = True
        await proxy.cut()
        with anyio.fail_after(PATIENCE), pytest.raises(RedisUnavailable):
            await anext(events)
        await docket.cancel("one")
        proxy.refuse = False
        with anyio.fail_after(PATIENCE):
            assert states([event async for event in events]) == [CANCELLED]
        assert execution.state is CANCELLED


async def test_redis_cannot_be_reached(anyio_backend: object, redis_server: RedisServer) -> None:
    async with behind_a_proxy(redis_server) as (proxy, docket, execution):
        proxy.refuse = True
        await proxy.cut()
        with pytest.raises(RedisUnavailable):
            async with execution.events():
                pass
        await docket.cancel("one")


# --- gone -------------------------------------------------------------------------------------------------------------


async def test_nothing_is_known_of_it(docket: Docket, follow: Follow) -> None:
    """pydocket says that it is scheduled, and waits for ever."""
    async with running(docket):
        execution = await docket.add(give, key="one")("value")
        await execution.get_result()
    async with docket.redis() as client:
        await client.delete(f"{docket.name}:runs:one")
    with pytest.raises(ExecutionGone, match="nothing is recorded of the execution 'one'"):
        await anext(follow(execution))


async def test_the_end_is_told_where_nothing_is_kept(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        execution = await docket.add(give, key="one")("value")
        async with followed(execution) as found, Worker(docket) as worker:
            await worker.run_until_finished()
        assert states(found)[-1] is COMPLETED
        execution = await later(docket)
        async with followed(execution) as found:
            await docket.cancel("one")
        assert states(found) == [SCHEDULED, CANCELLED]


@virtual_time
async def test_the_record_is_gone_and_nobody_has_said_why(docket: Docket) -> None:
    execution = await later(docket)
    watch = Stopwatch()
    async with docket.redis() as client, changes(execution) as events:
        await client.delete(f"{docket.name}:runs:one", f"{docket.name}:one")
        await client.zrem(f"{docket.name}:queue", "one")
        with pytest.raises(ExecutionGone):
            await anext(events)
    assert watch.seconds() == pytest.approx(6, abs=0.1)


@virtual_time
async def test_the_record_was_gone_and_there_is_another(docket: Docket) -> None:
    execution = await later(docket)
    async with docket.redis() as client, changes(execution) as events, anyio.create_task_group() as group:
        await client.delete(f"{docket.name}:runs:one")

        async def replace() -> None:
            await anyio.sleep(5.5)
            await docket.replace(give, when=datetime.now(UTC), key="one")("value")
            await anyio.sleep(3)
            await docket.cancel("one")

        group.start_soon(replace)
        assert states([event async for event in events]) == [QUEUED, CANCELLED]


# --- leaving ----------------------------------------------------------------------------------------------------------


async def test_nobody_listens_after_the_block(docket: Docket, follow: Follow) -> None:
    execution = await later(docket)
    async with execution.events() as events:
        assert await listeners(docket) == 2
        async for _ in events:
            break
        assert await listeners(docket) == 2
    await until_followed(docket, by=0)
    async with aclosing(follow(execution)) as generator:
        async for _ in generator:
            assert await listeners(docket) == 2
            break
    await until_followed(docket, by=0)
    with anyio.move_on_after(0.05) as scope:
        async for _ in follow(execution):
            pass
    assert scope.cancelled_caught
    await until_followed(docket, by=0)
    await docket.cancel("one")


async def test_a_block_may_be_entered_in_one_task_and_left_in_another(docket: Docket) -> None:
    execution = await later(docket)
    stack, found = AsyncExitStack(), []

    async def enter() -> None:
        events = await stack.enter_async_context(execution.events())
        found.append(await anext(events))

    async with anyio.create_task_group() as group:  # noqa: ASYNC112 - in a task of its own
        group.start_soon(enter)
    async with anyio.create_task_group() as group:  # noqa: ASYNC112 - in another one
        group.start_soon(stack.aclose)
    assert states(found) == [SCHEDULED]
    await until_followed(docket, by=0)
    await docket.cancel("one")


@pytest.mark.parametrize("error", [redis.exceptions.ConnectionError("mine"), ValueError("mine")])
async def test_an_error_in_the_block_stays_what_it_is(docket: Docket, error: Exception) -> None:
    execution = await later(docket)
    with pytest.raises(type(error), match=r"^mine$") as caught:
        async with execution.events():
            raise error
    assert caught.value is error
    await until_followed(docket, by=0)
    await docket.cancel("one")


async def test_each_event_is_a_checkpoint(docket: Docket) -> None:
    execution = await later(docket)
    async with execution.events() as events:
        for _ in range(2):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anext(events)
            assert scope.cancelled_caught
            await anext(events)
        await docket.cancel("one")
        await anext(events)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert scope.cancelled_caught
