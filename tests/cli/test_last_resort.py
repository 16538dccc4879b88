"""A thread that goes on for ever does not keep its process."""

from __future__ import annotations

import subprocess
import sys

import anyio

# The command gives a worker half a minute more than its grace; nobody wants to wait for that here.
PROGRAM = """
import sys, time
from datetime import timedelta
from functools import partial
import anyio
from docket_anyio import Docket, Worker
from docket_anyio.cli.backends import BACKENDS, run_on
from docket_anyio.cli.last_resort import LastResort

def body():
    print("ran", flush=True)
    {body}

async def main(last_resort):
    async with Docket("stuck", "memory://") as docket:
        await docket.add(body, key="one")()
        options = {{"grace": timedelta(0), "instruments": [last_resort]}}
        async with Worker(docket, "W", **options) as worker, anyio.create_task_group() as group:
            await group.start(worker.run_forever)
            await anyio.sleep(0.2)
            worker.stop()
    print("ended", flush=True)

with LastResort(timedelta(seconds={patience})) as last_resort:
    run_on(BACKENDS[sys.argv[1]], partial(main, last_resort))
print("left", flush=True)
"""


async def run(loop: str, body: str, patience: float) -> tuple[int, str, str]:
    program = PROGRAM.format(body=body, patience=patience)
    with anyio.fail_after(30):
        ended = await anyio.run_process(
            [sys.executable, "-c", program, loop], check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def test_the_process_ends_and_says_what_it_leaves(loop: str) -> None:
    code, out, err = await run(loop, "time.sleep(3600)", 6)
    assert (code, out) == (1, "ran\n")
    assert "docket-anyio: the worker 'W' cannot stop; still in threads: body{one}. They are delivered again" in err


async def test_a_thread_that_ends_in_time_is_waited_for(loop: str) -> None:
    code, out, err = await run(loop, "time.sleep(1)", 20)
    assert (code, out) == (0, "ran\nended\nleft\n")
    assert "cannot stop" not in err
