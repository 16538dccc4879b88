"""pydocket and docket-anyio in processes of their own, on one Redis."""

from __future__ import annotations

import itertools
import json
import os
import select
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from attrs import define, field

from tests.journal import Journal
from tests.processes import PATIENCE, Process, Processes, RawDocket, open_processes, wait_until
from tests.servers import RedisServer

PYDOCKET = "pydocket"
OURS = ["asyncio", "trio"]
# In seconds from now: a second ago is now by anybody's clock, by that of this process and by Redis's.
DUE = -1.0


@define(eq=False)
class Peer:
    """A process with one of the libraries in it, which is told what to do."""

    kind: str
    process: Process
    _popen: Any = field(init=False)
    _numbers: Iterator[int] = field(factory=itertools.count, init=False)
    _unread: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self._popen = self.process.process

    def ask(self, method: str, **arguments: Any) -> Any:
        """Have it call a method of its ``Peer``, and return what that returned."""
        number = next(self._numbers)
        self._popen.stdin.write(json.dumps([number, method, arguments]).encode() + b"\n")
        self._popen.stdin.flush()
        reply = json.loads(self._read_line())
        assert reply.pop("number") == number
        if "error" in reply:
            raise AssertionError(f"{self.kind}: {method}({arguments}): {reply['error']}")
        return reply["value"]

    def _read_line(self) -> bytes:
        deadline = time.monotonic() + PATIENCE
        stdout = self._popen.stdout
        while b"\n" not in self._unread:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(stdout.fileno(), 65536) if ready else b""
            if not more:
                pytest.fail(f"{self.kind} does not answer:\n{self.process.output()}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line


@define(eq=False)
class Side:
    """One library's view of a docket: its client, and its workers if it is to have any."""

    peer: Peer
    docket: RawDocket
    working: set[str] = field(factory=set)

    @property
    def kind(self) -> str:
        return self.peer.kind

    def add(
        self,
        task: str,
        call: str = "",
        *,
        key: str,
        delay: float | None = None,
        expires: float | None = None,
        priority: str | None = None,
    ) -> str:
        """Add a task; ``call`` is its arguments as Python has them. Return the disposition, or what was raised."""
        extras = {"expires": expires, "priority": priority}
        more = {name: value for name, value in extras.items() if value is not None}
        return self.peer.ask("add", docket=self.docket.name, task=task, call=call, key=key, delay=delay, **more)

    def replace(self, task: str, call: str = "", *, key: str, delay: float = DUE) -> str:
        return self.peer.ask("replace", docket=self.docket.name, task=task, call=call, key=key, delay=delay)

    def add_many(self, task: str, calls: dict[str, str], *, delay: float = DUE, replace: bool = False) -> list[str]:
        """Add a task under many keys at once, or replace what is there; return the dispositions."""
        arguments = {"task": task, "calls": calls, "delay": delay, "replace": replace}
        return self.peer.ask("many", docket=self.docket.name, **arguments)

    def strike(self, task: str | None, parameter: str | None = None, how: str = "'==', None") -> None:
        """Strike a task or a parameter; ``how`` is the operator and the value as Python has them."""
        self._instruct(task, parameter, how, lift=False)

    def restore(self, task: str | None, parameter: str | None = None, how: str = "'==', None") -> None:
        self._instruct(task, parameter, how, lift=True)

    def _instruct(self, task: str | None, parameter: str | None, how: str, *, lift: bool) -> None:
        arguments = {"lift": lift, "function": task, "parameter": parameter, "how": how}
        self.peer.ask("strike", docket=self.docket.name, **arguments)

    def pause(self) -> str:
        """Pause the docket. Return how it is then, or what was raised."""
        return self.peer.ask("pause", docket=self.docket.name)

    def resume(self) -> None:
        self.peer.ask("resume", docket=self.docket.name)

    def clear(self) -> int:
        return self.peer.ask("clear", docket=self.docket.name)

    def snapshot(self) -> dict[str, Any]:
        return self.peer.ask("snapshot", docket=self.docket.name)

    def progress(self, key: str, *, increment: int = 0) -> list[Any]:
        return self.peer.ask("progress", docket=self.docket.name, key=key, increment=increment)

    def follow(self, key: str) -> None:
        """Subscribe to a key, until its end."""
        self.peer.ask("follow", docket=self.docket.name, key=key)

    def events(self, key: str) -> list[Any]:
        """Return what the subscription to a key gave, when it has ended."""
        return self.peer.ask("events", key=key)

    def automate(self) -> None:
        """Register the automatic tasks."""
        self.peer.ask("automatic", docket=self.docket.name)

    def cancel(self, key: str, **more: Any) -> str:
        """Cancel a key; ours takes a reason and a grace, and tells what came of it."""
        return self.peer.ask("cancel", docket=self.docket.name, key=key, **more)

    def execution(self, key: str) -> Any:
        return self.peer.ask("execution", docket=self.docket.name, key=key)

    def state(self, key: str) -> str:
        return self.execution(key)["state"]

    def result(self, key: str) -> list[str]:
        return self.peer.ask("result", docket=self.docket.name, key=key)

    def work(self, name: str = "W", *, redelivery: float = 300.0, concurrency: int = 10) -> None:
        """Start a worker, and wait until it works."""
        before = self.docket.workers()
        arguments = {"worker": name, "redelivery": redelivery, "concurrency": concurrency}
        self.peer.ask("work", docket=self.docket.name, **arguments)
        self.working.add(name)
        wait_until(lambda: name in self.docket.workers() or name in before, f"the heartbeat of {self.kind}")

    def stop(self, name: str = "W", *, grace: float = 10.0) -> None:
        self.working.remove(name)
        self.peer.ask("stop", worker=name, grace=grace)


@define(eq=False)
class Meeting:
    """Dockets and libraries for one test."""

    url: str
    redis: redis.Redis
    journal: Journal
    processes: Processes
    peers: dict[str, Peer]
    _open: list[Side] = field(factory=list, init=False)

    def docket(self) -> RawDocket:
        return RawDocket(self.redis, f"docket-{uuid4().hex}")

    def side(self, kind: str, docket: RawDocket, *, mortal: bool = False, ttl: float = 900.0) -> Side:
        """Open a docket in a library.

        Args:
            kind: Which library, and on which loop.
            docket: Which docket.
            mortal: In a process of its own, that can be killed.
            ttl: Its ``execution_ttl``.
        """
        peer = start_peer(self.processes, kind, self.journal) if mortal else self.peers.get(kind)
        if peer is None:
            peer = self.peers[kind] = start_peer(self.processes, kind, self.journal)
        side = Side(peer, docket)
        peer.ask("open", docket=docket.name, url=self.url, ttl=ttl)
        self._open.append(side)
        return side

    def close(self) -> None:
        """Stop the workers, without waiting for what they run, and close the dockets."""
        self.gate.touch()
        for side in self._open:
            if side.peer.process.process.poll() is None:
                for name in list(side.working):
                    side.stop(name, grace=0)
        while self._open:
            side = self._open.pop()
            if side.peer.process.process.poll() is None:
                side.peer.ask("close", docket=side.docket.name)

    @property
    def gate(self) -> Path:
        """The file that tasks called ``hold`` wait for."""
        return self.processes.directory / "gate"

    def shut_gate(self) -> None:
        self.gate.unlink(missing_ok=True)

    @property
    def hold(self) -> str:
        """The arguments of a task called ``hold``."""
        return f"1, {str(self.gate)!r}"


def start_peer(processes: Processes, kind: str, journal: Journal) -> Peer:
    name = f"{kind}-{uuid4().hex[:6]}"
    process = processes.start_dialogue(name, "-m", "tests.interop.peer", kind, journal.path)
    return Peer(kind, process)


@pytest.fixture(scope="package", autouse=True)
def pydocket() -> None:
    """pydocket, which only some environments have. It is slow to import, and this process has no use for it."""
    if find_spec("docket") is None:
        pytest.skip("pydocket is not installed")


@pytest.fixture(scope="package")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, dict[str, Peer], Journal]]:
    directory = tmp_path_factory.mktemp("interop")
    with open_processes(directory) as processes:
        yield processes, {}, Journal(directory / "journal")


@pytest.fixture
def meeting(peers: tuple[Processes, dict[str, Peer], Journal], redis_server: RedisServer) -> Iterator[Meeting]:
    processes, kinds, journal = peers
    journal.path.unlink(missing_ok=True)
    with redis.Redis.from_url(redis_server.url) as client:
        meeting = Meeting(redis_server.url, client, journal, processes, kinds)
        meeting.shut_gate()
        try:
            yield meeting
        finally:
            meeting.close()


@pytest.fixture(params=OURS)
def ours(request: pytest.FixtureRequest) -> str:
    """docket-anyio, by the loop that it runs on."""
    chosen = request.config.getoption("--backend")
    if chosen and request.param not in chosen:
        pytest.skip("another event loop was asked for")
    return str(request.param)


@pytest.fixture(params=["pydocket adds", "we add"])
def pair(request: pytest.FixtureRequest, ours: str) -> tuple[str, str]:
    """Who adds, and who works."""
    return (PYDOCKET, ours) if request.param == "pydocket adds" else (ours, PYDOCKET)
