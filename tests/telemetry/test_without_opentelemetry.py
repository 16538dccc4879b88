"""OpenTelemetry is an extra: without it everything works, and the names are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys

for name in ("opentelemetry", *(each for each in sys.modules if each.startswith("opentelemetry."))):
    sys.modules[name] = None  # as if it were not installed

import anyio
from docket_anyio import Docket, Worker, instrumentation


async def double(number):
    return 2 * number


async def main():
    async with Docket("without", "memory://") as docket, Worker(docket) as worker:
        execution = await docket.add(double)(21)
        await docket.add_many([docket.call(double)(1)])
        await docket.strike("nobody")
        await worker.run_until_finished()
        print(await execution.get_result())
        async with docket.redis() as redis:
            await docket.add(double)(1)
            (_, fields), = await redis.xrange(docket.stream_key)
            print(b"traceparent" in fields)


anyio.run(main, backend=sys.argv[1])
instrumentation.TASKS_ADDED.add(1, {"docket.name": "without"})
instrumentation.TASKS_RUNNING.add(-1)
instrumentation.TASK_DURATION.record(0.5, {})
instrumentation.QUEUE_DEPTH.set(3)
message = {}
instrumentation.message_setter.set(message, "traceparent", "00")
print(instrumentation.message_getter.get(message, "traceparent"))
print([name for name in instrumentation.__all__ if not hasattr(instrumentation, name)])
"""


def test_a_program_without_it(anyio_backend_name: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, anyio_backend_name], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["42", "False", "['00']", "[]"]
