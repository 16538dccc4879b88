"""What the benchmarks run in: a redis-server of their own, and an event loop by name."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import anyio

T = TypeVar("T")


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


def run_on(loop: str, function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run a coroutine function on ``asyncio``, ``uvloop`` or ``trio``."""
    backend = "trio" if loop == "trio" else "asyncio"
    options = {"use_uvloop": True} if loop == "uvloop" else {}
    return anyio.run(function, *args, backend=backend, backend_options=options)
