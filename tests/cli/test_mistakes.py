"""A user's mistake is told in one line on stderr, and by the exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from docket_anyio.cli.complaints import complaints
from docket_anyio.exceptions import RedisRefused, RedisUnavailable
from tests.cli.conftest import Call, Ended
from tests.conftest import StartRedis

NOWHERE = "redis://127.0.0.1:1/0"
TASKS = "tests.cli.tasks"


def line(ended: Ended) -> str:
    """Return the line that was told."""
    assert ended.out == ""
    assert ended.err.endswith("\n")
    (told,) = ended.err.splitlines()
    assert told.startswith("docket-anyio: ")
    return told.removeprefix("docket-anyio: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("rum", "No such command 'rum'. Did you mean 'run'? (see docket-anyio --help)"),
        ("run --nope", "No such option: --nope"),
        ("run more", "unexpected extra argument"),
        ("run --docket", "Option '--docket' requires an argument"),
        ("run --concurrency x", "Invalid value for '--concurrency': 'x' is not a whole number above zero"),
        ("run --concurrency 0", "'0' is not a whole number above zero (see docket-anyio run --help)"),
        ("run --message-batch -1", "Invalid value for '--message-batch'"),
        ("run --grace soon", "Invalid value for '--grace': 'soon' is not a duration"),
        ("run --reconnection-delay 0", "Invalid value for '--reconnection-delay': must be longer than zero"),
        ("run --backend qt", "'qt' is none of asyncio, asyncio+uvloop, trio"),
        ("demo --backend qt", "'qt' is none of asyncio, asyncio+uvloop, trio"),
        ("run --logging-level loud", "'loud' is none of DEBUG, INFO"),
        ("run --url http://localhost", "the scheme 'http' is unknown; use redis, rediss, redis+cluster,"),
        ("run --url redis://localhost:port", "the port in the URL must be a number"),
        ("run --tasks nowhere:tasks", "'nowhere:tasks' cannot be loaded: No module named 'nowhere'"),
        ("run --tasks nowhere", "'nowhere' is not of the form module:name"),
        (f"run --tasks {TASKS}:none", f"the module '{TASKS}' has no 'none'"),
        (f"run --tasks {TASKS}:square", "not a collection of functions"),
        (f"run --tasks {TASKS}:numbers", "holds 1, which is not a function"),
    ],
)
def test_usage(call: Call, arguments: str, told: str) -> None:
    ended = call(*arguments.split())
    assert told in line(ended)
    assert ended.status == 2


def test_of_the_environment(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKET_WORKER_CONCURRENCY", "many")
    ended = call("run")
    assert "'many' is not a whole number above zero, from $DOCKET_WORKER_CONCURRENCY" in line(ended)
    assert ended.status == 2


@pytest.mark.parametrize("backend", ["trio", "asyncio+uvloop"])
@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_backend_that_is_not_installed(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: str, backend: str
) -> None:
    package = backend.removeprefix("asyncio+")
    monkeypatch.setitem(sys.modules, package, None)
    ended = call(command, "--backend", backend)
    assert f"{package} is not installed; run: pip install 'docket-anyio[{package}]'" in line(ended)
    assert ended.status == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("tasks = [", "'broken:tasks' cannot be loaded: SyntaxError: '[' was never closed (broken.py, line 1)"),
        ("\n1 / 0", "'broken:tasks' cannot be loaded: ZeroDivisionError: division by zero (broken.py, line 2)"),
        ("import nowhere", "'broken:tasks' cannot be loaded: No module named 'nowhere'"),
        ("def square(x): yield x\ntasks = [square]", "square"),
    ],
)
def test_a_module_that_is_broken(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, told: str
) -> None:
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    ended = call("run", "--tasks", "broken:tasks")
    assert told in line(ended)
    assert ended.status == 2


@pytest.mark.parametrize("backend", ["asyncio", "asyncio+uvloop", "trio"])
def test_redis_that_is_not_there(call: Call, backend: str) -> None:
    ended = call("run", "--url", NOWHERE, "--backend", backend)
    assert f"could not connect to {NOWHERE}" in line(ended)
    assert ended.status == 1


def test_a_wrong_password(call: Call, start_redis: StartRedis) -> None:
    with start_redis(password="right") as server:
        ended = call("run", "--url", server.url.replace("right", "wrong-one"))
    told = line(ended)
    assert "Redis refused the credentials" in told
    assert "wrong-one" not in told
    assert ended.status == 1


def test_in_a_process_of_its_own() -> None:
    """What the line leaves out, the log has, for who asks for it."""
    command = [sys.executable, "-m", "docket_anyio", "run", "--url", NOWHERE, "--logging-level", "debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "DEBUG docket_anyio.cli: What went wrong:\nTraceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"docket-anyio: could not connect to {NOWHERE}")


def test_one_trouble_of_several_services_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    gone, refused = RedisUnavailable("Redis is gone"), RedisRefused("Redis\nrefused")
    with pytest.raises(typer.Exit) as exit_, complaints():
        raise ExceptionGroup("", [gone, ExceptionGroup("", [refused, gone])])
    assert exit_.value.exit_code == 1
    assert capsys.readouterr().err == "docket-anyio: Redis is gone\ndocket-anyio: Redis refused\n"


@pytest.mark.parametrize(
    "group", [ExceptionGroup("", [ValueError()]), ExceptionGroup("", [ValueError(), RedisRefused()])]
)
def test_what_is_no_mistake_of_the_user_is_raised(group: ExceptionGroup[Exception]) -> None:
    with pytest.raises(ExceptionGroup) as raised, complaints():
        raise group
    assert raised.value is group
