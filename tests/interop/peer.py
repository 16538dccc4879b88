"""A process that is told what to do, line by line: the same client and worker in either library.

``python -m tests.interop.peer pydocket|asyncio|asyncio+uvloop|trio JOURNAL``. Each line of its input is a JSON object:
a number to answer by, the name of a method of ``Peer``, and its arguments. The answers are lines of its output.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from attrs import define, field

from tests.crash.tasks import die_with_the_tests
from tests.interop import tasks as shared
from tests.interop.injected import make_injected_tasks
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
    followed: dict[str, list[Any]] = field(factory=dict)
    stops: dict[str, Callable[[float], Awaitable[None]]] = field(factory=dict)

    async def open(self, docket: str, url: str, ttl: float) -> None:
        opened = library.Docket(docket, url, execution_ttl=timedelta(seconds=ttl))
        for task in [*shared.make_tasks(library, self.journal), *make_injected_tasks(library)]:
            opened.register(task)
        self.dockets[docket] = await opened.__aenter__()

    async def close(self, docket: str) -> None:
        await self.dockets.pop(docket).__aexit__(None, None, None)

    async def add(
        self,
        docket: str,
        task: str,
        call: str,
        key: str,
        delay: float | None,
        expires: float | None = None,
        priority: str | None = None,
    ) -> str:
        when = None if delay is None else datetime.now(UTC) + timedelta(seconds=delay)
        more = {} if expires is None else {"expires": timedelta(seconds=expires)}  # which pydocket does not know,
        if priority is not None:
            more["priority"] = library.Priority(priority)  # nor this
        args, kwargs = arguments_of(call)
        try:
            execution = await self.dockets[docket].add(task, when, key, **more)(*args, **kwargs)
        except library.exceptions.NotHonoured as refusal:
            return f"refused: {refusal.worker}"
        return str(execution.disposition.name)

    async def replace(self, docket: str, task: str, call: str, key: str, delay: float) -> str:
        args, kwargs = arguments_of(call)
        when = datetime.now(UTC) + timedelta(seconds=delay)
        execution = await self.dockets[docket].replace(task, when, key)(*args, **kwargs)
        return str(execution.disposition.name)

    async def many(self, docket: str, task: str, calls: dict[str, str], delay: float, *, replace: bool) -> list[str]:
        opened, when = self.dockets[docket], datetime.now(UTC) + timedelta(seconds=delay)
        ready = []
        for key, call in calls.items():
            args, kwargs = arguments_of(call)
            ready.append(opened.call(task, when, key)(*args, **kwargs))
        executions = await (opened.replace_many if replace else opened.add_many)(ready, chunk_size=3)
        return [each.disposition.name for each in executions]

    async def automatic(self, docket: str) -> None:
        """Register the automatic tasks, too, which its workers then add."""
        for task in shared.make_automatic_tasks(library, self.journal):
            self.dockets[docket].register(task)

    async def strike(self, docket: str, function: str | None, parameter: str | None, how: str, *, lift: bool) -> None:
        opened = self.dockets[docket]
        operator, value = eval(how, vars(shared))
        await (opened.restore if lift else opened.strike)(function, parameter, operator, value)

    async def pause(self, docket: str) -> str:
        try:
            await self.dockets[docket].pause()
        except library.exceptions.NotHonoured as refusal:
            return f"refused: {refusal.worker}"
        return "paused" if await self.dockets[docket].is_paused() else "not paused"

    async def resume(self, docket: str) -> None:
        await self.dockets[docket].resume()

    async def clear(self, docket: str) -> int:
        return await self.dockets[docket].clear()

    async def snapshot(self, docket: str) -> dict[str, Any]:
        snapshot = await self.dockets[docket].snapshot()
        return {
            "total": snapshot.total_tasks,
            "future": sorted((each.key, each.function_name, repr(each.args)) for each in snapshot.future),
            "running": sorted((each.key, each.function_name, each.worker) for each in snapshot.running),
            "workers": sorted((each.name, sorted(each.tasks)) for each in snapshot.workers),
        }

    async def progress(self, docket: str, key: str, increment: int) -> list[Any]:
        """Return the progress of a key, after it was incremented if that is to be."""
        progress = (await self.dockets[docket].get_execution(key)).progress
        if increment:
            await progress.increment(increment)
        await progress.sync()
        return [progress.current, progress.total, progress.message, progress.updated_at.isoformat()]

    async def follow(self, docket: str, key: str) -> None:
        """Gather the events of a key from now on, to its end."""
        ready, events = anyio.Event(), self.followed.setdefault(key, [])
        execution = await self.dockets[docket].get_execution(key)

        async def gather() -> None:
            async with aclosing(execution.subscribe(ready=ready)) as subscription:
                async for event in subscription:
                    events.append(event_as_json(event))
                    if events[-1][0] in {"completed", "failed", "cancelled"}:
                        break
            events.append("end")

        self.group.start_soon(gather)
        await ready.wait()

    async def events(self, key: str) -> list[Any]:
        """Return what was gathered, to the last event."""
        with anyio.fail_after(10):
            while self.followed[key][-1:] != ["end"]:  # noqa: ASYNC110 - filled by a task beside this one
                await anyio.sleep(0.005)
        return self.followed.pop(key)[:-1]

    async def cancel(self, docket: str, key: str, grace: float | None = None, **more: str) -> str:
        """Cancel a key; return what ours tells of it."""
        options = more if grace is None else {**more, "grace": timedelta(seconds=grace)}
        return str(await self.dockets[docket].cancel(key, **options))

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
        made = library.Worker(
            self.dockets[docket],
            name=worker,
            redelivery_timeout=timedelta(seconds=redelivery),
            concurrency=concurrency,
            minimum_check_interval=timedelta(milliseconds=20),  # pydocket sleeps that long where it has no free slot
        )

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


def arguments_of(call: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return eval(f"(lambda *args, **kwargs: (args, kwargs))({call})", vars(shared))


def event_as_json(event: Any) -> list[Any]:
    if event["type"] == "state":
        return [event["state"].value, event.get("worker"), event.get("error")]
    return [event["current"], event["total"], event["message"]]


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
