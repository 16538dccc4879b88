"""How much there is to do on a docket."""

from __future__ import annotations

from attrs import evolve

from docket_anyio._broker.broker import Broker
from docket_anyio.abc import Depth
from tests.broker.brokers import LATER, MESSAGE, MUCH_LATER, NOW


async def test_what_is_due_and_what_is_for_later(broker: Broker) -> None:
    assert await broker.backlog.depth(NOW) == Depth(due=0, later=0)
    await broker.queue.schedule(evolve(MESSAGE, key="now"), due=True)
    await broker.queue.schedule(evolve(MESSAGE, key="soon", when=LATER), due=False)
    await broker.queue.schedule(evolve(MESSAGE, key="some day", when=MUCH_LATER), due=False)
    assert await broker.backlog.depth(NOW) == Depth(due=1, later=2)
    # Due, and not promoted yet.
    assert await broker.backlog.depth(LATER) == Depth(due=2, later=1)
