"""Tasks whose bodies run in processes."""

from __future__ import annotations

import os
import threading
import time
from contextvars import ContextVar
from datetime import timedelta
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import Any

import anyio
from anyio import from_thread
from anyio.abc import TaskGroup

from docket_anyio import (
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Depends,
    Docket,
    Execution,
    ExecutionTasks,
    Perpetual,
    Progress,
    Retry,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    Timeout,
    Worker,
    WorkerProcess,
    check_cancelled,
)

WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")
HOUR = timedelta(hours=1)


def made_for(number: int = TaskArgument()) -> tuple[int, int]:
    return number, os.getpid()


async def shared() -> list[int]:
    return [os.getpid()]


def everything(
    number: int,
    process: WorkerProcess = WorkerProcess(),
    key: str = TaskKey(),
    made: tuple[int, int] = Depends(made_for),
    common: list[int] = Shared(shared),
    logger: LoggerAdapter[Logger] = TaskLogger(),
    execution: Execution[Any] = CurrentExecution(),
    timeout: Timeout = Timeout(HOUR),
    retry: Retry = Retry(attempts=3),
    progress: Progress = Progress(),
) -> dict[str, Any]:
    logger.warning("from %s", key)
    before = timeout.remaining()
    timeout.extend(HOUR)
    from_thread.run(progress.set_total, 9)
    from_thread.run(progress.increment, 4)
    return {
        "pid": os.getpid(),
        "key": key,
        "made": made,
        "common": common,
        "left": (before, timeout.remaining(), timeout.expired()),
        "attempt": (retry.attempt, execution.attempt),
        "execution": (execution.key, execution.args, execution.function_name, execution.get_argument("number")),
        "asked": (execution.cancel_requested, execution.stopping_because, execution.deadline),
        "progress": (progress.current, progress.total, execution.progress.current),
        "whose": WHOSE.get(),
    }


async def report(progress: Progress = Progress(), process: WorkerProcess = WorkerProcess()) -> str | None:
    await progress.set_message("half")
    await progress.increment(50)
    await progress.sync()
    return progress.message


async def pid(process: WorkerProcess = WorkerProcess()) -> int:
    return os.getpid()


async def wait(
    path: Path, execution: Execution[Any] = CurrentExecution(), process: WorkerProcess = WorkerProcess()
) -> None:
    path.write_text(str(os.getpid()))  # noqa: ASYNC240 - at once
    try:
        await anyio.sleep_forever()
    finally:
        path.with_suffix(".why").write_text(f"{execution.cancel_requested} {execution.stopping_because}")


def compute(
    path: Path, execution: Execution[Any] = CurrentExecution(), process: WorkerProcess = WorkerProcess()
) -> None:
    path.write_text(str(os.getpid()))
    try:
        while True:
            check_cancelled()
    finally:
        path.with_suffix(".why").write_text(f"{execution.cancel_requested} {execution.stopping_because}")


def compute_for_a_while(
    path: Path,
    execution: Execution[Any] = CurrentExecution(),
    timeout: Timeout = Timeout(timedelta(milliseconds=100)),
    process: WorkerProcess = WorkerProcess(),
) -> None:
    compute(path, execution)


def at_once(
    timeout: Timeout = Timeout(timedelta(milliseconds=200)), process: WorkerProcess = WorkerProcess(max_tasks=1)
) -> str:
    return "done"


def die_at_first(process: WorkerProcess = WorkerProcess(), retry: Retry = Retry(attempts=2)) -> int:
    if retry.attempt == 1:
        os._exit(7)
    return retry.attempt


def ignore(path: Path, process: WorkerProcess = WorkerProcess(grace=timedelta(milliseconds=100))) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def ask_redis(execution: Execution[Any] = CurrentExecution(), process: WorkerProcess = WorkerProcess()) -> None:
    from_thread.run(execution.sync)


def ignore_for_an_hour(path: Path, process: WorkerProcess = WorkerProcess(grace=HOUR)) -> None:
    ignore(path)


async def cancel_itself(name: str, url: str, key: str = TaskKey(), process: WorkerProcess = WorkerProcess()) -> None:
    async with Docket(name, url) as docket:
        await docket.cancel(key, reason="its own", grace=HOUR)
    await anyio.sleep_forever()


def ask_docket(execution: Execution[Any] = CurrentExecution(), process: WorkerProcess = WorkerProcess()) -> None:
    from_thread.run(execution.docket.cancel, "another")


def twice(
    number: int, perpetual: Perpetual = Perpetual(every=timedelta(0)), process: WorkerProcess = WorkerProcess()
) -> int:
    if number:
        perpetual.cancel()
    else:
        perpetual.perpetuate(number + 1)
    return number


def make_lock() -> Any:
    return [threading.Lock()]


def with_a_lock(lock: Any = Depends(make_lock), process: WorkerProcess = WorkerProcess()) -> None: ...


def trace_id(process: WorkerProcess = WorkerProcess()) -> int:
    from opentelemetry import trace

    return trace.get_current_span().get_span_context().trace_id


def wants_docket(process: WorkerProcess = WorkerProcess(), home: Docket = CurrentDocket()) -> None: ...


def wants_worker(process: WorkerProcess = WorkerProcess(), master: Worker = CurrentWorker()) -> None: ...


async def wants_tasks(process: WorkerProcess = WorkerProcess(), group: TaskGroup = ExecutionTasks()) -> None: ...
