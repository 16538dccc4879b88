"""Worker and producer processes for tests: started, waited for within a deadline, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from attrs import define, field

from tests.forked import ForkedProcess

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0
"""Seconds that anything a test waits for may take, on a machine that has much else to do."""

FULL = bool(os.environ.get("DOCKET_ANYIO_FULL_SIZE"))
"""Whether the acceptance runs have the size that they are specified with, and not the one that CI has time for."""


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait for a fact outside of this process."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)


@define(eq=False)
class Process:
    """A process that a test has started."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] | ForkedProcess

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def output(self) -> str:
        return self.log.read_text()


@define(eq=False)
class Processes:
    """The processes of one test. They run in the repository's folder, so that they can import from ``tests``.

    ``fresh`` ones are interpreters of their own, as they are outside of tests. Others are forked, which saves the time
    that imports take.
    """

    directory: Path
    environment: dict[str, str] = field(factory=dict)
    fresh: bool = FULL
    _started: list[Process] = field(factory=list, init=False)

    def start(self, name: str, *arguments: object) -> Process:
        """Run a Python program: ``start("a worker", "-m", "docket_anyio", "run")``."""
        words = [*map(str, arguments)]
        if self.fresh:
            return self._start(name, lambda log: self._spawn(words, log))
        return self._start(name, lambda log: ForkedProcess(words, self._environment(), log))

    def start_dialogue(self, name: str, *arguments: object) -> Process:
        """Run a Python program that reads from this process, and writes to it."""
        pipe = subprocess.PIPE
        return self._start(name, lambda log: self._spawn([*map(str, arguments)], log, stdin=pipe, stdout=pipe))

    def _start(self, name: str, start: Callable[[Path], subprocess.Popen[bytes] | ForkedProcess]) -> Process:
        log = self.directory / f"{name}.log"
        log.touch()
        started = Process(name, log, start(log))
        self._started.append(started)
        return started

    def _spawn(
        self, words: list[str], log: Path, *, stdin: int = subprocess.DEVNULL, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as sink:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env={**os.environ, **self._environment()},
                stdin=stdin,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                start_new_session=True,  # Ctrl-C is for pytest, which then ends it
            )

    def _environment(self) -> dict[str, str]:
        return {
            **self.environment,
            "PYTHONWARNINGS": "default",
            "PYTHONUNBUFFERED": "1",
            "TEST_PROCESS": str(os.getpid()),
        }

    def wait_until(self, condition: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
        """Wait for a fact outside of this process, unless a process fails that is to bring it about."""
        wait_until(lambda: condition() or self._check(), what, seconds=seconds)

    def wait_output(self, process: Process, text: str) -> None:
        """Wait until a process has printed something."""
        self.wait_until(lambda: text in process.output(), f"{text!r} of {process.name}")

    def wait_end(self, process: Process, *, seconds: float = PATIENCE) -> None:
        """Wait for the end of a process, which has to be a good one."""
        self.wait_until(lambda: process.process.poll() is not None, f"the end of {process.name}", seconds=seconds)
        self._check()

    def _check(self) -> None:
        for each in self._started:
            if (each.process.poll() or 0) > 0:  # those that a test has killed have a negative one
                pytest.fail(f"{each.name} has ended with {each.process.returncode}")

    def end(self) -> None:
        for each in self._started:
            each.process.kill()
        for each in self._started:
            each.process.wait(PATIENCE)
            if isinstance(each.process, subprocess.Popen):
                for pipe in filter(None, (each.process.stdin, each.process.stdout)):
                    pipe.close()


@contextmanager
def open_processes(directory: Path, **environment: str) -> Iterator[Processes]:
    """Give a place to start processes from. All of them are dead when it is left."""
    processes = Processes(directory, environment)
    try:
        yield processes
    except BaseException:
        processes.end()
        for each in processes._started:
            print(f"--- {each.name}: exit code {each.process.returncode}\n{each.output()}")
        raise
    finally:
        processes.end()


def worker_options(
    url: str, docket: str, backend: str, *, name: str, tasks: str, **options: object
) -> Sequence[object]:
    """Return what to start a worker process with. ``backend`` is ``asyncio``, ``asyncio+uvloop`` or ``trio``."""
    common = ["--url", url, "--docket", docket, "--name", name, "--tasks", tasks, "--backend", backend]
    for option, value in options.items():
        common += [f"--{option.replace('_', '-')}", str(value)]
    return ["-m", "docket_anyio", "run", *common]


STREAMS = ("stream", "anyio:stream:high", "anyio:stream:low")


@define(eq=False)
class RawDocket:
    """A docket as Redis has it, read with redis-py and with none of our code."""

    redis: redis.Redis
    name: str
    on_cluster: bool = False

    def key(self, suffix: str) -> str:
        return f"{{{self.name}}}:{suffix}" if self.on_cluster else f"{self.name}:{suffix}"

    def pending(self, worker: str | None = None) -> dict[bytes, str]:
        """Return the keys in the workers' hands, or in one's, by the id of their messages."""
        try:
            entries = self.redis.xpending_range(self.key("stream"), "docket-workers", "-", "+", 10_000, worker)
        except redis.ResponseError:  # no group yet
            return {}
        found: dict[bytes, str] = {}
        for each in entries:
            for receipt, fields in self.redis.xrange(self.key("stream"), each["message_id"], each["message_id"]):
                found[receipt] = fields[b"key"].decode()
        return found

    def workers(self) -> list[str]:
        """Return who has a heartbeat on record."""
        return [each.decode() for each in self.redis.zrange(self.key("workers"), 0, -1)]

    def is_drained(self) -> bool:
        # At one moment: between two questions a task may go from where the second looks to where the first has looked.
        with self.redis.pipeline(transaction=True) as all_of_them:
            for each in STREAMS:
                all_of_them.xlen(self.key(each))
            return not any(all_of_them.zcard(self.key("queue")).execute())

    def leftovers(self, *workers_gone_badly: str) -> list[str]:
        """Return what is wrong with a docket whose work is done and whose workers have left. Nothing should be.

        Args:
            workers_gone_badly: Who was killed, and so may still stand among the workers until it is forgotten.
        """
        wrong = [f"the message of {key!r} is pending" for key in self.pending().values()]
        if length := sum(self.redis.xlen(self.key(each)) for each in STREAMS):
            wrong.append(f"{length} messages in the streams")
        if parked := self.redis.zcard(self.key("queue")):
            wrong.append(f"{parked} keys in the queue")
        wrong += [f"worker {each!r} has not departed" for each in {*self.workers()} - {*workers_gone_badly}]
        for name in self.redis.scan_iter(self.key("*"), count=1000):
            suffix = name.decode().removeprefix(self.key(""))
            if suffix in {*STREAMS, "anyio:sequence"}:
                continue
            if suffix.startswith(("workers", "task-workers:", "anyio:honours:")):
                members = {each.decode() for each in self.redis.zrange(name, 0, -1)}
                if members <= {*workers_gone_badly}:
                    continue
            if suffix.startswith("runs:") and self.redis.hget(name, "state") not in {b"completed", b"failed"}:
                wrong.append(f"{suffix} is {self.redis.hget(name, 'state')!r}")
            if self.redis.ttl(name) == -1:  # -2 is gone by now
                wrong.append(f"{suffix} has no time to live")
        return wrong
