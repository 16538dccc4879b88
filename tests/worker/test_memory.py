"""A worker that runs for months."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import timedelta

import anyio

import docket_anyio
from docket_anyio import Worker
from tests.clocks import virtual_time
from tests.conftest import Store
from tests.dockets import open_docket

RUNS = 300


def held() -> int:
    """How many bytes the package holds, without the store in this process."""
    gc.collect()
    package = docket_anyio.__path__[0]
    filters = [
        tracemalloc.Filter(inclusive=True, filename_pattern=f"{package}/*"),
        tracemalloc.Filter(inclusive=False, filename_pattern=f"{package}/_redis/*"),
    ]
    return sum(each.size for each in tracemalloc.take_snapshot().filter_traces(filters).statistics("filename"))


@virtual_time
async def test_nothing_is_kept_of_runs_that_have_ended(anyio_backend: object, store: Store) -> None:
    async def quick() -> None: ...

    sizes: list[int] = []
    async with (
        open_docket(store, execution_ttl=timedelta(0)) as docket,
        Worker(docket) as worker,
        anyio.create_task_group() as group,
    ):
        await group.start(worker.run_forever)
        tracemalloc.start()
        try:
            for _ in range(3):
                await docket.add_many([docket.call(quick)() for _ in range(RUNS)])
                await anyio.sleep(1)
                sizes.append(held())
        finally:
            tracemalloc.stop()
        worker.stop()
    assert sizes[2] - sizes[1] < RUNS * 50, sizes
