"""The command in processes of its own, just as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

PARENT = "TEST_CLI_PARENT"
ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds that anything may take on a machine that has much else to do."""


@define(eq=False)
class Command:
    """A command that was started, and what it has printed on both outputs."""

    process: subprocess.Popen[bytes]
    _log: Path

    def output(self) -> str:
        return self._log.read_text()

    def wait_output(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.output():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no {text!r}; exit code {self.process.returncode}; there is:\n{self.output()}")
            time.sleep(0.005)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(PATIENCE)


@define(eq=False)
class Commands:
    """The commands of one test."""

    directory: Path
    _started: list[Command] = field(factory=list, init=False)

    def start(self, *arguments: str, stdout: int | None = None, **environment: str) -> Command:
        log = self.directory / str(len(self._started))
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "docket_anyio", *arguments],
                cwd=ROOT,  # the workers import their tasks from the tests
                env={**os.environ, "PYTHONUNBUFFERED": "1", PARENT: str(os.getpid()), **environment},
                stdin=subprocess.DEVNULL,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                start_new_session=True,  # Ctrl-C is for pytest
            )
        command = Command(process, log)
        self._started.append(command)
        return command

    def end(self) -> None:
        for each in self._started:
            each.process.kill()
            each.process.wait()


@contextmanager
def open_commands(directory: Path) -> Iterator[Commands]:
    """Give a place to start commands from. All of them have ended when it is left."""
    commands = Commands(directory)
    try:
        yield commands
    finally:
        commands.end()
