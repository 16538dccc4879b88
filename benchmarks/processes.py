"""How much faster work that computes is with two worker processes than with one, and what looking for a stop costs.

    python benchmarks/processes.py [--rounds 5] [--tasks 16] [--backend asyncio] [--json results.json]

Needs two cores that have nothing else to do. The docket is in memory and the processes are warm, so that the ratio is
that of the processes. Rounds with one and with two take turns, and the medians count, so that a noisy machine disturbs
both alike.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import anyio

from docket_anyio import Docket, Worker, WorkerProcess, check_cancelled

STEPS = 4_000_000
CHECKS = 200_000


def compute(steps: int, process: WorkerProcess = WorkerProcess()) -> int:  # noqa: ARG001 - says where it runs
    total = 0
    for step in range(steps):
        total += step * step
    return total


def check(times: int, process: WorkerProcess = WorkerProcess()) -> float:  # noqa: ARG001 - the same
    began = time.perf_counter()
    for _ in range(times):
        check_cancelled()
    return (time.perf_counter() - began) / times


async def check_async(times: int, process: WorkerProcess = WorkerProcess()) -> float:  # noqa: ARG001 - the same
    return check(times)


async def take_time(processes: int, tasks: int) -> tuple[float, list[float]]:
    """Return how long the tasks took, in seconds, and the costs of one look in a thread and in an event loop."""
    async with (
        Docket("bench", f"memory://{uuid4()}") as docket,
        Worker(docket, processes=processes, concurrency=tasks) as worker,
        anyio.create_task_group() as group,
    ):
        await group.start(worker.run_forever)
        warm = [await docket.add(compute)(STEPS) for _ in range(2 * processes)]
        for each in warm:
            await each.get_result()
        began = time.perf_counter()
        executions = [await docket.add(compute)(STEPS) for _ in range(tasks)]
        for each in executions:
            await each.get_result()
        taken = time.perf_counter() - began
        costs = [await (await docket.add(each)(CHECKS)).get_result() for each in (check, check_async)]
        worker.stop(timedelta(0))
    return taken, costs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--backend", default="asyncio")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    taken: dict[int, list[float]] = {1: [], 2: []}
    costs: list[list[float]] = []
    for _ in range(options.rounds):
        for processes, times in taken.items():
            seconds, looks = anyio.run(take_time, processes, options.tasks, backend=options.backend)
            times.append(seconds)
            costs.append(looks)
    one, two = (median(times) for times in taken.values())
    in_thread, in_loop = (median(each) * 1e9 for each in zip(*costs, strict=True))
    print(f"{options.tasks} tasks, median of {options.rounds} rounds, {options.backend}")
    print(f"  one process    {one:6.2f} s")
    print(f"  two processes  {two:6.2f} s, {one / two:.2f} times as fast")
    print(f"  check_cancelled() in a process: {in_thread:.0f} ns in a plain function, {in_loop:.0f} ns in an async def")
    if options.json is not None:
        found: dict[str, Any] = {"one": one, "two": two, "ratio": one / two, "check": [in_thread, in_loop]}
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
