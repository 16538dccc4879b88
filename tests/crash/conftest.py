"""Processes on a real Redis, on every event loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from attrs import define

from tests.journal import Journal
from tests.processes import Process, Processes, RawDocket, open_processes, worker_options
from tests.servers import RedisServer

TASKS = "tests.crash.tasks:tasks"


@define(eq=False)
class Fleet:
    """Workers and producers of one docket, in processes of their own, and what they have written down."""

    url: str
    docket: RawDocket
    loop: str
    processes: Processes
    journal: Journal
    """What the tasks write."""
    produced: Journal
    """What the producers write."""

    def start_worker(self, name: str = "worker", **options: object) -> Process:
        arguments = worker_options(self.url, self.docket.name, self.loop, name=name, tasks=TASKS, **options)
        return self.processes.start(name, *arguments)

    def start_producer(self, count: int, *flags: str, **options: object) -> Process:
        given = [word for name, value in options.items() for word in (f"--{name}", value)]
        return self.processes.start(
            "producer", "-m", "tests.crash.producer", "--url", self.url, "--docket", self.docket.name,
            "--backend", self.loop, "--journal", self.produced.path, "--count", count, *given, *flags,
        )  # fmt: skip


@pytest.fixture
def loop(anyio_backend: tuple[str, dict[str, Any]]) -> str:
    """The event loop of the processes."""
    backend, options = anyio_backend
    return "asyncio+uvloop" if options.get("use_uvloop") else backend


@pytest.fixture
def make_fleet(loop: str, tmp_path: Path) -> Iterator[Any]:
    with open_processes(tmp_path, TEST_JOURNAL=str(tmp_path / "journal")) as processes:
        clients: list[redis.Redis] = []

        def make(url: str, *, name: str = "", seen_at: str = "") -> Fleet:
            client = redis.Redis.from_url(seen_at or url)
            clients.append(client)
            docket = RawDocket(client, name or f"docket-{uuid4().hex}", on_cluster="+cluster" in url)
            return Fleet(url, docket, loop, processes, Journal(tmp_path / "journal"), Journal(tmp_path / "produced"))

        yield make
        for each in clients:
            each.close()


@pytest.fixture
def fleet(make_fleet: Any, redis_server: RedisServer) -> Fleet:
    return make_fleet(redis_server.url)
