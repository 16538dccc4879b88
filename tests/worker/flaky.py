"""A Redis that dies and comes back at the same address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from tests.servers import GUARD


@define(eq=False)
class FlakyRedis:
    """A redis-server on one port. With ``keeps`` it comes back with all that it was told, else with nothing."""

    _binary: str
    _directory: Path
    _port: int
    _keeps: bool
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        pid = self._directory / "pid"
        pid.unlink(missing_ok=True)
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self._port),
            "--dir": str(self._directory),
            "--pidfile": str(pid),
            "--save": "",
            "--appendonly": "yes" if self._keeps else "no",
            "--appendfsync": "always",
        }
        self._process = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", self._binary, *(word for pair in options.items() for word in pair)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        os.kill(int((self._directory / "pid").read_text()), signal.SIGKILL)
        self._process.wait(10)
        self._process.stdin.close()
        self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def flaky_redis(binary: str, *, keeps: bool) -> Iterator[FlakyRedis]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="docket-flaky-") as name:
        redis = FlakyRedis(binary, Path(name), port, keeps)
        redis.start()
        try:
            yield redis
        finally:
            redis.kill()
