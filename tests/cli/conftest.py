"""The command, called in this process or run in one of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from attrs import frozen

from docket_anyio.cli import main
from tests.cli.commands import Commands, open_commands


@frozen
class Ended:
    """How a command ended."""

    status: object
    out: str
    err: str


class Call(Protocol):
    """Call the command in this process: ``call("run", "--concurrency", "0")``."""

    def __call__(self, *arguments: str) -> Ended: ...


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    def called(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["docket-anyio", *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds the current folder
        with pytest.raises(SystemExit) as exit_:
            main()
        return Ended(exit_.value.code, *capsys.readouterr())

    return called


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with open_commands(tmp_path) as commands:
        yield commands


@pytest.fixture
def loop(anyio_backend: tuple[str, dict[str, Any]]) -> str:
    """The event loop of the processes, as the command line has it."""
    backend, options = anyio_backend
    return "asyncio+uvloop" if options.get("use_uvloop") else backend
