"""A Redis that goes away, comes back, or refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Cancellation, Docket, Execution, ExecutionCancelled, Worker
from docket_anyio.exceptions import RedisRefused, RedisUnavailable
from tests.conftest import StartRedis, Store
from tests.dockets import open_docket, run_all, running
from tests.stage import Stage
from tests.worker.flaky import FlakyRedis, flaky_redis

SOON = {"reconnection_delay": timedelta(milliseconds=50), "redelivery_timeout": timedelta(milliseconds=800)}


@pytest.fixture
def durable(redis_server_binary: str) -> Iterator[FlakyRedis]:
    with flaky_redis(redis_server_binary, keeps=True) as redis:
        yield redis


@pytest.fixture
def forgetful(redis_server_binary: str) -> Iterator[FlakyRedis]:
    with flaky_redis(redis_server_binary, keeps=False) as redis:
        yield redis


async def patient_result(execution: Execution[Any]) -> Any:
    """The result, asked for until Redis is there to answer."""
    with anyio.fail_after(5):
        while True:
            try:
                return await execution.get_result()
            except RedisUnavailable:
                await anyio.sleep(0.01)


async def echo(value: object) -> object:
    return value


async def kill_connections(url: str) -> None:
    async with Docket("killer", url) as killer, killer.redis() as redis:
        own = await redis.client_id()
        for client in await redis.client_list():
            if int(client["id"]) != own:
                await redis.client_kill_filter(_id=client["id"])


async def test_a_run_outlives_its_connections(anyio_backend: object, start_redis: StartRedis) -> None:
    stage = Stage()
    with start_redis() as server:
        async with Docket("d", server.url) as docket:
            execution = await docket.add(stage.perform)()
            async with running(docket, **SOON):
                await stage.started.wait()
                for _ in range(5):
                    await kill_connections(server.url)
                    assert await patient_result(await patient_add(docket)) == "value"
                stage.go_on.set()
                assert await patient_result(execution) == "finished"
    assert stage.runs == 1


async def patient_add(docket: Docket) -> Execution[Any]:
    with anyio.fail_after(5):
        while True:
            try:
                return await docket.add(echo)("value")
            except RedisUnavailable:
                await anyio.sleep(0.01)


async def test_a_waiter_outlives_its_connection(anyio_backend: object, start_redis: StartRedis) -> None:
    found: list[object] = []
    with start_redis() as server:
        async with Docket("d", server.url) as docket:
            execution = await docket.add(echo)("value")

            async def wait() -> None:
                found.append(await patient_result(execution))

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.sleep(0.05)
                await kill_connections(server.url)
                await anyio.sleep(0.05)
                await run_all(docket)
    assert found == ["value"]


async def test_a_run_that_ends_during_an_outage_is_settled_afterwards(
    anyio_backend: object, durable: FlakyRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "docket_anyio")
    stage = Stage()
    async with Docket("d", durable.url) as docket:
        execution = await docket.add(stage.perform)()
        late = await docket.add(echo, when=datetime.now(UTC) + timedelta(milliseconds=300))("late")
        async with running(docket, **SOON):
            await stage.started.wait()
            durable.kill()
            stage.go_on.set()
            await anyio.sleep(0.1)
            durable.start()
            assert await patient_result(execution) == "finished"
            assert await patient_result(late) == "late"
            assert await patient_result(await patient_add(docket)) == "value"
    assert stage.runs == 1
    assert "keeps trying" in caplog.text
    assert "goes on with" in caplog.text


async def test_a_run_goes_on_through_an_outage(anyio_backend: object, durable: FlakyRedis) -> None:
    stage, cancelled = Stage(), False

    async def body() -> str:
        nonlocal cancelled
        stage.runs += 1
        stage.started.set()
        try:
            await stage.go_on.wait()
        except anyio.get_cancelled_exc_class():
            cancelled = True
            raise
        return "finished"

    async with Docket("d", durable.url) as docket:
        execution = await docket.add(body)()
        async with running(docket, **SOON):
            await stage.started.wait()
            durable.kill()
            await anyio.sleep(0.1)
            durable.start()
            await anyio.sleep(0.5)
            stage.go_on.set()
            assert await patient_result(execution) == "finished"
    assert stage.runs == 1
    assert not cancelled


async def test_a_worker_goes_on_with_a_redis_that_has_forgotten_everything(
    anyio_backend: object, forgetful: FlakyRedis
) -> None:
    """What waited is lost, and so is the record of what ran; the worker is not."""
    stage = Stage()
    async with Docket("d", forgetful.url) as docket:
        await docket.add(stage.perform)()
        async with running(docket, **SOON):
            await stage.started.wait()
            forgetful.kill()
            forgetful.start()
            stage.go_on.set()
            for _ in range(5):
                assert await patient_result(await patient_add(docket)) == "value"
                await anyio.sleep(0.06)


async def test_a_worker_goes_on_when_everything_was_flushed(anyio_backend: object, start_redis: StartRedis) -> None:
    with start_redis() as server:
        async with Docket("d", server.url) as docket, running(docket, **SOON), docket.redis() as redis:
            for _ in range(3):
                await redis.flushall()
                assert await patient_result(await patient_add(docket)) == "value"
                await anyio.sleep(0.1)


async def test_a_request_to_stop_that_nobody_heard_is_found(anyio_backend: object, start_redis: StartRedis) -> None:
    stage = Stage()
    with start_redis() as server:
        async with Docket("d", server.url) as docket:
            execution = await docket.add(stage.hang, key="one")()
            async with running(docket, **SOON), docket.redis() as redis:
                await stage.started.wait()
                await redis.client_kill_filter(_type="pubsub")
                await docket.cancel("one")
                with anyio.fail_after(3):
                    await stage.ended.wait()
                with pytest.raises(ExecutionCancelled):
                    await patient_result(execution)


async def test_whoever_waits_for_a_stop_hears_of_it_over_another_connection(
    anyio_backend: object, start_redis: StartRedis
) -> None:
    stage, came = Stage(), list[Cancellation]()

    async def cancel(docket: Docket) -> None:
        came.append(await docket.cancel("one", reason="enough", grace=timedelta(seconds=10)))

    with start_redis() as server:
        async with Docket("d", server.url) as docket, Docket("d", server.url) as other:
            await docket.add(stage.hang_and_clean_up, key="one")()
            async with running(docket, **SOON), other.redis() as redis:
                await stage.started.wait()
                with anyio.fail_after(10):
                    async with anyio.create_task_group() as group:
                        group.start_soon(cancel, other)
                        for _ in range(3):
                            await anyio.sleep(0.05)
                            await redis.client_kill_filter(_type="pubsub")
                        stage.go_on.set()
    assert came == [Cancellation.STOPPED]


# --- at the start -------------------------------------------------------------------------------------------------


async def test_a_redis_that_is_not_there(anyio_backend: object, forgetful: FlakyRedis) -> None:
    forgetful.kill()
    async with Docket("d", forgetful.url) as docket, Worker(docket) as worker:
        with pytest.raises(RedisUnavailable):
            await worker.run_until_finished()
        with pytest.RaisesGroup(RedisUnavailable):  # the group is the test's
            async with anyio.create_task_group() as group:  # noqa: ASYNC112
                await group.start(worker.run_forever)
        forgetful.start()
        await worker.run_until_finished()


@pytest.mark.parametrize("given", ["", ":wrong@"], ids=["no password", "wrong password"])
async def test_a_redis_that_refuses_is_told_as_it_is(
    anyio_backend: object, start_redis: StartRedis, given: str
) -> None:
    with start_redis(password="secret") as server:
        async with Docket("d", f"redis://{given}127.0.0.1:{server.port}/0") as docket, Worker(docket) as worker:
            with pytest.raises(RedisRefused):
                await worker.run_until_finished()


async def test_a_service_that_is_refused_later_goes_on_when_it_can(
    docket: Docket, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    if store.kind == "memory":
        pytest.skip("on memory:// the promoter does not look before it is woken")
    async with running(docket, **SOON), docket.redis() as redis:
        await redis.set(f"{docket.name}:queue", b"not a sorted set", ex=60)
        await anyio.sleep(0.6)
        await redis.delete(f"{docket.name}:queue")
        execution = await docket.add(echo, when=datetime.now(UTC) + timedelta(milliseconds=50))("late")
        with anyio.fail_after(3):
            assert await execution.get_result() == "late"
    assert caplog.text.count("cannot go on with promoting and keeps trying") == 1


async def test_a_service_that_is_refused_at_the_start_ends_the_worker_as_itself(
    anyio_backend: object, store: Store
) -> None:
    async with open_docket(store) as docket, docket.redis() as redis:
        await redis.set(f"{docket.name}:queue", b"not a sorted set", ex=60)
        async with Worker(docket) as worker:
            with pytest.raises(RedisRefused, match="WRONGTYPE"):
                await worker.run_forever()
        await redis.delete(f"{docket.name}:queue")


async def test_an_outage_does_not_hold_up_a_stop(anyio_backend: object, forgetful: FlakyRedis) -> None:
    """Nothing runs, so there is nothing to wait for but the farewell."""
    async with Docket("d", forgetful.url) as docket:
        async with Worker(docket, **SOON) as worker, anyio.create_task_group() as group:
            await group.start(worker.run_forever)
            forgetful.kill()
            await anyio.sleep(0.05)
            began = anyio.current_time()
            worker.stop()
        assert anyio.current_time() - began < 2
