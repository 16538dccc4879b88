"""How long it takes from ``docket.cancel()`` in one process to the exception in a body in another.

    python benchmarks/cancelling.py [--rounds 200] [--json results.json]

Starts a redis-server of its own, and for each event loop a worker in a process of its own. Each round adds a task,
waits until it runs, cancels it and waits until it has stopped. The body says when the exception reached it, by the
clock of the machine, which both processes share. The target is a p99 below 100 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import quantiles

import anyio

from docket_anyio import Cancellation, Docket, TaskKey, Worker

LOOPS = ("asyncio", "uvloop", "trio")
TARGET_MS = 100.0
PATIENCE = timedelta(seconds=10)


@contextmanager
def serving() -> Generator[str]:
    """Start a redis-server of our own on a unix socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", folder]
        with subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as server:
            try:
                while not path.exists():
                    time.sleep(0.01)
                yield f"unix://{path}"
            finally:
                server.terminate()


def make_task(begun: Callable[[str], None], stopped: Callable[[str], None]) -> Callable[..., object]:
    """Return the task, under the same name in both processes."""

    async def stay(key: str = TaskKey()) -> None:
        begun(key)
        try:
            await anyio.sleep_forever()
        finally:
            stopped(key)

    return stay


async def work(name: str, url: str) -> None:
    """Run a worker that prints when its bodies begin and are stopped, until it is terminated."""

    def tell(what: str) -> Callable[[str], None]:
        return lambda key: print(what, key, time.monotonic(), flush=True)

    async with Docket(name, url) as docket, Worker(docket) as worker:
        docket.register(make_task(tell("begun"), tell("stopped")))
        await worker.run_forever()


async def measure(name: str, url: str, rounds: int, worker: subprocess.Popen[str]) -> dict[str, list[float]]:
    """Cancel a run in each round; return the milliseconds to the exception, and to the answer of who waits."""
    stdout = worker.stdout
    if stdout is None:
        raise RuntimeError("the worker has no output")
    exceptions: list[float] = []
    answers: list[float] = []
    async with Docket(name, url) as docket:
        task = make_task(print, print)
        docket.register(task)
        for number in range(rounds):
            await docket.add(task, key=f"K{number}")()
            await anyio.to_thread.run_sync(stdout.readline)  # it has begun
            asked = time.monotonic()
            came = await docket.cancel(f"K{number}", grace=PATIENCE)
            answers.append((time.monotonic() - asked) * 1000)
            if came is not Cancellation.STOPPED:
                raise RuntimeError(f"round {number}: {came}")
            what, _, at = (await anyio.to_thread.run_sync(stdout.readline)).split()
            if what != "stopped":
                raise RuntimeError(f"round {number}: {what}")
            exceptions.append((float(at) - asked) * 1000)
    return {"exception": exceptions, "answer": answers}


def run_on(loop: str, function: Callable[..., object], *args: object) -> object:
    """Run a coroutine function on an event loop."""
    options = {"use_uvloop": True} if loop == "uvloop" else {}
    backend = "trio" if loop == "trio" else "asyncio"
    return anyio.run(function, *args, backend=backend, backend_options=options)  # type: ignore[arg-type]


def run_all(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure every loop, each with a worker in a process of its own."""
    results: dict[str, dict[str, list[float]]] = {}
    with serving() as url:
        for loop in LOOPS:
            print(f"{loop}: {rounds} rounds", file=sys.stderr)
            command = [sys.executable, __file__, "--worker", loop, url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
                try:
                    results[loop] = run_on(loop, measure, loop, url, rounds, worker)  # type: ignore[assignment]
                finally:
                    worker.terminate()
    return results


def summarize(results: dict[str, dict[str, list[float]]]) -> list[dict[str, float | str]]:
    """Return p50, p99 and the longest, for each loop and for both what was measured."""
    rows: list[dict[str, float | str]] = []
    for loop, measured in results.items():
        row: dict[str, float | str] = {"loop": loop}
        for what, times in measured.items():
            cuts = quantiles(times, n=100, method="inclusive")
            row |= {f"{what} p50": cuts[49], f"{what} p99": cuts[98], f"{what} max": max(times)}
        rows.append(row)
    return rows


def show(rows: list[dict[str, float | str]]) -> None:
    """Print the table, in milliseconds; a p99 above the target is marked."""
    names = [name for name in rows[0] if name != "loop"]
    print(f"{'ms':10}" + "".join(f"{name:>16}" for name in names))
    for row in rows:
        missed = "!" if float(row["exception p99"]) > TARGET_MS else ""
        print(f"{row['loop']:10}" + "".join(f"{float(row[name]):16.2f}" for name in names) + missed)


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
