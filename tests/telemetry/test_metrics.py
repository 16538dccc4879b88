"""What is counted, of what workers do and of what users ask of a docket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import pytest

from docket_anyio import ConcurrencyLimit, Docket, Perpetual, RateLimit, Retry, StrikeList, Timeout, Worker
from docket_anyio.dependencies import current_execution
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, run_all, running
from tests.telemetry.seen import Seen
from tests.worker.flaky import flaky_redis

TOMORROW = timedelta(days=1)


async def quick() -> None: ...


async def other() -> None: ...


async def boom() -> None:
    raise ValueError("ouch")


async def flaky(retry: Retry = Retry(attempts=3)) -> None:
    if retry.attempt < 3:
        raise ValueError("not yet")


async def slow(timeout: Timeout = Timeout(timedelta(milliseconds=10))) -> None:
    await anyio.sleep(1000)


def runs(seen: Seen, docket: Docket, task: str) -> dict[str, float]:
    """Return how often what happened to a task; what never did is left out."""
    labels = {"docket__name": docket.name, "docket__worker": "W", "docket__task": task}
    names = "started completed succeeded failed retried perpetuated redelivered running"
    counts = {name: seen.total(f"docket_tasks_{name}", **labels) for name in names.split()}
    return {name: count for name, count in counts.items() if count}


async def test_a_run_that_goes_well(docket: Docket, seen: Seen) -> None:
    await docket.add(quick)()
    await run_all(docket, name="W")
    assert runs(seen, docket, "quick") == {"started": 1, "completed": 1, "succeeded": 1}
    (line,) = seen.points("docket_tasks_started", docket__name=docket.name)
    assert line.labels == {"docket.name": docket.name, "docket.worker": "W", "docket.task": "quick"}


@pytest.mark.parametrize("task", [boom, slow])
async def test_a_run_that_fails(docket: Docket, seen: Seen, task: object) -> None:
    await docket.add(task)()  # type: ignore[call-overload]
    await run_all(docket, name="W")
    assert runs(seen, docket, task.__name__) == {"started": 1, "completed": 1, "failed": 1}


async def test_every_attempt_counts(docket: Docket, seen: Seen) -> None:
    await docket.add(flaky)()
    await run_all(docket, name="W")
    assert runs(seen, docket, "flaky") == {"started": 3, "completed": 3, "failed": 2, "retried": 2, "succeeded": 1}


async def test_a_run_that_is_not_admitted_yet_is_not_retried(docket: Docket, seen: Seen) -> None:
    async def seldom(rate: RateLimit = RateLimit(1, per=timedelta(milliseconds=50))) -> None: ...

    for _ in range(2):
        await docket.add(seldom)()
    await run_all(docket, name="W")
    counts = runs(seen, docket, "seldom")
    assert counts["started"] == counts["completed"] > counts["succeeded"] == 2
    assert "retried" not in counts


async def test_a_perpetual_task(docket: Docket, seen: Seen) -> None:
    async def poll(perpetual: Perpetual = Perpetual()) -> None: ...

    await docket.add(poll, key="poll")()
    async with Worker(docket, "W") as worker:
        await worker.run_at_most({"poll": 3})
    assert runs(seen, docket, "poll") == {"started": 3, "completed": 3, "succeeded": 3, "perpetuated": 2}


async def test_what_runs_now(docket: Docket, seen: Seen) -> None:
    began, go_on = anyio.Event(), anyio.Event()

    async def long() -> None:
        began.set()
        await go_on.wait()

    await docket.add(long)()
    async with running(docket, name="W"):
        await began.wait()
        assert runs(seen, docket, "long") == {"started": 1, "running": 1}
        go_on.set()
    assert runs(seen, docket, "long") == {"started": 1, "completed": 1, "succeeded": 1}


async def test_a_cancelled_run_neither_succeeds_nor_fails(docket: Docket, seen: Seen) -> None:
    began = anyio.Event()

    async def long() -> None:
        began.set()
        await anyio.sleep(1000)

    await docket.add(long, key="K")()
    async with running(docket, name="W"):
        await began.wait()
        await docket.cancel("K")
    assert runs(seen, docket, "long") == {"started": 1, "completed": 1}
    (line,) = seen.points("docket_tasks_cancelled", docket__name=docket.name)
    assert (line.labels, line.value) == ({"docket.name": docket.name}, 1)


async def test_a_run_that_is_handed_back(docket: Docket, seen: Seen) -> None:
    began = anyio.Event()

    async def long() -> None:
        began.set()
        await anyio.sleep(1000)

    await docket.add(long, key="K")()
    async with running(docket, name="W", grace=timedelta(0)):
        await began.wait()
    assert runs(seen, docket, "long") == {"started": 1, "completed": 1}
    await docket.cancel("K")


@virtual_time
@pytest.mark.parametrize("cause", ["cancelled", "timed out", "shutdown", "slot lost", "lease lost", None])
async def test_what_stopped_a_run_is_told_apart(docket: Docket, seen: Seen, cause: str | None) -> None:
    async def long(
        timeout: Timeout = Timeout(timedelta(seconds=50 if cause == "timed out" else 5000)),
        limit: ConcurrencyLimit = ConcurrencyLimit(),
    ) -> None:
        await anyio.sleep(100)

    slots, stream = f"{docket.name}:concurrency:long", docket.stream_key
    async with docket.redis() as redis:
        async with running(docket, name="W", redelivery_timeout=timedelta(minutes=1), grace=timedelta(0)):
            await docket.add(long, key="K")()
            await anyio.sleep(1)
            if cause == "cancelled":
                await docket.cancel("K")
            elif cause == "slot lost":
                await redis.delete(slots)
                await redis.zadd(slots, {"another": (await redis.time())[0] + 60})
                await redis.expire(slots, 600)
            elif cause == "lease lost":
                ((receipt, _),) = await redis.xrange(stream)
                await redis.xclaim(stream, "docket-workers", "another", 0, [receipt])
            await anyio.sleep({"shutdown": 0, "lease lost": 20, None: 120}.get(cause, 80))
        await docket.cancel("K")
        await redis.xtrim(stream, maxlen=0)
        await redis.delete(docket.runs_key("K"), f"{docket.name}:progress:K")
    points = seen.points("docket_tasks_stopped", docket__name=docket.name)
    labels = {"docket.name": docket.name, "docket.worker": "W", "docket.task": "long", "docket.cause": cause}
    assert [(each.labels, each.value) for each in points] == ([] if cause is None else [(labels, 1)])


@virtual_time
async def test_a_run_that_was_not_settled_in_time(docket: Docket, seen: Seen) -> None:
    began = anyio.Event()

    async def stubborn() -> None:
        began.set()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3600)

    await docket.add(stubborn)()
    async with running(docket, name="W", grace=timedelta(0)):
        await began.wait()
    assert runs(seen, docket, "stubborn") == {"started": 1, "completed": 1}
    assert len(seen.spans(docket.name, "stubborn")) == 1


async def test_what_another_worker_left_is_redelivered(docket: Docket, seen: Seen) -> None:
    await docket.add(quick)()
    async with docket.redis() as redis:
        # A worker that claimed it, and was killed.
        await redis.xgroup_create(docket.stream_key, docket.worker_group_name, "0")
        await redis.xreadgroup(docket.worker_group_name, "dead", {docket.stream_key: ">"})
    await run_all(docket, name="W", redelivery_timeout=timedelta(milliseconds=50))
    assert runs(seen, docket, "quick") == {"started": 1, "redelivered": 1, "completed": 1, "succeeded": 1}


async def test_how_long_and_how_late(docket: Docket, seen: Seen) -> None:
    async def nap() -> None:
        await anyio.sleep(0.05)

    await docket.add(nap, when=datetime.now(UTC) - timedelta(minutes=1))()
    await run_all(docket, name="W")
    labels = {"docket.name": docket.name, "docket.worker": "W", "docket.task": "nap"}
    (duration,) = seen.points("docket_task_duration", docket__name=docket.name)
    assert (duration.labels, duration.count) == (labels, 1)
    assert 0.05 <= duration.value < 5
    (punctuality,) = seen.points("docket_task_punctuality", docket__name=docket.name)
    assert (punctuality.labels, punctuality.count) == (labels, 1)
    assert 60 <= punctuality.value < 65


# --- superseded -----------------------------------------------------------------------------------------------------


def superseded(seen: Seen, docket: Docket) -> dict[str, float]:
    lines = seen.points("docket_tasks_superseded", docket__name=docket.name, docket__worker="W")
    return {line.labels["docket.where"]: line.value for line in lines}


async def test_superseded_before_its_run(docket: Docket, seen: Seen) -> None:
    await docket.add(quick, key="K")()
    async with docket.redis() as redis:
        # As if it had been scheduled anew between its claim and its start.
        await redis.hincrby(docket.runs_key("K"), "generation", 1)
        await run_all(docket, name="W")
        await redis.delete(docket.runs_key("K"))
    assert superseded(seen, docket) == {"worker": 1}
    assert runs(seen, docket, "quick") == {}


async def replace_me(docket: Docket) -> None:
    await docket.replace(other, datetime.now(UTC), current_execution.get().key)()


async def test_superseded_at_its_end(docket: Docket, seen: Seen) -> None:
    async def poll(perpetual: Perpetual = Perpetual()) -> None:
        await replace_me(docket)

    await docket.add(poll, key="K")()
    await run_all(docket, name="W")
    assert superseded(seen, docket) == {"on_complete": 1}
    assert runs(seen, docket, "poll") == {"started": 1, "completed": 1, "succeeded": 1}
    assert runs(seen, docket, "other") == {"started": 1, "completed": 1, "succeeded": 1}


async def test_superseded_at_a_retry(docket: Docket, seen: Seen) -> None:
    async def failing(retry: Retry = Retry(attempts=2)) -> None:
        await replace_me(docket)
        raise ValueError("ouch")

    await docket.add(failing, key="K")()
    await run_all(docket, name="W")
    assert superseded(seen, docket) == {"retry": 1}
    assert runs(seen, docket, "failing") == {"started": 1, "completed": 1, "failed": 1}


# --- strikes --------------------------------------------------------------------------------------------------------


async def test_a_struck_call_is_counted_where_it_is_kept_off(docket: Docket, seen: Seen) -> None:
    began, go_on = anyio.Event(), anyio.Event()

    async def hold() -> None:
        began.set()
        await go_on.wait()

    async with running(docket, name="W", concurrency=1):
        await docket.add(hold)()
        await began.wait()
        execution = await docket.add(quick)()
        await docket.strike(quick)
        await docket.add(quick)()
        await docket.add_many([docket.call(quick)(), docket.call(quick)()])
        go_on.set()
        with anyio.fail_after(5):
            while not (await docket.get_execution(execution.key)).state.terminal:  # type: ignore[union-attr] # noqa: ASYNC110
                await anyio.sleep(0.005)
    lines = {
        line.labels["docket.where"]: line for line in seen.points("docket_tasks_stricken", docket__name=docket.name)
    }
    here = {"docket.name": docket.name, "docket.task": "quick"}
    assert lines["docket"].labels == {**here, "docket.where": "docket"}
    assert lines["docket"].value == 3
    assert lines["worker"].labels == {**here, "docket.worker": "W", "docket.where": "worker"}
    assert lines["worker"].value == 1
    assert runs(seen, docket, "quick") == {}
    assert seen.total("docket_tasks_added", docket__name=docket.name, docket__task="quick") == 1


async def test_strikes_in_effect(store: Store, anyio_backend: object, seen: Seen) -> None:
    def in_effect() -> list[tuple[dict[str, str], float]]:
        lines = seen.points("docket_strikes_in_effect", docket__name=store.docket_name)
        return [({k: v for k, v in line.labels.items() if k != "docket.name"}, line.value) for line in lines]

    async with open_docket(store) as docket:
        await docket.strike(quick)
        await docket.strike(quick)
        await docket.strike("send", "address", "between", (1, 2))
        address = {"docket.parameter": "address", "docket.operator": "between", "docket.value": "(1, 2)"}
        assert in_effect() == [({"docket.task": "quick"}, 1), ({"docket.task": "send", **address}, 1)]
        await docket.restore(quick)
        await docket.restore(quick)
        assert in_effect() == [({"docket.task": "quick"}, 0), ({"docket.task": "send", **address}, 1)]
    assert [value for _, value in in_effect()] == [0, 0]


async def test_a_strike_list_counts_strikes_too(docket: Docket, store: Store, seen: Seen) -> None:
    await docket.strike(quick)
    before = seen.total("docket_strikes_in_effect", docket__name=docket.name)
    if store.kind == "redis":
        async with StrikeList(store.url, docket.name):
            assert seen.total("docket_strikes_in_effect", docket__name=docket.name) == before + 1
        assert seen.total("docket_strikes_in_effect", docket__name=docket.name) == before


# --- what users ask -------------------------------------------------------------------------------------------------


def asked(seen: Seen, docket: Docket) -> dict[str, float]:
    names = "added replaced scheduled cancelled"
    labels = {"docket__name": docket.name, "docket__task": "quick"}
    counts = {name: seen.total(f"docket_tasks_{name}", **labels) for name in names.split()}
    return {name: count for name, count in counts.items() if count}


async def test_what_is_added(docket: Docket, seen: Seen) -> None:
    await docket.add(quick, key="K")()
    await docket.add(quick, key="K")()
    assert asked(seen, docket) == {"added": 2, "scheduled": 1}
    await docket.add_many([docket.call(quick, key="K")(), docket.call(quick, key="L")(), docket.call(quick)()])
    assert asked(seen, docket) == {"added": 5, "scheduled": 3}


async def test_what_is_replaced(docket: Docket, seen: Seen) -> None:
    await docket.replace(quick, datetime.now(UTC), "K")()
    assert asked(seen, docket) == {"replaced": 1, "cancelled": 1, "scheduled": 1}
    await docket.replace_many([docket.call(quick, key="K")(), docket.call(quick, key="L")()])
    assert asked(seen, docket) == {"replaced": 3, "cancelled": 3, "scheduled": 3}


# --- the docket as a whole ------------------------------------------------------------------------------------------


async def test_how_much_there_is_to_do(docket: Docket, seen: Seen) -> None:
    docket.heartbeat_interval = timedelta(milliseconds=20)
    await docket.add(quick, when=datetime.now(UTC) + TOMORROW, key="tomorrow")()
    began, go_on = anyio.Event(), anyio.Event()

    async def hold() -> None:
        began.set()
        await go_on.wait()

    await docket.add(hold)()
    await docket.add(hold)()
    async with running(docket, concurrency=1):
        await began.wait()
        with anyio.fail_after(5):
            while seen.total("docket_queue_depth", docket__name=docket.name) != 2:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            # An old SDK shows a value once.
            while not (later := seen.points("docket_schedule_depth", docket__name=docket.name)):  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert [(each.labels, each.value) for each in later] == [({"docket.name": docket.name}, 1)]
        go_on.set()
    await docket.cancel("tomorrow")


async def test_a_lost_redis(anyio_backend: object, redis_server_binary: str, seen: Seen) -> None:
    with flaky_redis(redis_server_binary, keeps=False) as redis:
        async with Docket(uuid4().hex, redis.url) as docket, running(docket, name="W"):
            redis.kill()
            with anyio.fail_after(5):
                while not seen.points("docket_redis_disruptions", docket__name=docket.name):  # noqa: ASYNC110
                    await anyio.sleep(0.005)
    (line,) = seen.points("docket_redis_disruptions", docket__name=docket.name)
    assert line.labels == {"docket.name": docket.name, "docket.worker": "W"}


async def test_a_strike_list_that_lost_its_redis(anyio_backend: object, redis_server_binary: str, seen: Seen) -> None:
    name = uuid4().hex
    with flaky_redis(redis_server_binary, keeps=False) as redis:
        async with StrikeList(redis.url, name):
            redis.kill()
            with anyio.fail_after(5):
                while not seen.points("docket_redis_disruptions", docket=name):  # noqa: ASYNC110
                    await anyio.sleep(0.005)
