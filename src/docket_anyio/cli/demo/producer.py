"""The producer of the demo: it adds tasks, and cancels some of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import anyio

# A program of yours writes: from docket_anyio import Docket, Execution
from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio.cli.demo.tasks import broadcast, charge, fetch, greet, report, resize


class Audience(Protocol):
    """Who watches the producer."""

    def cancelling(self, key: str) -> None:
        """The producer is about to cancel a task."""
        ...

    async def wait_started(self, key: str) -> None:
        """Wait until a task has begun to run."""
        ...


async def produce(docket: Docket, added: Callable[[Execution[Any], str], None], audience: Audience) -> None:
    """Add tasks of every kind. Each has a key, by which it can be found and cancelled.

    Args:
        docket: Where to add them.
        added: Called with a handle on each, and what it is to show.
        audience: Told what else happens.
    """
    # Due now: the worker takes them in this order, as its slots free.
    added(await docket.add(greet, key="greet")("Ann"), "runs at once")
    added(await docket.add(fetch, key="fetch")("example.org"), "fails twice, is retried")
    added(await docket.add(report, key="report")("May"), "is too slow, times out")
    added(await docket.add(charge, key="charge")("1234"), "raises an exception")
    for number in range(1, 5):
        added(await docket.add(resize, key=f"resize-{number}")(f"{number}.jpg"), "waits for a free slot")
    added(await docket.add(broadcast, key="broadcast")("news"), "is cancelled as it runs")
    added(await docket.add(greet, key="greet-bob")("Bob"), "is cancelled in the queue")

    # Due later: they wait in the docket, not in this process.
    soon = datetime.now(UTC) + timedelta(seconds=4.5)
    added(await docket.add(greet, when=soon, key="greet-eve")("Eve"), "is due in 4.5 seconds")
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    added(await docket.add(charge, when=tomorrow, key="renewal")("5678"), "is cancelled before due")

    # Wherever a task stands by now, cancelling it is the same.
    await anyio.sleep(1)
    await cancel(docket, "greet-bob", audience)
    await anyio.sleep(0.7)
    await cancel(docket, "renewal", audience)
    await audience.wait_started("broadcast")
    await anyio.sleep(2)
    await cancel(docket, "broadcast", audience)


async def cancel(docket: Docket, key: str, audience: Audience) -> None:
    """Cancel a task."""
    audience.cancelling(key)
    await docket.cancel(key)
