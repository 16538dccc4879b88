"""What ends a process when its worker dies, even one that lets no thread of Python's run: the kernel, on Linux.

Everywhere a thread of the process sees the end of its input. But a long call into C may keep that thread from running.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

if sys.platform == "linux":
    import fcntl


@contextmanager
def lifeline() -> Generator[int | None]:
    """Give what a process is to hold on to, as long as the block lasts; ``None`` where there is no such thing."""
    if sys.platform != "linux":
        yield None
        return
    theirs, ours = os.pipe()
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


def hold_on(line: int) -> None:
    """Have the kernel kill this process and all that it has started as soon as the worker is no more.

    Nothing ever comes through the pipe, so the only thing to be signalled is that nobody has its other end any more.
    """
    if sys.platform == "linux":
        os.set_inheritable(line, False)  # noqa: FBT003 - the standard library's
        fcntl.fcntl(line, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)
