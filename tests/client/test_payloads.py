"""Arguments and results that are too large: a clear error at the call, and nothing half-written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from docket_anyio import Agenda, Docket, ExecutionState, Perpetual, Retry
from docket_anyio.exceptions import DocketError, InvalidSetting, PayloadTooLarge, TaskFailed
from tests.conftest import Store
from tests.dockets import contents, open_docket, run_all

LIMIT = 10_000
LARGE, SMALL = "x" * LIMIT, "x" * (LIMIT - 1000)


async def give(value: object, *, more: object = None) -> object:
    return value


@pytest.fixture
async def docket(anyio_backend: object, store: Store) -> AsyncGenerator[Docket]:
    async with open_docket(store, max_payload_bytes=LIMIT) as docket:
        docket.register(give)
        yield docket


async def test_an_error_that_says_what_to_do(docket: Docket) -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        await docket.add(give)(LARGE)
    words = str(caught.value)
    assert words.startswith("the arguments of task 'give': 10,")
    assert "no more than 10,000" in words
    assert "max_payload_bytes" in words
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DocketError)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


TOO_LARGE: dict[str, Callable[[Docket], Awaitable[object]]] = {
    "add": lambda docket: docket.add(give)(LARGE),
    "add for later": lambda docket: docket.add(give, later())(LARGE),
    "add by name": lambda docket: docket.add("give")(LARGE),
    "replace": lambda docket: docket.replace(give, later(), "K")(LARGE),
    "two that are too large together": lambda docket: docket.add(give)(SMALL, more="y" * 2000),
}


@pytest.mark.parametrize("how", TOO_LARGE)
async def test_arguments_that_are_too_large(docket: Docket, how: str) -> None:
    await docket.add(give, later(), "K")("small")
    before = await contents(docket)
    with pytest.raises(PayloadTooLarge):
        await TOO_LARGE[how](docket)
    assert await contents(docket) == before
    await docket.cancel("K")


async def test_one_of_many_that_is_too_large(docket: Docket) -> None:
    calls = [docket.call(give)(SMALL), docket.call(give)(LARGE)]
    for add in (docket.add_many, docket.replace_many):
        with pytest.raises(PayloadTooLarge):
            await add(calls, chunk_size=1)
    agenda = Agenda()
    agenda.add(give)(SMALL)
    agenda.add(give)(LARGE)
    with pytest.raises(PayloadTooLarge):
        await agenda.scatter(docket, timedelta(hours=1))
    assert await contents(docket) == {}


async def test_what_is_not_too_large_goes_both_ways(docket: Docket) -> None:
    execution = await docket.add(give)(SMALL)
    await run_all(docket)
    assert await execution.get_result() == SMALL


async def test_a_result_that_is_too_large_fails_its_run(docket: Docket) -> None:
    async def grow(retry: Retry = Retry(attempts=2)) -> str:
        attempts.append(retry.attempt)
        return LARGE

    attempts: list[int] = []
    execution = await docket.add(grow)()
    await run_all(docket)
    with pytest.raises(PayloadTooLarge, match=r"^the result of task 'grow': 10,"):
        await execution.get_result()
    assert execution.state is ExecutionState.FAILED
    assert attempts == [1, 2]


async def test_an_exception_that_is_too_large_leaves_its_words_as_far_as_they_go(docket: Docket) -> None:
    async def burst() -> None:
        raise ValueError("no " + LARGE)

    execution = await docket.add(burst)()
    await run_all(docket)
    with pytest.raises(TaskFailed, match=r"^ValueError: no xxx"):
        await execution.get_result()
    assert execution.error is not None
    assert len(execution.error) == LIMIT


async def test_the_next_arguments_of_a_perpetual_task(docket: Docket) -> None:
    said: list[str] = []

    async def poll(value: object = None, perpetual: Perpetual = Perpetual()) -> None:
        perpetual.perpetuate("small")
        try:
            perpetual.perpetuate(LARGE)
        except PayloadTooLarge as error:
            said.append(str(error))
            perpetual.cancel()

    await docket.add(poll)()
    await run_all(docket)
    (words,) = said
    assert "no more than 10,000" in words


async def test_each_docket_goes_by_its_own_setting(docket: Docket, store: Store) -> None:
    async with Docket(store.docket_name, store.url) as generous:
        execution = await generous.add(give)(LARGE)
        await run_all(docket)
        with pytest.raises(PayloadTooLarge):
            await execution.get_result()
        execution = await generous.add(give)(LARGE)
        await run_all(generous)
        assert await execution.get_result() == LARGE


async def test_there_is_a_limit_by_default(anyio_backend: object, store: Store) -> None:
    async with open_docket(store) as docket:
        assert docket.max_payload_bytes == 16 * 1024 * 1024
        with pytest.raises(PayloadTooLarge):
            await docket.add(give)(bytes(docket.max_payload_bytes))
        assert await contents(docket) == {}


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_out_of_range(limit: int) -> None:
    with pytest.raises(InvalidSetting, match="max_payload_bytes must be at least 1"):
        Docket(max_payload_bytes=limit)
