"""What one docket strikes and restores is struck and restored on the others, which do not work."""

from __future__ import annotations

from typing import Any

import pytest

from docket_anyio import Disposition, Docket, ExecutionCancelled, Worker
from docket_anyio.exceptions import InvalidStrike
from tests.conftest import Store
from tests.dockets import contents, open_docket


async def test_others_hear_of_a_strike_and_of_its_end(docket: Docket, store: Store) -> None:
    async def send(to: str) -> None: ...

    async with open_docket(store) as other:
        calls = [other.call(send)("ann"), other.call(send)("bob")]
        await docket.strike(send, "to", "==", "ann")
        assert (await other.add(send)("ann")).disposition is Disposition.STRUCK
        many = await other.add_many(calls)
        assert [each.disposition for each in many] == [Disposition.STRUCK, Disposition.SCHEDULED]
        await docket.restore(send, "to", "==", "ann")
        assert (await other.add(send)("ann")).disposition is Disposition.SCHEDULED
        await docket.strike(send)
        assert (await other.add(send)("ann")).disposition is Disposition.STRUCK
        await docket.restore(send)
        many = await other.add_many([calls[0]])
        assert [each.disposition for each in many] == [Disposition.SCHEDULED]


async def test_what_a_task_and_its_parameter_are_struck_for_is_kept_apart(docket: Docket, store: Store) -> None:
    """pydocket forgets that a task is struck whole once one of its parameters is struck, too."""

    async def send(to: str) -> None: ...

    async def dispositions(other: Docket) -> list[str]:
        many = await other.replace_many([other.call(send, key=to)(to) for to in ("ann", "bob")])
        return [each.disposition.value for each in many]

    async with open_docket(store) as other:
        await docket.strike(send)
        await docket.strike(send, "to", "==", "ann")
        assert await dispositions(other) == ["struck", "struck"]
        await docket.restore(send)
        assert await dispositions(other) == ["struck", "scheduled"]
        await docket.strike(send)
        await docket.restore(send, "to", "==", "ann")
        assert await dispositions(other) == ["struck", "struck"]
        await docket.restore(send)
        assert await dispositions(other) == ["scheduled", "scheduled"]


async def test_a_strike_that_was_given_before_the_worker_came(docket: Docket, store: Store) -> None:
    async def send(to: str) -> str:
        return to

    struck, spared = await docket.add(send)("ann"), await docket.add(send)("bob")
    await docket.strike(send, "to", "==", "ann")
    async with open_docket(store) as other:
        other.register(send)
        async with Worker(other) as worker:
            await worker.run_until_finished()
    assert await spared.get_result() == "bob"
    with pytest.raises(ExecutionCancelled):
        await struck.get_result()


async def test_a_strike_on_a_parameter_that_no_task_has(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    """Another program may have such a task."""

    async def send(to: str) -> None: ...

    async def forward(who: str) -> None: ...

    docket.register(send)
    await docket.strike(send, "who", "==", "ann")
    await docket.strike(None, "who", "==", "ann")
    assert caplog.text.count("No task known here has the parameter 'who'") == 2
    assert (await docket.add(send)("ann")).disposition is Disposition.SCHEDULED
    assert (await docket.add(forward)("ann")).disposition is Disposition.STRUCK
    caplog.clear()
    await docket.strike(forward, "who", "==", "bob")
    assert "No task known here" not in caplog.text


@pytest.mark.parametrize(
    "arguments", [("send", "to", "~="), ("send", "to", "between", 3), ("send", "to", "==", []), (None, None)]
)
async def test_a_strike_that_makes_no_sense(docket: Docket, arguments: tuple[Any, ...]) -> None:
    before = await contents(docket)
    for instruct in (docket.strike, docket.restore):
        with pytest.raises(InvalidStrike):
            await instruct(*arguments)
    assert await contents(docket) == before
