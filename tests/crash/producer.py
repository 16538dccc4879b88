"""A producer in a process of its own: it adds tasks, waits for every result, and writes down both."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import anyio

from docket_anyio import Docket, Execution
from docket_anyio.exceptions import RedisUnavailable
from tests.crash.tasks import tasks
from tests.journal import Journal
from tests.loops import run_on

T = TypeVar("T")

parser = argparse.ArgumentParser()
parser.add_argument("--url")
parser.add_argument("--docket")
parser.add_argument("--backend")
parser.add_argument("--journal", type=Path)
parser.add_argument("--count", type=int, help="how many tasks")
parser.add_argument("--over", type=float, default=0.0, help="every second task is due within so many seconds")
parser.add_argument("--task", default="work")
parser.add_argument("--seconds", type=float, default=0.0, help="how long a task takes")
parser.add_argument("--places", type=int, default=0, help="over how many places the tasks are spread, if at all")
parser.add_argument("--lanes", type=int, default=100, help="how many add at once")
parser.add_argument("--pace", type=float, default=0.0, help="how long each of them pauses after each")
parser.add_argument("--persist", action="store_true", help="ask again where Redis is away")
options = parser.parse_args()
journal = Journal(options.journal)
task = {each.__name__: each for each in tasks}[options.task]


async def persist(what: str, number: int, call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except RedisUnavailable as error:
            if not options.persist:
                raise
            journal.write(f"{what}-again", number, error.maybe_executed)
            await anyio.sleep(0.05)


async def add(docket: Docket, number: int) -> Execution[int]:
    when = None
    if number % 2 and options.over:
        when = datetime.now(UTC) + timedelta(seconds=options.over * number / options.count)
    place = (f"place-{number % options.places}",) if options.places else ()
    add_it = docket.add(task, when, f"task-{number}")
    execution = await persist("add", number, lambda: add_it(number, options.seconds, *place))
    journal.write("added", number, 0.0 if when is None else when.timestamp())
    return execution


async def read(number: int, execution: Execution[int]) -> None:
    journal.write("result", number, await persist("read", number, execution.get_result))


async def main() -> None:
    executions: dict[int, Execution[int]] = {}
    numbers = iter(range(options.count))

    async def lane(docket: Docket) -> None:
        for number in numbers:
            executions[number] = await add(docket, number)
            await anyio.sleep(options.pace)

    async with Docket(options.docket, options.url) as docket:
        journal.write("begin", 0)
        async with anyio.create_task_group() as adding:
            for _ in range(options.lanes):
                adding.start_soon(lane, docket)
        async with anyio.create_task_group() as reading:
            for number, execution in executions.items():
                reading.start_soon(read, number, execution)


run_on(options.backend, main)
