"""What is open as long as a worker runs does not keep it from ending."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from docket_anyio import Docket, Worker
from docket_anyio.dependencies import Dependency
from docket_anyio.exceptions import CleanupTimeout
from tests.clocks import Stopwatch, virtual_time


class Hanging(Dependency[None]):
    @classmethod
    @asynccontextmanager
    async def worker_lifecycle(cls, docket: Docket, worker: Worker) -> AsyncGenerator[None]:
        yield
        await anyio.sleep_forever()

    async def __aenter__(self) -> None: ...


@virtual_time
async def test_one_that_hangs_on_closing_is_given_up(docket: Docket) -> None:
    async def body(value: None = Hanging()) -> None: ...

    await docket.add(body)()
    stopwatch = Stopwatch()
    async with Worker(docket) as worker:
        with pytest.raises(CleanupTimeout, match="not closed within 10 s"):
            await worker.run_until_finished()
    assert stopwatch.seconds() < 15
