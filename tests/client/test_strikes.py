"""What one docket strikes and restores is struck and restored on the others, which do not work."""

from __future__ import annotations

from docket_anyio import Disposition, Docket
from tests.conftest import Store
from tests.dockets import open_docket


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
