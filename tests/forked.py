"""Python programs as processes that start fast: forked off one that has imported already what they need."""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from attrs import define, field

# pytest, because each child imports the program that runs the tests.
PRELOADED = ["pytest", "docket_anyio.cli", "trio", "uvloop", "tests.crash.tasks"]
_context = get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def run_program(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """Become ``python ARGUMENTS``, where these are ``-m`` and a module and its own."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(sink, standard)
    os.environ.update(environment)
    module, *rest = arguments[1:]
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@define(eq=False)
class ForkedProcess:
    """Has what tests need of ``subprocess.Popen``."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    _process: BaseProcess = field(init=False)

    def __attrs_post_init__(self) -> None:
        given = (self.arguments, self.environment, str(self.log))
        self._process = _context.Process(target=run_program, args=given)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self, seconds: float) -> None:
        self._process.join(seconds)
