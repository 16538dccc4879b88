"""The servers that the tests start are stopped, also when the tests are not there to stop them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import ServerFailed, open_redis_server

ROOT = Path(__file__).parents[1]
KILLED_RUN = """
import os, sys
from tests.servers import open_redis_server

with open_redis_server(sys.argv[1]) as server:
    print(server.pid, server.directory, flush=True)
    os.kill(os.getpid(), int(sys.argv[2]))
"""


def _wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_server_ends_with_its_block(redis_server_binary: str) -> None:
    with open_redis_server(redis_server_binary) as server:
        pid = server.pid
        os.kill(pid, 0)
    assert _wait_gone(pid)
    assert not server.directory.exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_a_server_ends_with_the_process_that_started_it(redis_server_binary: str, signum: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, redis_server_binary, str(int(signum))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    pid, directory = run.stdout.split()
    shutil.rmtree(directory, ignore_errors=True)  # nobody was there to do it
    assert _wait_gone(int(pid))


def test_a_server_that_cannot_start_says_why(redis_server_binary: str) -> None:
    with pytest.raises(ServerFailed, match="nonsense"), open_redis_server(redis_server_binary, "--nonsense", "1"):
        pass
