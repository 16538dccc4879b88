"""A program with a pool whose processes are busy, each in another way, until somebody kills it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import anyio

from tests.executors.conftest import open_pool, process_call


def told(folder: Path, what: str) -> None:
    started = subprocess.Popen(["sleep", "600"])
    (folder / what).write_text(f"{os.getpid()} {started.pid}")


def compute(folder: Path) -> NoReturn:
    told(folder, "compute")
    while True:
        pass


def hold_the_interpreter(folder: Path) -> int:
    told(folder, "hold")
    return sum(range(10**14))


async def wait(folder: Path) -> None:
    told(folder, "wait")
    await anyio.sleep_forever()


async def block_the_event_loop(folder: Path) -> None:
    told(folder, "block")
    time.sleep(600)  # noqa: ASYNC251 - that is what it does


def idle(folder: Path) -> None:
    told(folder, "idle")


async def main(folder: Path) -> None:
    bodies = [compute, wait, block_the_event_loop, idle]
    if sys.platform == "linux":
        bodies.append(hold_the_interpreter)
    async with open_pool(size=len(bodies)) as pool, anyio.create_task_group() as group:
        for body in bodies:
            group.start_soon(pool.call, process_call(body, folder))
        with anyio.fail_after(60):
            while len([*folder.iterdir()]) < len(bodies):  # noqa: ASYNC110, ASYNC240 - outside of this process
                await anyio.sleep(0.05)
        (folder / "ready").touch()
        await anyio.sleep_forever()


if __name__ == "__main__":
    backend, _, uvloop = sys.argv[2].partition("+")
    anyio.run(main, Path(sys.argv[1]), backend=backend, backend_options={"use_uvloop": True} if uvloop else {})
