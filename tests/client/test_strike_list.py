"""Strike lists: of a docket, or alone."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import anyio
import pytest

from docket_anyio import Disposition, Docket, Execution, ExecutionState, Operator, Restore, Strike, StrikeList
from docket_anyio.exceptions import InvalidStrike, NotOpen, NotSerializable
from tests.conftest import Store
from tests.dockets import run_all


async def send(to: str, times: int = 1) -> str:
    return to


def call(docket: Docket, *args: object, **kwargs: object) -> Execution[str]:
    return Execution(docket, send, args, kwargs, "K", datetime.now(UTC), 1)


# --- alone --------------------------------------------------------------------------------------------------------


def test_what_it_knows_of_by_itself() -> None:
    strikes = StrikeList()
    strikes.update(Strike("send"))
    strikes.update(Strike("read", "page", Operator.GREATER_THAN, 5))
    strikes.update(Strike(None, "to", "==", "ann"))
    assert strikes.task_strikes == {"send": {}, "read": {"page": {(Operator.GREATER_THAN, 5)}}}
    assert strikes.parameter_strikes == {"to": {(Operator.EQUAL, "ann")}}
    strikes.update(Restore("send"))
    strikes.update(Restore("read", "page", ">", 5))
    strikes.update(Restore(None, "to", "==", "ann"))
    assert strikes.task_strikes == strikes.parameter_strikes == {}


def test_a_mapping_matches_only_strikes_that_hold_for_every_task() -> None:
    strikes = StrikeList()
    strikes.update(Strike("send", "to", "==", "ann"))
    assert not strikes.is_stricken({"to": "ann"})
    strikes.update(Strike(None, "to", "==", "ann"))
    assert strikes.is_stricken({"to": "ann"})
    assert not strikes.is_stricken({"to": "bob"})
    assert not strikes.is_stricken({"to": 5})
    assert not strikes.is_stricken({})


async def test_an_execution_matches_by_task_and_parameter(docket: Docket) -> None:
    strikes = StrikeList()
    strikes.update(Strike("send", "times", ">=", 3))
    assert strikes.is_stricken(call(docket, "ann", 3))
    assert strikes.is_stricken(call(docket, "ann", times=4))
    assert not strikes.is_stricken(call(docket, "ann"))
    assert not strikes.is_stricken(call(docket, "ann", times="many"))  # cannot be compared
    strikes.update(Strike("send", "times", "==", 1))
    assert strikes.is_stricken(call(docket, "ann"))  # by its default
    strikes.update(Strike("send"))
    assert strikes.is_stricken(call(docket, "ann", times=2))


async def test_conditions_of_ones_own(docket: Docket) -> None:
    def by_key(execution: Execution[object]) -> bool:
        return execution.key == "K"

    strikes = StrikeList()
    strikes.add_condition(by_key)
    assert strikes.is_stricken(call(docket, "ann"))
    strikes.remove_condition(by_key)
    assert not strikes.is_stricken(call(docket, "ann"))
    with pytest.raises(ValueError, match="not in list"):
        strikes.remove_condition(by_key)


async def test_without_a_url_there_is_nobody_to_tell(anyio_backend: object) -> None:
    async with StrikeList() as strikes:
        await strikes.wait_for_strikes_loaded()
        assert (strikes.url, strikes.prefix, strikes.strike_key) == (None, "strikelist", "strikelist:strikes")
        for attempt in (strikes.strike("send"), strikes.restore("send"), strikes.send_instruction(Strike("send"))):
            with pytest.raises(RuntimeError, match="not connected to Redis"):
                await attempt


# --- with a docket ------------------------------------------------------------------------------------------------


async def test_it_follows_a_docket(docket: Docket, store: Store) -> None:
    await docket.strike("send", "to", "==", "ann")
    async with StrikeList(store.url, docket.name) as strikes:
        assert (strikes.prefix, strikes.strike_key) == (docket.prefix, docket.key("strikes"))
        await strikes.wait_for_strikes_loaded()
        assert strikes.is_stricken(call(docket, "ann"))
        await docket.strike(None, "to", "==", "bob")
        with anyio.fail_after(5):
            while not strikes.is_stricken({"to": "bob"}):  # noqa: ASYNC110 - it hears of it by itself
                await anyio.sleep(0.005)


async def test_it_strikes_for_everybody(docket: Docket, store: Store) -> None:
    async with StrikeList(store.url, docket.name) as strikes:
        await strikes.strike("send", "to", "==", "ann")
        assert strikes.is_stricken(call(docket, "ann"))
        assert (await docket.add(send)("ann")).disposition is Disposition.STRUCK
        await strikes.restore("send", "to", "==", "ann")
        assert (await docket.add(send)("ann")).disposition is Disposition.SCHEDULED
        await strikes.send_instruction(Strike("send"))
        assert (await docket.add(send)("ann")).disposition is Disposition.STRUCK
    await docket.clear()


async def test_what_cannot_be_struck(docket: Docket, store: Store) -> None:
    async with StrikeList(store.url, docket.name) as strikes:
        with pytest.raises(InvalidStrike):
            await strikes.strike()
        with pytest.raises(InvalidStrike):
            await strikes.strike("send", "to", "like", "ann")  # type: ignore[arg-type]
        with pytest.raises(NotSerializable):
            await strikes.strike("send", "to", "==", threading.Lock())


async def test_it_is_entered_once_at_a_time(docket: Docket, store: Store) -> None:
    strikes = StrikeList(store.url, docket.name)
    with pytest.raises(NotOpen):
        await strikes.wait_for_strikes_loaded()
    for _ in range(2):
        async with strikes:
            with pytest.raises(RuntimeError, match="already"):
                await strikes.__aenter__()
            await strikes.strike("send")
        assert strikes.is_stricken(call(docket, "ann"))  # what it knew it still knows


async def test_what_is_raised_in_its_block_leaves_it_as_it_is(docket: Docket, store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with StrikeList(store.url, docket.name):
            _ = 1 / 0


# --- of a docket --------------------------------------------------------------------------------------------------


async def test_a_docket_has_one(docket: Docket) -> None:
    await docket.strike(send)
    await docket.strike(None, "to", "==", "ann")
    strikes = docket.strike_list
    assert (strikes.url, strikes.name) == (docket.url, docket.name)
    assert strikes.task_strikes == {"send": {}}
    assert strikes.is_stricken({"to": "ann"})
    await strikes.restore("send")
    assert (await docket.add(send)("bob")).disposition is Disposition.SCHEDULED
    with pytest.raises(NotOpen):
        await strikes.__aenter__()  # the docket has done so
    await docket.clear()


async def test_conditions_of_a_docket_hold_for_its_tasks(docket: Docket) -> None:
    """Here only: for what is added through it, and for what its workers run."""

    def to_ann(execution: Execution[object]) -> bool:
        return execution.get_argument("to") == "ann"

    waiting = await docket.add(send, key="waiting")("ann")
    docket.strike_list.add_condition(to_ann)
    assert (await docket.add(send)("ann")).disposition is Disposition.STRUCK
    other = await docket.add(send)("bob")
    await run_all(docket)
    assert await other.get_result() == "bob"
    await waiting.sync()
    assert waiting.state is ExecutionState.CANCELLED
    docket.strike_list.remove_condition(to_ann)
    assert (await docket.add(send, key="waiting")("ann")).disposition is Disposition.SCHEDULED
    await docket.clear()


async def test_a_docket_that_is_not_open_has_none(anyio_backend: object) -> None:
    with pytest.raises(NotOpen):
        _ = Docket("closed", "memory://closed").strike_list
