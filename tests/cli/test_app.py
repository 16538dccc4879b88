from __future__ import annotations

import subprocess
import sys

import pytest

import docket_anyio
from tests.cli.conftest import Call


def test_version(call: Call) -> None:
    ended = call("--version")
    assert (ended.status, ended.out) == (0, f"docket-anyio {docket_anyio.__version__}\n")

    ended = call("version")
    assert ended.status == 0
    assert ended.out.startswith(f"docket-anyio {docket_anyio.__version__}\n")
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in ended.out


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docket_anyio", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"docket-anyio {docket_anyio.__version__}\n"


def test_without_a_command_it_helps(call: Call) -> None:
    ended = call()
    assert ended.status == 2
    assert "Usage: docket-anyio [OPTIONS] COMMAND" in ended.out


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(call: Call, option: str) -> None:
    ended = call("run", option)
    assert ended.status == 0
    assert "Example: docket-anyio run --docket emails --tasks emails:tasks --backend trio" in " ".join(
        ended.out.split()
    )
    assert "[default 20s, $DOCKET_WORKER_GRACE]" in " ".join(ended.out.split())
    assert max(map(len, ended.out.splitlines())) <= 100
