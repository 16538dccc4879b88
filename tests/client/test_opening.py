"""Opening and leaving a docket: it starts nothing, so any task may do either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from docket_anyio import Docket
from docket_anyio.exceptions import NotOpen
from tests.conftest import Store
from tests.dockets import run_all


async def echo(value: object) -> object:
    return value


def make(store: Store) -> Docket:
    return Docket(store.docket_name, store.url)


async def test_opening_connects_to_nothing(anyio_backend: object) -> None:
    async with Docket("d", "redis://127.0.0.1:1/0"):
        pass


async def test_opening_starts_no_task(anyio_backend: object, anyio_backend_name: str, store: Store) -> None:
    def tasks() -> int:
        if anyio_backend_name == "asyncio":
            return len(asyncio.all_tasks())
        import trio

        return trio.lowlevel.current_statistics().tasks_living

    before = tasks()
    async with make(store) as docket:
        await docket.add(echo, key="one")(1)
        assert tasks() == before
        await docket.cancel("one")
    assert tasks() == before


async def test_it_is_entered_in_one_task_and_left_in_another(anyio_backend: object, store: Store) -> None:
    docket = make(store)
    async with anyio.create_task_group() as group:  # noqa: ASYNC112
        group.start_soon(docket.__aenter__)
    execution = await docket.add(echo)(1)
    await run_all(docket)
    assert await execution.get_result() == 1
    async with anyio.create_task_group() as group:  # noqa: ASYNC112
        group.start_soon(docket.__aexit__, None, None, None)
    with pytest.raises(NotOpen):
        docket.add(echo)


async def test_it_can_be_entered_again(anyio_backend: object, store: Store) -> None:
    docket = make(store)
    for number in range(3):
        async with docket:
            execution = await docket.add(echo)(number)
            await run_all(docket)
            assert await execution.get_result() == number


async def test_what_was_added_outlives_the_block(anyio_backend: object, store: Store) -> None:
    docket = make(store)
    async with docket:
        await docket.add(echo, key="one")("value")
    async with docket:
        execution = await docket.get_execution("one")
        assert execution is not None
        await run_all(docket)
        assert await execution.get_result() == "value"


async def test_it_is_not_entered_twice_at_once(docket: Docket) -> None:
    with pytest.raises(NotOpen, match="is open already; open another one of the same name instead"):
        async with docket:
            pass
    await docket.cancel("still open")


USES: dict[str, Callable[[Docket], Any]] = {
    "add": lambda docket: docket.add(echo)(1),
    "cancel": lambda docket: docket.cancel("key"),
    "get_execution": lambda docket: docket.get_execution("key"),
    "redis": lambda docket: docket.redis().__aenter__(),
    "leave": lambda docket: docket.__aexit__(None, None, None),
}


@pytest.mark.parametrize("name", USES)
async def test_it_is_not_used_outside_its_block(anyio_backend: object, store: Store, name: str) -> None:
    docket = make(store)
    with pytest.raises(NotOpen, match=r"Docket\(name=.* is not open; use it inside `async with docket:`"):
        await USES[name](docket)
    async with docket:
        pass
    with pytest.raises(NotOpen, match="is not open"):
        await USES[name](docket)


async def test_tasks_are_registered_before_it_is_open(anyio_backend: object, store: Store) -> None:
    docket = make(store)
    docket.register(echo)

    @docket.task
    async def other() -> None: ...

    assert {"echo", "other"} <= set(docket.tasks)


async def test_the_redis_of_a_docket(docket: Docket) -> None:
    async with docket.redis() as redis:
        assert await redis.set(f"{docket.name}:mine", "value", ex=10)
        assert await redis.get(f"{docket.name}:mine") == b"value"
        assert await redis.ping()
    await docket.cancel("it is still open")


async def test_leaving_by_an_exception(anyio_backend: object, store: Store) -> None:
    docket = make(store)

    async def leave() -> None:
        async with docket:
            await docket.add(echo, key="one")(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave()
    async with docket:
        await docket.cancel("one")


async def test_leaving_when_cancelled(anyio_backend: object, store: Store) -> None:
    docket = make(store)
    with anyio.CancelScope() as scope:
        async with docket:
            await docket.add(echo, key="one")(1)
            scope.cancel()
            await anyio.sleep(1)
    assert scope.cancelled_caught
    async with docket:
        await docket.cancel("one")


async def test_an_execution_outlives_its_docket_no_further(anyio_backend: object, store: Store) -> None:
    async with make(store) as docket:
        execution = await docket.add(echo, key="one")(1)
        await docket.cancel("one")
    with pytest.raises(NotOpen, match="use it inside `async with docket:`"):
        await execution.get_result()


def test_its_name_and_url_are_shown(store: Store) -> None:
    docket = make(store)
    assert (docket.name, docket.url) == (store.docket_name, store.url)
    assert store.docket_name in repr(docket)


@pytest.mark.parametrize("runs", [1, 2])
def test_memory_ends_with_its_loop(anyio_backend_name: str, anyio_backend_options: dict[str, Any], runs: int) -> None:
    async def main() -> None:
        async with Docket("d", "memory://shared") as docket:
            assert await docket.get_execution("one") is None
            await docket.add(echo, key="one")(1)

    for _ in range(runs):
        anyio.run(main, backend=anyio_backend_name, backend_options=anyio_backend_options)
