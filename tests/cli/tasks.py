"""Tasks for worker processes, and what is wrong as a collection of tasks."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import anyio

from tests.cli.commands import PARENT


async def square(number: int) -> int:
    return number * number


async def breathe(seconds: float) -> str:
    """Take a while, and say when it begins."""
    print("breathing in", flush=True)
    await anyio.sleep(seconds)
    return "breathed out"


async def interrupt(seconds: float) -> None:
    """Press Ctrl-C, and take no notice."""
    os.kill(os.getpid(), signal.SIGINT)
    await anyio.sleep(seconds)


tasks = [square, breathe, interrupt]
squares = [square]
breaths = (breathe,)
numbers = [1, 2]

if PARENT in os.environ and sys.platform == "linux":
    # When the test run is killed outright, it cannot end its workers, and these would wait for their Redis for ever.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
