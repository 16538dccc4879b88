"""How a worker ends: by ``stop()``, with its block, with its host, and by what ends every program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, ExecutionState, Retry, Worker
from docket_anyio.exceptions import InvalidSetting
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import leaks, open_docket, run_all, running
from tests.stage import Stage

NO_TIME, SHORT, MINUTE = timedelta(0), timedelta(milliseconds=50), timedelta(minutes=1)


@asynccontextmanager
async def hosted(docket: Docket, **options: Any) -> AsyncGenerator[Worker]:
    """A worker that runs beside the block until somebody stops it."""
    async with Worker(docket, **options) as worker, anyio.create_task_group() as group:
        await group.start(worker.run_forever)
        yield worker


# --- stop() -------------------------------------------------------------------------------------------------------


async def test_a_stopped_worker_lets_its_runs_end(docket: Docket) -> None:
    stage = Stage()
    execution = await docket.add(stage.perform)()
    async with hosted(docket) as worker:
        await stage.started.wait()
        worker.stop()
        await anyio.wait_all_tasks_blocked()
        stage.go_on.set()
    assert await execution.get_result() == "finished"


async def test_a_stopped_worker_claims_nothing_more(docket: Docket) -> None:
    stage = Stage()
    await docket.add(stage.perform)()
    async with hosted(docket) as worker:
        await stage.started.wait()
        worker.stop()
        await anyio.wait_all_tasks_blocked()
        later = await docket.add(stage.perform, key="later")()
        await anyio.sleep(0.02)
        stage.go_on.set()
    assert stage.runs == 1
    await later.sync()
    assert later.state is ExecutionState.QUEUED
    await docket.cancel("later")


@virtual_time
async def test_what_still_runs_after_the_grace_goes_back_into_the_queue(docket: Docket) -> None:
    stage = Stage()
    execution = await docket.add(stage.hang_once)()
    async with hosted(docket, grace=MINUTE) as worker:
        await stage.started.wait()
        watch = Stopwatch()
        worker.stop()
    assert watch.seconds() == pytest.approx(60, abs=0.01)
    await execution.sync()
    assert (execution.state, execution.attempt) == (ExecutionState.QUEUED, 1)
    async with docket.redis() as redis:
        ((_, message),) = await redis.xrange(f"{docket.name}:stream")
        assert (message[b"attempt"], message[b"generation"]) == (b"1", b"1")
    await run_all(docket)
    assert await execution.get_result() == 2


async def test_with_no_grace_it_goes_back_at_once(docket: Docket) -> None:
    stage = Stage()
    execution = await docket.add(stage.hang, key="one")()
    with anyio.fail_after(5):
        async with hosted(docket) as worker:
            await stage.started.wait()
            worker.stop(grace=NO_TIME)
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    await docket.cancel("one")


async def test_what_was_handed_back_runs_elsewhere(docket: Docket) -> None:
    stage = Stage()
    execution = await docket.add(stage.hang_once)()
    async with hosted(docket, name="A") as first:
        await stage.started.wait()
        async with running(docket, name="B"):
            first.stop(grace=NO_TIME)
            with anyio.fail_after(3):
                assert await execution.get_result() == 2
    assert execution.worker == "B"


@virtual_time
async def test_a_second_stop_only_shortens_the_grace(docket: Docket) -> None:
    stage = Stage()
    await docket.add(stage.hang, key="one")()
    async with hosted(docket, grace=MINUTE) as worker:
        await stage.started.wait()
        watch = Stopwatch()
        worker.stop()
        await anyio.sleep(10)
        worker.stop(timedelta(hours=1))
        await anyio.sleep(10)
        worker.stop(timedelta(seconds=5))
    assert watch.seconds() == pytest.approx(25, abs=0.01)
    await docket.cancel("one")


@virtual_time
async def test_a_body_that_will_not_stop_is_left_behind_in_the_end(docket: Docket) -> None:
    """Its message stays with it: when its lease has run out, it is delivered again."""
    stage = Stage()

    async def body() -> None:
        stage.started.set()
        for _ in range(100):
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)

    await docket.add(body, key="one")()
    async with hosted(docket, grace=timedelta(seconds=10)) as worker:
        await stage.started.wait()
        watch = Stopwatch()
        worker.stop()
    assert watch.seconds() == pytest.approx(100, abs=1.5)  # nobody can end a task that does not want to
    assert await leaks(docket) == []


async def test_a_body_that_cleans_up_has_the_time_for_it(docket: Docket) -> None:
    stage = Stage()

    async def body() -> None:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(2, shield=True):
                await anyio.sleep(0.05)
                stage.ended.set()

    await docket.add(body, key="one")()
    async with hosted(docket) as worker:
        await stage.started.wait()
        worker.stop(grace=NO_TIME)
    assert stage.ended.is_set()
    await docket.cancel("one")


async def test_a_body_that_finishes_although_it_was_told_to_stop_has_completed(docket: Docket) -> None:
    stage = Stage()

    async def body() -> str:
        stage.started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            return "swallowed"  # noqa: ASYNC104
        return "not reached"

    execution = await docket.add(body)()
    async with hosted(docket) as worker:
        await stage.started.wait()
        worker.stop(grace=NO_TIME)
    assert await execution.get_result() == "swallowed"


async def test_a_task_stops_its_own_worker(docket: Docket) -> None:
    async with Worker(docket) as worker:

        async def body() -> str:
            worker.stop()
            await anyio.lowlevel.checkpoint()
            return "stopped"

        execution = await docket.add(body)()
        await worker.run_forever()
    assert await execution.get_result() == "stopped"


async def test_a_worker_that_was_stopped_before_it_ran_ends_at_once(docket: Docket) -> None:
    async with Worker(docket) as worker:
        worker.stop()
        with anyio.fail_after(2):
            await worker.run_forever()
        execution = await docket.add(quick)()
        await worker.run_until_finished()
    assert await execution.get_result() == 1


async def test_a_worker_that_is_stopped_while_it_starts_has_started(docket: Docket) -> None:
    """A signal may come that early."""
    for checkpoints in range(0, 20, 2):
        async with Worker(docket) as worker, anyio.create_task_group() as group:
            group.start_soon(_stop_after, worker, checkpoints)
            with anyio.fail_after(2):
                await group.start(worker.run_forever)


async def _stop_after(worker: Worker, checkpoints: int) -> None:
    for _ in range(checkpoints):
        await anyio.lowlevel.checkpoint()
    worker.stop()


async def test_a_negative_grace(docket: Docket) -> None:
    async with Worker(docket) as worker:
        with pytest.raises(InvalidSetting, match="grace must not be negative"):
            worker.stop(-MINUTE)


async def test_what_was_claimed_and_not_begun_is_not_lost(docket: Docket) -> None:
    """Stopping at every moment of a claim: each task runs once, here or later."""
    runs: list[int] = []

    async def note(number: int) -> None:
        runs.append(number)

    for number in range(25):
        async with hosted(docket) as worker:
            await docket.add(note)(number)
            for _ in range(number):
                await anyio.lowlevel.checkpoint()
            worker.stop(grace=NO_TIME)
    async with Worker(docket) as worker:
        with anyio.fail_after(10):
            await worker.run_until_finished()
    assert sorted(runs) == list(range(25))


async def quick() -> int:
    return 1


# --- its block ----------------------------------------------------------------------------------------------------


async def test_leaving_the_block_stops_what_runs_elsewhere(docket: Docket) -> None:
    stage = Stage()
    async with anyio.create_task_group() as group:
        async with Worker(docket) as worker:
            await group.start(worker.run_forever)  # noqa: ASYNC111
            execution = await docket.add(stage.linger)()
            await stage.started.wait()
        await execution.sync()
        assert execution.state is ExecutionState.COMPLETED  # it was waited for
    assert await execution.get_result() == "finished"


async def test_a_worker_is_entered_in_one_task_and_left_in_another(docket: Docket) -> None:
    worker = Worker(docket)
    async with anyio.create_task_group() as group:  # noqa: ASYNC112
        group.start_soon(worker.__aenter__)
    execution = await docket.add(quick)()
    await worker.run_until_finished()
    async with anyio.create_task_group() as group:  # noqa: ASYNC112
        group.start_soon(worker.__aexit__, None, None, None)
    assert await execution.get_result() == 1


async def test_nothing_runs_after_the_block(docket: Docket, anyio_backend_name: str) -> None:
    threads = threading.active_count()

    def tasks() -> int:
        if anyio_backend_name == "asyncio":
            return len(asyncio.all_tasks())
        import trio

        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with running(docket):
        await (await docket.add(quick)()).get_result()
        assert tasks() > before
    await anyio.wait_all_tasks_blocked()
    assert tasks() == before
    assert threading.active_count() <= threads + 1


# --- its host -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_host_drains_and_stays_cancelled(docket: Docket) -> None:
    stage = Stage()
    went_on = False
    execution = await docket.add(stage.linger)()
    with anyio.CancelScope() as scope:
        async with hosted(docket):
            await stage.started.wait()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            went_on = True
    assert scope.cancelled_caught
    assert not went_on
    assert await execution.get_result() == "finished"


@virtual_time
async def test_a_cancelled_host_waits_no_longer_than_the_grace(docket: Docket) -> None:
    stage = Stage()
    execution = await docket.add(stage.hang, key="one")()
    with anyio.CancelScope() as scope:
        async with hosted(docket, grace=MINUTE):
            await stage.started.wait()
            watch = Stopwatch()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert watch.seconds() == pytest.approx(60, abs=0.01)
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    await docket.cancel("one")


async def test_a_timeout_around_the_worker(docket: Docket) -> None:
    async with Worker(docket) as worker:
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await worker.run_forever()


async def test_a_host_that_is_cancelled_while_the_worker_starts(docket: Docket) -> None:
    for checkpoints in range(0, 40, 3):
        async with Worker(docket) as worker, anyio.create_task_group() as group:
            group.start_soon(worker.run_forever)
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    await run_all(docket)


async def test_a_native_cancellation_of_the_host(docket: Docket, anyio_backend_name: str) -> None:
    """As uvicorn and ``asyncio.timeout`` do it."""
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no native cancellation of a task")
    stage = Stage()

    async def host() -> None:
        async with Worker(docket) as worker:
            await worker.run_forever()

    execution = await docket.add(stage.linger)()
    task = asyncio.get_running_loop().create_task(host())
    await stage.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert await execution.get_result() == "finished"


async def test_a_native_timeout_around_the_worker(docket: Docket, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("for asyncio")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), Worker(docket) as worker:
            await worker.run_forever()


async def test_a_native_cancellation_and_a_scope_at_once(docket: Docket, anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no native cancellation of a task")
    scopes: list[anyio.CancelScope] = []

    async def host() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            async with Worker(docket) as worker:
                await worker.run_forever()
        await anyio.lowlevel.checkpoint()

    for native_first in (True, False):
        task = asyncio.get_running_loop().create_task(host())
        await anyio.sleep(0.02)
        if native_first:
            task.cancel()
        scopes.pop().cancel()
        if not native_first:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# --- what ends every program --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["async", "thread"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_ends_the_program_ends_the_worker_and_is_no_result(
    docket: Docket, kind: type[BaseException], where: str
) -> None:
    async def body(retry: Retry = Retry(attempts=3)) -> None:
        raise kind(3)

    def thread_body(retry: Retry = Retry(attempts=3)) -> None:
        raise kind(3)

    execution = await docket.add(body if where == "async" else thread_body, key="one")()
    async with Worker(docket) as worker:
        with pytest.raises(kind):
            await worker.run_forever()
    await execution.sync()
    assert execution.state is ExecutionState.RUNNING  # its message is still there, and will be delivered again
    assert execution.result_key is None
    async with docket.redis() as redis:
        assert await redis.xlen(f"{docket.name}:stream") == 1


PROGRAM = """
import sys, anyio
from docket_anyio import Docket, Worker

