"""Bodies that run in the processes of a pool, and know nothing of it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from docket_anyio import check_cancelled
from docket_anyio._executors.remote import Handle

COLOUR: ContextVar[Any] = ContextVar("COLOUR", default="none")


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be sent")
        self.lock = threading.Lock()


def pid() -> int:
    return os.getpid()


async def async_pid() -> int:
    await anyio.lowlevel.checkpoint()
    return os.getpid()


def double(number: int, *, offset: int = 0) -> int:
    return 2 * number + offset


def large(size: int) -> bytes:
    return bytes(size)


def length(data: bytes) -> int:
    return len(data)


def unpicklable() -> threading.Lock:
    return threading.Lock()


def fail(error: type[Exception], *words: str) -> None:
    raise error(*words)


async def fail_async(error: type[Exception], *words: str) -> None:
    fail(error, *words)


def touch(path: Path) -> None:
    path.touch()


def spin(path: Path) -> None:
    path.touch()
    while True:
        check_cancelled()


async def spin_async(path: Path) -> None:
    spin(path)


async def sleep(path: Path) -> None:
    path.touch()  # noqa: ASYNC240 - at once
    await anyio.sleep_forever()


def stop_and_return(path: Path) -> str:
    try:
        spin(path)
    except BaseException:  # noqa: ASYNC103, BLE001 - that is what it does
        return "finished"  # noqa: ASYNC104 - the same
    return "never"


async def stop_and_return_async(path: Path) -> str:
    try:
        await sleep(path)
    except BaseException:  # noqa: ASYNC103, BLE001 - that is what it does
        return "finished"  # noqa: ASYNC104 - the same
    return "never"


async def stop_and_raise(path: Path) -> None:
    try:
        await sleep(path)
    finally:
        raise LookupError("while cleaning up")


def eat_exceptions(path: Path) -> str:
    path.touch()
    while True:
        try:
            check_cancelled()
        except Exception:  # noqa: BLE001 - that is what it does
            return "eaten"


def ignore_everything(path: Path) -> None:
    started = subprocess.Popen(["sleep", "600"])
    path.with_suffix(".new").write_text(str(started.pid))
    path.with_suffix(".new").rename(path)
    while True:
        time.sleep(0.01)


def leave(code: int) -> None:
    os._exit(code)


def exit_program(code: int | str) -> None:
    sys.exit(code)


async def exit_program_async(code: int | str) -> None:
    sys.exit(code)


async def exit_program_in_a_task(code: int) -> None:
    async with anyio.create_task_group() as group:  # noqa: ASYNC112 - that it is in a group is the point
        group.start_soon(exit_program_async, code)


async def interrupt() -> None:
    raise KeyboardInterrupt


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_with_a_fork(path: Path, code: int) -> None:
    forked = os.fork()
    if forked == 0:
        time.sleep(600)
    path.write_text(str(forked))
    os._exit(code)


def fork_and_print() -> int:
    forked = os.fork()
    if forked == 0:
        print("from the fork")
        os._exit(0)
    os.waitpid(forked, 0)
    return os.getpid()


def talk_nonsense() -> None:
    wire = sys.stdout.buffer._wire  # type: ignore[attr-defined]
    os.write(wire._outgoing, b"this is no frame, is it?")
    time.sleep(600)


def open_files() -> list[str]:
    found: list[str] = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()))
    return found


def say(*words: str) -> None:
    print(*words)
    os.write(1, b"")  # goes to standard error, and does no harm


def say_much(size: int) -> None:
    print("x" * size)


def log(name: str, level: int, line: str, *arguments: object, **extra: object) -> None:
    logging.getLogger(name).log(level, line, *arguments, extra=extra)


def log_failure(name: str) -> None:
    try:
        fail(ValueError, "logged")
    except ValueError:
        logging.getLogger(name).exception("it failed", extra={"lock": threading.Lock()})


def colour() -> Any:
    return COLOUR.get()


async def colour_async() -> Any:
    return COLOUR.get()


def event_loop() -> str:
    return anyio.from_thread.run(async_event_loop)


async def async_event_loop() -> str:
    return type(anyio.lowlevel.current_token().native_token).__module__.partition(".")[0]


async def call(handle: Handle, method: str, *arguments: object) -> Any:
    return await handle.call(method, *arguments)


def call_from_thread(handle: Handle, method: str, *arguments: object) -> Any:
    return anyio.from_thread.run(call, handle, method, *arguments)


def tell(handle: Handle, method: str, *arguments: object) -> None:
    handle.tell(method, *arguments)


async def call_all(handle: Handle, count: int) -> int:
    """Ask many things at once, each in a task of its own."""
    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(call, handle, "add", number)
    return await handle.call("total")


def cost_of_checking(times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        check_cancelled()
    return (time.perf_counter() - began) / times


async def cost_of_checking_async(times: int) -> float:
    return cost_of_checking(times)
