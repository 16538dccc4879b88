"""Adding tasks: keys, times, names, and what the handle tells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import anyio
import pytest

from docket_anyio import Disposition, Docket, Execution, ExecutionState
from tests.client.collections_of_tasks import greet, shout
from tests.conftest import Store
from tests.dockets import contents, open_docket, run_all, running
from tests.stage import Stage

SOON, HOUR = timedelta(milliseconds=50), timedelta(hours=1)


async def add_up(a: int, b: int = 2, *more: int, factor: int = 1, **others: int) -> int:
    return (a + b + sum(more) + sum(others.values())) * factor


async def test_a_task_is_added_and_its_result_read(docket: Docket) -> None:
    execution = await docket.add(add_up)(1, 2, 3, factor=10, x=4)
    await run_all(docket)
    assert await execution.get_result() == 100


async def test_the_handle_tells_what_was_added(docket: Docket) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    execution = await docket.add(add_up, key="sum")(1, b=5)
    assert (execution.key, execution.function_name, execution.function) == ("sum", "add_up", add_up)
    assert (execution.args, execution.kwargs) == ((1,), {"b": 5})
    assert (execution.attempt, execution.generation) == (1, 1)
    assert execution.disposition is Disposition.SCHEDULED
    assert before <= execution.when <= datetime.now(UTC) + timedelta(seconds=1)
    assert "sum" in repr(execution)
    await docket.cancel("sum")


async def test_a_key_is_made_where_none_is_given(docket: Docket) -> None:
    first, second = await docket.add(add_up)(1), await docket.add(add_up)(2)
    assert UUID(first.key).version == UUID(second.key).version == 7
    assert first.key != second.key
    await run_all(docket)


async def test_the_key_is_fixed_when_add_is_called(docket: Docket) -> None:
    submission = docket.add(add_up)
    first, second = await submission(1), await submission(2)
    assert first.key == second.key
    assert second.disposition is Disposition.ALREADY_SCHEDULED
    await run_all(docket)


@pytest.mark.parametrize("when", [None, HOUR], ids=["queued", "scheduled"])
async def test_a_waiting_key_is_added_once(docket: Docket, when: timedelta | None) -> None:
    due = None if when is None else datetime.now(UTC) + when
    first = await docket.add(add_up, when=due, key="one")(1)
    before = await contents(docket)
    second = await docket.add(greet, key="one")("Ann")
    assert (first.disposition, second.disposition) == (Disposition.SCHEDULED, Disposition.ALREADY_SCHEDULED)
    assert await contents(docket) == before
    await docket.cancel("one")


async def test_a_running_key_is_not_added(docket: Docket) -> None:
    stage = Stage()
    first = await docket.add(stage.perform, key="one")()
    async with running(docket):
        await stage.started.wait()
        second = await docket.add(add_up, key="one")(1)
        assert second.disposition is Disposition.ALREADY_SCHEDULED
        stage.go_on.set()
        assert await first.get_result() == await second.get_result() == "finished"


async def test_a_key_can_be_used_again_after_the_end(docket: Docket) -> None:
    for number in range(3):
        execution = await docket.add(add_up, key="one")(number)
        assert (execution.disposition, execution.generation) == (Disposition.SCHEDULED, number + 1)
        await run_all(docket)
        assert await execution.get_result() == number + 2


async def test_many_at_once_add_one(docket: Docket) -> None:
    dispositions: list[Disposition] = []

    async def add(number: int) -> None:
        dispositions.append((await docket.add(add_up, key="one")(number)).disposition)

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(add, number)
    assert dispositions.count(Disposition.SCHEDULED) == 1
    assert dispositions.count(Disposition.ALREADY_SCHEDULED) == 49
    await run_all(docket)


async def test_a_task_for_later_is_scheduled(docket: Docket) -> None:
    when = datetime.now(UTC) + HOUR
    execution = await docket.add(add_up, when=when, key="one")(1)
    await execution.sync()
    assert (execution.state, execution.when) == (ExecutionState.SCHEDULED, when)
    await docket.cancel("one")


async def test_a_task_for_the_past_is_due_now(docket: Docket) -> None:
    execution = await docket.add(add_up, when=datetime(2000, 1, 1, tzinfo=UTC), key="one")(1)
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    await run_all(docket)
    assert await execution.get_result() == 3


async def test_a_time_in_any_zone(docket: Docket) -> None:
    when = (datetime.now(UTC) + HOUR).astimezone(timezone(timedelta(hours=-5)))
    await docket.add(add_up, when=when, key="one")(1)
    found = await docket.get_execution("one")
    assert found is not None
    assert found.when == pytest.approx(when, abs=timedelta(microseconds=10))
    await docket.cancel("one")


@pytest.mark.parametrize("key", ["ünïcode 🎉", "a:b:c", "with\nline", 'qu"ote\\', "a*b?[c]", "nul\0", "x" * 5000])
async def test_any_key_goes_all_the_way(docket: Docket, key: str) -> None:
    execution = await docket.add(add_up, when=datetime.now(UTC) + SOON, key=key)(1)
    await run_all(docket)
    assert await execution.get_result() == 3
    found = await docket.get_execution(key)
    assert found is not None
    assert found.key == key


# --- by name ------------------------------------------------------------------------------------------------------


async def test_a_registered_task_is_added_by_name(docket: Docket) -> None:
    docket.register(add_up)
    execution: Execution[Any] = await docket.add("add_up")(1, b=1)
    await run_all(docket)
    assert await execution.get_result() == 2


async def test_a_task_under_other_names(docket: Docket) -> None:
    docket.register(add_up, names=["plus", "sum"])
    assert "add_up" not in docket.tasks
    execution = await docket.add("sum")(1)
    assert execution.function_name == "sum"
    await run_all(docket)
    assert await execution.get_result() == 3


async def test_a_decorated_function_is_a_task_and_still_a_function(docket: Docket) -> None:
    @docket.task
    async def double(x: int) -> int:
        return 2 * x

    assert await double(2) == 4
    execution = await docket.add("double")(4)
    await run_all(docket)
    assert await execution.get_result() == 8


async def test_adding_a_function_registers_it(docket: Docket) -> None:
    assert "add_up" not in docket.tasks
    await docket.add(add_up)(1)
    assert docket.tasks["add_up"] is add_up
    await run_all(docket)


async def test_registering_twice_changes_nothing(docket: Docket) -> None:
    docket.register(add_up)
    docket.register(add_up)
    assert docket.tasks["add_up"] is add_up


async def test_a_collection_is_registered(docket: Docket) -> None:
    docket.register_collection("tests.client.collections_of_tasks:tasks")
    assert (docket.tasks["greet"], docket.tasks["shout"]) == (greet, shout)
    execution = await docket.add("shout")("hello")
    await run_all(docket)
    assert await execution.get_result() == "HELLO"


async def test_the_standard_tasks_are_there(docket: Docket) -> None:
    assert set(docket.tasks) == {"trace", "fail", "sleep"}
    execution = await docket.add("fail")("on purpose")
    await docket.add("trace")("hello")
    await docket.add("sleep")(0.001)
    await run_all(docket)
    with pytest.raises(RuntimeError, match="on purpose"):
        await execution.get_result()


async def test_a_task_of_ones_own_takes_the_place_of_a_standard_one(docket: Docket) -> None:
    @docket.task
    async def sleep(seconds: float) -> str:
        return f"slept {seconds}"

    execution = await docket.add("sleep")(1000)
    await run_all(docket)
    assert await execution.get_result() == "slept 1000"


async def test_an_object_that_is_called_can_be_a_task(docket: Docket) -> None:
    class Adder:
        async def __call__(self, x: int) -> int:
            return x + 1

    docket.register(Adder(), names=["adder"])
    execution = await docket.add("adder")(1)
    await run_all(docket)
    assert await execution.get_result() == 2


async def test_a_method_can_be_a_task(docket: Docket) -> None:
    class Adder:
        def __init__(self, much: int) -> None:
            self.much = much

        async def add(self, x: int) -> int:
            return x + self.much

    adder = Adder(5)
    execution = await docket.add(adder.add)(1)
    docket.register(adder.add)
    await run_all(docket)
    assert await execution.get_result() == 6


# --- several dockets ----------------------------------------------------------------------------------------------


async def test_one_docket_adds_and_another_of_the_same_name_works(docket: Docket, store: Store) -> None:
    execution = await docket.add(add_up)(1)
    async with open_docket(store) as other:
        other.register(add_up)
        await run_all(other)
    assert await execution.get_result() == 3


async def test_dockets_of_other_names_know_nothing_of_each_other(docket: Docket, store: Store) -> None:
    other_store = Store(store.kind, store.url, f"{store.docket_name}-2")
    async with open_docket(other_store) as other:
        mine, theirs = await docket.add(add_up, key="one")(1), await other.add(add_up, key="one")(10)
        assert theirs.disposition is Disposition.SCHEDULED
        await run_all(docket)
        assert await mine.get_result() == 3
        found = await other.get_execution("one")
        assert found is not None
        assert found.state is ExecutionState.QUEUED
        await run_all(other)
        assert await theirs.get_result() == 12


# --- get_execution and sync ---------------------------------------------------------------------------------------


async def test_an_execution_is_found_by_its_key(docket: Docket) -> None:
    added = await docket.add(add_up, key="one")(1, b=5)
    found = await docket.get_execution("one")
    assert found is not None
    assert (found.key, found.function, found.args, found.kwargs) == ("one", add_up, (1,), {"b": 5})
    assert (found.state, found.disposition) == (ExecutionState.QUEUED, Disposition.LOADED)
    assert found.when == pytest.approx(added.when, abs=timedelta(microseconds=10))
    await run_all(docket)
    assert await found.get_result() == 6


async def test_an_unknown_key_has_no_execution(docket: Docket) -> None:
    assert await docket.get_execution("nothing") is None
    await docket.cancel("nothing")
    assert await docket.get_execution("nothing") is None


async def test_an_execution_of_a_task_that_is_not_known_here(docket: Docket, store: Store) -> None:
    await docket.add(add_up, key="one")(1)
    async with open_docket(store) as other:
        found = await other.get_execution("one")
        assert found is not None
        assert found.function_name == found.function.__name__ == "add_up"
        with pytest.raises(KeyError, match="no task is registered under the name 'add_up'"):
            await found.function(1)
    await run_all(docket)


async def test_a_handle_is_brought_up_to_date(docket: Docket) -> None:
    started, go_on = anyio.Event(), anyio.Event()

    async def wait() -> None:
        started.set()
        await go_on.wait()
        raise ValueError("no")

    execution = await docket.add(wait)()
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED
    async with running(docket, name="W"):
        await started.wait()
        await execution.sync()
        assert (execution.state, execution.worker) == (ExecutionState.RUNNING, "W")
        assert execution.started_at is not None
        assert execution.completed_at is None
        go_on.set()
        with pytest.raises(ValueError, match="no"):
            await execution.get_result()
    await execution.sync()
    assert (execution.state, execution.error) == (ExecutionState.FAILED, "ValueError: no")
    assert execution.completed_at is not None
    assert execution.completed_at >= execution.started_at
    assert execution.result_key == f"{execution.key}:1"


async def test_a_handle_whose_record_is_gone(docket: Docket) -> None:
    execution = await docket.add(add_up, key="one")(1)
    async with docket.redis() as redis:
        await redis.delete(f"{docket.name}:runs:one")
    await execution.sync()
    assert (execution.state, execution.worker) == (ExecutionState.SCHEDULED, None)
    await run_all(docket)


# --- cancelled callers --------------------------------------------------------------------------------------------


async def test_an_add_that_was_cancelled_can_be_repeated(docket: Docket) -> None:
    for checkpoints in range(6):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_after, scope, checkpoints)
                await docket.add(add_up, key="one")(1)
    await docket.add(add_up, key="one")(1)
    async with docket.redis() as redis:
        assert await redis.xlen(f"{docket.name}:stream") == 1
    await run_all(docket)


async def _cancel_after(scope: anyio.CancelScope, checkpoints: int) -> None:
    for _ in range(checkpoints):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


Operation = Callable[[Docket], Any]
OPERATIONS: dict[str, Operation] = {
    "add": lambda docket: docket.add(add_up, key="one")(1),
    "cancel": lambda docket: docket.cancel("nothing"),
    "get_execution": lambda docket: docket.get_execution("one"),
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_every_operation_is_a_checkpoint(docket: Docket, name: str) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await OPERATIONS[name](docket)
    assert scope.cancelled_caught
    await run_all(docket)
