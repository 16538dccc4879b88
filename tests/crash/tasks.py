"""What the worker processes run: tasks that leave a trace which needs no Redis."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import anyio

from docket_anyio import ConcurrencyLimit, Retry
from tests.journal import Journal

JOURNAL = "TEST_JOURNAL"


def journal() -> Journal:
    return Journal(Path(os.environ[JOURNAL]))


def die_with_the_tests() -> None:
    """End this process when the test run is killed outright, and so cannot end it."""
    if sys.platform == "linux" and "TEST_PROCESS" in os.environ:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != int(os.environ["TEST_PROCESS"]):
            os.kill(os.getpid(), signal.SIGKILL)


async def work(number: int, seconds: float, retry: Retry = Retry(attempts=3)) -> int:
    journal().write("start", number, retry.attempt)
    await anyio.sleep(seconds)
    journal().write("end", number, retry.attempt)
    return number * number


async def fail_then_stay(number: int, seconds: float, retry: Retry = Retry(attempts=3)) -> int:
    """Fail once, then stay until cancelled, then return the attempt: whoever runs it next is to have the same."""
    been_here = journal().count("stay")[number]
    journal().write("start", number, retry.attempt)
    if retry.attempt == 1:
        raise ValueError("the first attempt fails")
    if not been_here:
        journal().write("stay", number, retry.attempt)
        await anyio.sleep_forever()
    return retry.attempt


async def _stay(number: int, seconds: float, where: str) -> int:
    journal().write("start", number, where)
    await anyio.sleep(seconds)
    journal().write("end", number, where)
    return number * number


async def alone(number: int, seconds: float, where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where", 1)) -> int:
    """Run where nobody else of the same place does."""
    return await _stay(number, seconds, where)


async def three(number: int, seconds: float, where: str, limit: ConcurrencyLimit = ConcurrencyLimit("where", 3)) -> int:
    """Run with two others of the same place at most."""
    return await _stay(number, seconds, where)


async def free(number: int, seconds: float, where: str) -> int:
    """Run with any number of others."""
    return await _stay(number, seconds, where)


tasks = [work, fail_then_stay, alone, three, free]
die_with_the_tests()
