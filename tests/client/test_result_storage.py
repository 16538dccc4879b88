"""Where results are kept: in the docket's Redis, or in a store of the user's own."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from attrs import define, field

from docket_anyio import Docket, ExecutionState
from docket_anyio.dependencies import Retry
from docket_anyio.exceptions import CorruptMessage, ExecutionGone, NotOpen, TaskFailed
from tests.conftest import Store
from tests.dockets import keys_of, open_docket, run_all


@define(eq=False)
class Shelf:
    """A store of results that has the state of an execution told at each put."""

    docket: Docket | None = None
    broken: bool = False
    kept: dict[str, Mapping[str, Any]] = field(factory=dict)
    puts: list[tuple[str, int]] = field(factory=list)
    states: list[ExecutionState] = field(factory=list)

    def __len__(self) -> int:
        return len(self.kept)  # an empty one is a store all the same

    async def put(self, key: str, value: Mapping[str, Any], *, ttl: int) -> None:
        if self.broken:
            raise OSError("no room")
        if self.docket is not None:
            execution = await self.docket.get_execution(key.partition(":")[0])
            assert execution is not None
            self.states.append(execution.state)
        self.puts.append((key, ttl))
        self.kept[key] = value

    async def get(self, key: str) -> Mapping[str, Any] | None:
        return self.kept.get(key)


async def echo(value: object) -> object:
    return value


async def fail(retry: Retry = Retry(attempts=2)) -> None:
    raise ValueError("it rained")


def unpickled(value: Mapping[str, Any] | None) -> object:
    assert value is not None
    return pickle.loads(base64.b64decode(value["data"]))


# --- a store of one's own -----------------------------------------------------------------------------------------


async def test_results_go_into_a_store_of_ones_own(anyio_backend: object, store: Store) -> None:
    shelf = Shelf()
    async with open_docket(store, result_storage=shelf, execution_ttl=timedelta(minutes=2)) as docket:
        shelf.docket = docket
        execution = await docket.add(echo, key="K")("hi")
        await run_all(docket)
        assert docket.result_storage is shelf
        assert await execution.get_result() == "hi"
        assert execution.result_key == "K:1"
        assert shelf.puts == [("K:1", 120)]
        assert unpickled(shelf.kept["K:1"]) == "hi"
        assert shelf.states == [ExecutionState.RUNNING]  # put before the end is told
        assert [key for key in await keys_of(docket) if "results" in key] == []


async def test_the_last_exception_goes_there_too(anyio_backend: object, store: Store) -> None:
    shelf = Shelf()
    async with open_docket(store, result_storage=shelf) as docket:
        execution = await docket.add(fail, key="K")()
        await run_all(docket)
        with pytest.raises(ValueError, match="it rained"):
            await execution.get_result()
        assert [key for key, _ in shelf.puts] == ["K:2"]  # only that of the last attempt


async def test_nothing_is_not_stored(anyio_backend: object, store: Store) -> None:
    shelf = Shelf()
    async with open_docket(store, result_storage=shelf) as docket:
        execution = await docket.add(echo)(None)
        await run_all(docket)
        assert await execution.get_result() is None
    async with open_docket(store, result_storage=shelf, execution_ttl=timedelta(0)) as docket:
        await docket.add(echo)("hi")
        await run_all(docket)
    assert shelf.puts == []


async def test_a_store_that_fails_fails_the_run(
    anyio_backend: object, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """And neither loses it nor stops the worker."""
    async with open_docket(store, result_storage=Shelf(broken=True)) as docket:
        returned, raised = await docket.add(echo)("hi"), await docket.add(fail)()
        await run_all(docket)
        with pytest.raises(TaskFailed, match="the result could not be stored: OSError: no room"):
            await returned.get_result()
        with pytest.raises(TaskFailed, match="ValueError: it rained"):
            await raised.get_result()
        assert (returned.state, raised.state) == (ExecutionState.FAILED, ExecutionState.FAILED)
        assert (await docket.snapshot()).total_tasks == 0
    assert "no room" in caplog.text


async def test_a_store_that_has_lost_a_result(anyio_backend: object, store: Store) -> None:
    shelf = Shelf()
    async with open_docket(store, result_storage=shelf) as docket:
        execution = await docket.add(echo, key="K")("hi")
        await run_all(docket)
        shelf.kept["K:1"] = {"nothing": "of ours"}
        with pytest.raises(CorruptMessage):
            await execution.get_result()
        shelf.kept.clear()
        with pytest.raises(ExecutionGone):
            await execution.get_result()


async def test_a_store_of_the_library_that_pydocket_uses(anyio_backend: tuple[str, object], store: Store) -> None:
    memory = pytest.importorskip("key_value.aio.stores.memory")
    if anyio_backend[0] != "asyncio":
        pytest.skip("it runs on asyncio")
    async with open_docket(store, result_storage=memory.MemoryStore()) as docket:
        execution = await docket.add(echo)({"a": 1})
        await run_all(docket)
        assert await execution.get_result() == {"a": 1}


# --- the docket's own ---------------------------------------------------------------------------------------------


async def test_results_can_be_read_from_the_dockets_own_store(docket: Docket) -> None:
    await docket.add(echo, key="K")("hi")
    await run_all(docket)
    assert unpickled(await docket.result_storage.get("K:1")) == "hi"
    assert await docket.result_storage.get("other") is None


async def test_something_is_put_into_the_dockets_own_store(docket: Docket) -> None:
    await docket.result_storage.put("mine", {"a": [1, "b"]}, ttl=60)
    assert await docket.result_storage.get("mine") == {"a": [1, "b"]}
    [key] = [key for key in await keys_of(docket) if "results" in key]
    async with docket.redis() as redis:
        assert 0 < await redis.ttl(key) <= 60


async def test_a_docket_that_is_not_open_has_no_store(anyio_backend: object) -> None:
    with pytest.raises(NotOpen):
        _ = Docket("closed", "memory://closed", result_storage=Shelf()).result_storage


async def test_pydocket_reads_and_writes_the_same_store(
    docket: Docket, store: Store, anyio_backend: tuple[str, object]
) -> None:
    pydocket: Any = pytest.importorskip("docket")
    if store.kind == "memory" or anyio_backend[0] != "asyncio":
        pytest.skip("pydocket shares a real Redis, and runs on asyncio")
    async with pydocket.Docket(store.docket_name, store.url) as other:
        await docket.result_storage.put("ours", {"a": 1}, ttl=60)
        assert await other.result_storage.get("ours") == {"a": 1}
        await other.result_storage.put("theirs", {"a": 2}, ttl=60)
        assert await docket.result_storage.get("theirs") == {"a": 2}


async def test_pydocket_shares_a_store_of_ones_own(anyio_backend: tuple[str, object], store: Store) -> None:
    pydocket: Any = pytest.importorskip("docket")
    memory = pytest.importorskip("key_value.aio.stores.memory")
    if store.kind == "memory" or anyio_backend[0] != "asyncio":
        pytest.skip("pydocket shares a real Redis, and runs on asyncio")
    shared = memory.MemoryStore()
    async with (
        open_docket(store, result_storage=shared) as docket,
        pydocket.Docket(store.docket_name, store.url, result_storage=shared) as other,
    ):
        other.register(echo)
        docket.register(echo)
        added = await other.add("echo", key="K")("hi")
        await run_all(docket)
        assert await added.get_result() == "hi"
        again = await docket.add(echo, key="K")("again")
        async with pydocket.Worker(other) as worker:
            await worker.run_until_finished()
        assert await again.get_result() == "again"
