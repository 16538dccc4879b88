"""How fast the Redis client is, as ratios against redis.asyncio on plain asyncio in the same run.

    python benchmarks/client.py [--rounds 7] [--calls 20000] [--json results.json]

Starts a redis-server of its own. Each client on each event loop is measured in a fresh process, the rounds go through
all of them in turn, and the table shows medians, so that a noisy machine disturbs everyone alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import anyio
from surroundings import run_on, serving

SCRIPT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
TASKS = (100, 10, 1)
BASELINE = ("redis.asyncio", "asyncio")
LINEUP = (
    BASELINE,
    ("redis.asyncio", "uvloop"),
    ("run_script", "asyncio"),
    ("run_script", "uvloop"),
    ("run_script", "trio"),
    ("evalsha", "asyncio"),
    ("evalsha", "uvloop"),
    ("evalsha", "trio"),
)
TARGETS = {"asyncio": (4.0, None, 1.2), "uvloop": (5.0, None, 1.2), "trio": (4.0, None, 1.2)}
Call = Callable[[], Awaitable[Any]]


async def measure(call: Call, calls: int) -> dict[str, dict[str, float]]:
    """Call concurrently, from more and from fewer tasks."""
    results: dict[str, dict[str, float]] = {}

    async def caller(count: int) -> None:
        for _ in range(count):
            await call()

    for tasks in TASKS:
        total = calls if tasks > 1 else calls // 2
        for count in (total // 10, total):  # the first time warms up
            cpu, begun = time.process_time(), time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(tasks):
                    group.start_soon(caller, count // tasks)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
            made = count // tasks * tasks
            results[str(tasks)] = {"per_second": made / seconds, "cpu_us": cpu / made * 1e6}
    return results


async def measure_client(client: str, url: str, calls: int) -> dict[str, dict[str, float]]:
    """Measure one client on the running event loop."""
    if client == "redis.asyncio":
        from redis.asyncio import Redis  # noqa: PLC0415 - one client in a process

        theirs: Any = cast("Any", Redis).from_url(url, protocol=2)
        sha = await theirs.script_load(SCRIPT)
        try:
            return await measure(lambda: theirs.evalsha(sha, 1, "counter", 1), calls)
        finally:
            await theirs.aclose()
    from docket_anyio._redis.client import connect  # noqa: PLC0415
    from docket_anyio._redis.script import Script  # noqa: PLC0415
    from docket_anyio._redis.url import parse_url  # noqa: PLC0415

    script = Script(SCRIPT)
    async with connect(parse_url(url)) as ours:
        await ours.run_script(script, ["counter"], [1])
        if client == "evalsha":
            return await measure(lambda: ours.evalsha(script.sha, 1, "counter", 1), calls)
        return await measure(lambda: ours.run_script(script, ["counter"], [1]), calls)


def run_one(client: str, loop: str, url: str, calls: int) -> None:
    """Measure here, and print JSON."""
    print(json.dumps(run_on(loop, measure_client, client, url, calls)))


def run_all(rounds: int, calls: int) -> dict[tuple[str, str], list[dict[str, dict[str, float]]]]:
    """Measure every client on every loop in processes of their own, round by round."""
    results: dict[tuple[str, str], list[dict[str, dict[str, float]]]] = {who: [] for who in LINEUP}
    with serving() as url:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for client, loop in LINEUP:
                command = [sys.executable, __file__, "--one", client, loop, url, "--calls", str(calls)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                results[client, loop].append(json.loads(output))
    return results


def summarize(results: dict[tuple[str, str], list[dict[str, dict[str, float]]]]) -> list[dict[str, Any]]:
    """Return the medians: of the ratios against the baseline of the same round, and of the figures."""
    rows: list[dict[str, Any]] = []
    for (client, loop), rounds in results.items():
        row: dict[str, Any] = {"client": client, "loop": loop}
        for tasks in map(str, TASKS):
            pairs = zip(rounds, results[BASELINE], strict=True)
            row[tasks] = {
                "ratio": median(ours[tasks]["per_second"] / base[tasks]["per_second"] for ours, base in pairs),
                "per_second": median(measured[tasks]["per_second"] for measured in rounds),
                "cpu_us": median(measured[tasks]["cpu_us"] for measured in rounds),
            }
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table; a ratio below its target is marked."""
    titles = "".join(f"{f'{tasks} task' + 's' * (tasks > 1):>30}" for tasks in TASKS)
    print(f"{'':24}{titles}")
    print(f"{'':24}" + f"{'ratio   calls/s   cpu us':>30}" * len(TASKS))
    for row in rows:
        cells = ""
        for tasks, target in zip(TASKS, TARGETS[row["loop"]], strict=True):
            cell = row[str(tasks)]
            missed = "!" if row["client"] == "run_script" and target is not None and cell["ratio"] < target else " "
            cells += f"{cell['ratio']:13.2f}{missed}{cell['per_second']:8.0f}{cell['cpu_us']:8.1f}"
        print(f"{row['client'] + ' ' + row['loop']:24}{cells}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("CLIENT", "LOOP", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        client, loop, url = options.one
        run_one(client, loop, url, options.calls)
        return
    rows = summarize(run_all(options.rounds, options.calls))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
