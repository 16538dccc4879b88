"""How long it takes from ``docket.cancel()`` in one process to the exception in a body in another.

    python benchmarks/cancelling.py [--rounds 200] [--json results.json]

Starts a redis-server of its own, and for each event loop a worker in a process of its own. Each round adds a task,
waits until it runs, cancels it and waits until it has stopped. The body says when the exception reached it, by the
clock of the machine, which all processes share. The target is a p99 below 100 ms. Bodies wait in the worker, or wait or
compute in a process of the worker's, which has to be the same one in every round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from typing import TypeAlias

import anyio
from surroundings import run_on, serving

from docket_anyio import Cancellation, Docket, TaskKey, Worker, WorkerProcess, check_cancelled

LOOPS = ("asyncio", "uvloop", "trio")
TARGET_MS = 100.0
PATIENCE = timedelta(seconds=10)

# By loop, body and what was measured.
Results: TypeAlias = dict[str, dict[str, dict[str, list[float]]]]


def tell(what: str, key: str) -> None:
    """Print what a body does, when, and in which process."""
    print(what, key, time.monotonic(), os.getpid(), flush=True)


async def wait(key: str = TaskKey()) -> None:
    """Wait in the worker."""
    tell("begun", key)
    try:
        await anyio.sleep_forever()
    finally:
        tell("stopped", key)


async def wait_in_process(key: str = TaskKey(), process: WorkerProcess = WorkerProcess()) -> None:  # noqa: ARG001
    """Wait in a process of the worker's."""
    await wait(key)


def compute_in_process(key: str = TaskKey(), process: WorkerProcess = WorkerProcess()) -> None:  # noqa: ARG001
    """Compute in a process of the worker's."""
    tell("begun", key)
    try:
        while True:
            check_cancelled()
    finally:
        tell("stopped", key)


BODIES = (wait, wait_in_process, compute_in_process)


async def work(name: str, url: str) -> None:
    """Run a worker whose bodies print when they begin and are stopped, until it is terminated."""
    async with Docket(name, url) as docket, Worker(docket, processes=1) as worker:
        for body in BODIES:
            docket.register(body)
        await worker.run_forever()


async def measure(name: str, url: str, rounds: int, worker: subprocess.Popen[str]) -> dict[str, dict[str, list[float]]]:
    """Cancel a run in each round; for each body, return the milliseconds to the exception and to the answer."""
    async with Docket(name, url) as docket:
        return {body.__name__: await measure_body(docket, body, rounds, worker) for body in BODIES}


async def measure_body(
    docket: Docket, body: Callable[..., object], rounds: int, worker: subprocess.Popen[str]
) -> dict[str, list[float]]:
    """Cancel a run of one body in each round. All of them have to run in the same process."""
    exceptions: list[float] = []
    answers: list[float] = []
    pids: set[str] = set()
    for number in range(rounds):
        key = f"{body.__name__} {number}".replace(" ", "-")
        await docket.add(body, key=key)()
        await heard(worker, "begun")
        asked = time.monotonic()
        came = await docket.cancel(key, grace=PATIENCE)
        answers.append((time.monotonic() - asked) * 1000)
        if came is not Cancellation.STOPPED:
            raise RuntimeError(f"{key}: {came}")
        at, pid = await heard(worker, "stopped")
        exceptions.append((float(at) - asked) * 1000)
        pids.add(pid)
    if len(pids) != 1:
        raise RuntimeError(f"{body.__name__} ran in {len(pids)} processes")
    return {"exception": exceptions, "answer": answers}


async def heard(worker: subprocess.Popen[str], what: str) -> tuple[str, str]:
    """Wait until a body of the worker says something, and return when it was said, and where."""
    if worker.stdout is None:
        raise RuntimeError("the worker has no output")
    said, _, at, pid = (await anyio.to_thread.run_sync(worker.stdout.readline)).split()
    if said != what:
        raise RuntimeError(f"{said} where {what} was expected")
    return at, pid


def run_all(rounds: int) -> Results:
    """Measure every loop, each with a worker in a process of its own."""
    results: Results = {}
    with serving() as url:
        for loop in LOOPS:
            print(f"{loop}: {rounds} rounds", file=sys.stderr)
            command = [sys.executable, __file__, "--worker", loop, url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
                try:
                    results[loop] = run_on(loop, measure, loop, url, rounds, worker)
                finally:
                    worker.terminate()
    return results


def summarize(results: Results) -> list[dict[str, float | str]]:
    """Return p50, p99 and the longest, for each loop and body and for both what was measured."""
    rows: list[dict[str, float | str]] = []
    for loop, bodies in results.items():
        for body, measured in bodies.items():
            row: dict[str, float | str] = {"loop": loop, "body": body}
            for what, times in measured.items():
                cuts = quantiles(times, n=100, method="inclusive")
                row |= {f"{what} p50": cuts[49], f"{what} p99": cuts[98], f"{what} max": max(times)}
            rows.append(row)
    return rows


def show(rows: list[dict[str, float | str]]) -> None:
    """Print the table, in milliseconds; a p99 above the target is marked."""
    names = [name for name in rows[0] if name not in {"loop", "body"}]
    print(f"{'ms':30}" + "".join(f"{name:>16}" for name in names))
    for row in rows:
        missed = "!" if float(row["exception p99"]) > TARGET_MS else ""
        print(f"{row['loop']:10}{row['body']:20}" + "".join(f"{float(row[name]):16.2f}" for name in names) + missed)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=2, metavar=("LOOP", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        loop, url = options.worker
        run_on(loop, work, loop, url)
        return
    rows = summarize(run_all(options.rounds))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