{def} body():
    print("ran", flush=True)
    raise {SystemExit=}[sys.argv[3]](3)

async def main():
    async with Docket(sys.argv[2], sys.argv[1]) as docket:
        await docket.add(body, key="one")()
        async with Worker(docket) as worker:
            await worker.run_forever()

anyio.run(main, backend=sys.argv[4], backend_options=eval(sys.argv[5]))
""".replace("{SystemExit=}", '{"exit": SystemExit, "interrupt": KeyboardInterrupt}')


@pytest.mark.parametrize("function", ["async def", "def"])
@pytest.mark.parametrize(("kind", "code"), [("exit", 3), ("interrupt", -2)])
async def test_what_ends_the_program_ends_the_process(
    anyio_backend: tuple[str, dict[str, Any]], store: Store, kind: str, code: int, function: str
) -> None:
    if store.kind == "memory":
        pytest.skip("memory:// ends with the process")
    name, options = anyio_backend
    program = PROGRAM.replace("{def}", function)
    with anyio.fail_after(20):
        run = await anyio.run_process(
            [sys.executable, "-c", program, store.url, store.docket_name, kind, name, repr(options)],
            check=False,
            stderr=subprocess.STDOUT,
        )
    assert run.returncode == code, run.stdout.decode()
    assert run.stdout.startswith(b"ran")
    async with open_docket(store) as docket:
        execution = await docket.get_execution("one")
        assert execution is not None
        assert execution.state is ExecutionState.RUNNING
        assert execution.result_key is None


async def test_a_key_of_a_stopped_worker_is_due_when_it_was(docket: Docket) -> None:
    when = datetime.now(UTC) - MINUTE
    stage = Stage()
    await docket.add(stage.hang, when=when, key="one")()
    async with hosted(docket) as worker:
        await stage.started.wait()
        worker.stop(grace=NO_TIME)
    found = await docket.get_execution("one")
    assert found is not None
    assert found.when == pytest.approx(when, abs=timedelta(microseconds=10))
    await docket.cancel("one")
