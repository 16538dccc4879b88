"""The stage of the demo: a producer, a worker and those who wait for results, in one process on ``memory://``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from anyio import create_task_group, move_on_after

# A program of yours writes: from docket_anyio import Docket, Execution, Worker
from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution
from docket_anyio._worker.worker import Worker
from docket_anyio.cli.demo.journal import Journal
from docket_anyio.cli.demo.producer import produce

CONCURRENCY: Final = 4
_PATIENCE: Final = 30.0
"""Seconds after which something must be wrong: it takes about six."""


async def play(journal: Journal) -> None:
    """Run a worker, let the producer do its part, and wait until every result is back."""
    with move_on_after(_PATIENCE):
        async with (
            Docket(name="demo", url="memory://demo") as docket,
            Worker(docket, concurrency=CONCURRENCY, grace=timedelta(0), instruments=[journal]) as worker,
            create_task_group() as background,
        ):
            await background.start(worker.run_forever)
            async with create_task_group() as waiting:

                def added(execution: Execution[Any], shows: str) -> None:
                    journal.added(execution, shows)
                    waiting.start_soon(_wait_for, execution, journal)

                await produce(docket, added, journal)
            worker.stop()


async def _wait_for(execution: Execution[Any], journal: Journal) -> None:  # noqa: ASYNC910 - what is raised was waited for
    """Wait until a task has ended. What it raised is raised here, as itself."""
    try:
        result: object = await execution.get_result()
    except Exception as error:  # noqa: BLE001 - whatever a task raises
        result = error
    journal.came_back(execution.key, execution.state, result)
