"""A process that is told what to do, line by line: the same client and worker in either library.

``python -m tests.interop.peer pydocket|asyncio|asyncio+uvloop|trio JOURNAL``. Each line of its input is a JSON object:
a number to answer by, the name of a method of ``Peer``, and its arguments. The answers are lines of its output.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from attrs import define, field

from tests.crash.tasks import die_with_the_tests
from tests.interop import tasks as shared
from tests.journal import Journal
from tests.loops import run_on

PYDOCKET = sys.argv[1] == "pydocket"
library = importlib.import_module("docket" if PYDOCKET else "docket_anyio")


@define(eq=False)
class Peer:
    """What either library is asked to do. Values go in as Python expressions, and come out as their repr."""

    group: anyio.abc.TaskGroup
    journal: Journal
    dockets: dict[str, Any] = field(factory=dict)
    stops: dict[str, Callable[[float], Awaitable[None]]] = field(factory=dict)

    async def open(self, docket: str, url: str, ttl: float) -> None:
        opened = library.Docket(docket, url, execution_ttl=timedelta(seconds=ttl))
        for task in shared.make_tasks(library, self.journal):
            opened.register(task)
        self.dockets[docket] = await opened.__aenter__()

    async def close(self, docket: str) -> None:
        await self.dockets.pop(docket).__aexit__(None, None, None)

    async def add(self, docket: str, task: str, call: str, key: str, delay: float | None) -> str:
        when = None if delay is None else datetime.now(UTC) + timedelta(seconds=delay)
        args, kwargs = eval(f"(lambda *args, **kwargs: (args, kwargs))({call})", vars(shared))
        execution = await self.dockets[docket].add(task, when, key)(*args, **kwargs)
        return str(execution.disposition.name)

    async def cancel(self, docket: str, key: str) -> None:
        await self.dockets[docket].cancel(key)

    async def execution(self, docket: str, key: str) -> dict[str, Any] | None:
        execution = await self.dockets[docket].get_execution(key)
        if execution is None:
            return None
        await execution.sync()
        return {
            "state": execution.state.value,
            "function": execution.function_name,
            "arguments": repr((execution.args, execution.kwargs)),
            "worker": execution.worker,
            "error": execution.error,
            "times": [execution.started_at is not None, execution.completed_at is not None],
            "when": execution.when.timestamp(),
        }

    async def result(self, docket: str, key: str) -> list[str]:
        execution = await self.dockets[docket].get_execution(key)
        try:
            return ["returned", repr(await execution.get_result(timeout=timedelta(seconds=10)))]
        except Exception as error:  # noqa: BLE001 - that is the answer
            return ["raised", type(error).__name__, repr(error.args), repr(getattr(error, "code", None))]

    async def work(self, docket: str, worker: str, redelivery: float, concurrency: int) -> None:
        timeout = timedelta(seconds=redelivery)
        made = library.Worker(self.dockets[docket], name=worker, redelivery_timeout=timeout, concurrency=concurrency)

        async def run(*, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC114 - started nowhere else
            async with made:
                if PYDOCKET:
                    task_status.started()
                    await made.run_forever()
                else:
                    await made.run_forever(task_status=task_status)

        if PYDOCKET:
            running = asyncio.create_task(run())

            async def stop(_: float) -> None:
                running.cancel()  # it drains, however long that takes
                await running
        else:
            ended = anyio.Event()

            async def run_to_the_end(*, task_status: Any) -> None:  # noqa: ASYNC114, ASYNC128 - passed on
                await run(task_status=task_status)
                ended.set()

            await self.group.start(run_to_the_end)

            async def stop(grace: float) -> None:
                made.stop(timedelta(seconds=grace))
                await ended.wait()

        self.stops[worker] = stop

    async def stop(self, worker: str, grace: float) -> None:
        await self.stops.pop(worker)(grace)


async def answer(peer: Peer, number: int, method: str, arguments: dict[str, Any]) -> None:
    try:
        reply = {"value": await getattr(peer, method)(**arguments)}
    except Exception as error:  # noqa: BLE001 - told to who asked
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"number": number, **reply}), flush=True)


async def main() -> None:
    async with anyio.create_task_group() as group:
        peer = Peer(group, Journal(Path(sys.argv[2])))
        while line := await to_thread.run_sync(sys.stdin.readline):
            group.start_soon(answer, peer, *json.loads(line))
        group.cancel_scope.cancel()


if __name__ == "__main__":
    die_with_the_tests()
    run_on("asyncio" if PYDOCKET else sys.argv[1], main)
