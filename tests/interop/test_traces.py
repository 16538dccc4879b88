"""For the same operations both libraries leave the same in Redis, and announce the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import define, field

from tests.interop.conftest import PYDOCKET, Meeting, Side
from tests.interop.traces import Recorder
from tests.processes import wait_until


@define(eq=False)
class Stage:
    """A docket on which one library adds and one works, with a recorder beside it."""

    meeting: Meeting
    client: Side
    worker: Side
    recorder: Recorder
    scenes: list[Any] = field(factory=list)

    def take(self) -> None:
        """Keep what is stored and was announced by now."""
        self.scenes.append((self.recorder.stored(), self.recorder.announced()))

    def wait_state(self, key: str, state: str) -> None:
        docket = self.recorder.docket
        wanted = state.encode()
        wait_until(lambda: docket.redis.hget(docket.key(f"runs:{key}"), "state") == wanted, f"{key} {state}")


def add(stage: Stage) -> None:
    stage.client.add("echo", "1, more={'a': [2.5, None]}", key="now")
    stage.client.add("echo", key="soon", call="1", delay=1000)
    stage.client.add("nothing", key='täsk "1"\n', delay=500)
    stage.take()
    stage.client.add("echo", "'refused'", key="now")
    stage.client.add("echo", "'refused'", key="soon")
    stage.take()


def cancel_waiting(stage: Stage) -> None:
    stage.client.add("echo", "1", key="queued")
    stage.client.add("echo", "2", key="scheduled", delay=1000)
    stage.client.cancel("queued")
    stage.client.cancel("scheduled")
    stage.client.cancel("never heard of")
    stage.take()
    stage.client.cancel("queued")
    stage.client.cancel("never heard of")
    stage.take()
    stage.client.add("echo", "3", key="queued")
    stage.client.add("echo", "4", key="scheduled", delay=1000)
    stage.take()


def run(stage: Stage) -> None:
    stage.client.add("echo", "1", key="value")
    stage.client.add("nothing", key="nothing")
    stage.client.add("boom", "'öuch'", key="boom")
    stage.client.add("echo", "5", key="later", delay=0.1)
    stage.worker.work()
    wait_until(stage.recorder.docket.is_drained, "the end")
    stage.take()
    stage.worker.stop()
    stage.take()
    stage.client.add("echo", "2", key="value")
    stage.client.add("echo", "3", key="boom", delay=1000)
    stage.take()


def running(stage: Stage) -> None:
    stage.worker.work()
    stage.client.add("hold", stage.meeting.hold, key="hold")
    stage.wait_state("hold", "running")
    stage.client.add("hold", stage.meeting.hold, key="hold")
    stage.take()


def cancel_running(stage: Stage) -> None:
    stage.worker.work()
    stage.client.add("hold", stage.meeting.hold, key="hold")
    stage.wait_state("hold", "running")
    stage.client.cancel("hold")
    wait_until(stage.recorder.docket.is_drained, "the end")
    stage.take()
    stage.client.cancel("hold")
    stage.take()


def cancel_promoted(stage: Stage) -> None:
    stage.worker.work(concurrency=1)
    stage.client.add("hold", stage.meeting.hold, key="hold")
    stage.wait_state("hold", "running")
    stage.client.add("echo", "1", key="promoted", delay=0.05)
    stage.wait_state("promoted", "queued")
    stage.client.cancel("promoted")
    stage.take()
    stage.meeting.gate.touch()
    wait_until(stage.recorder.docket.is_drained, "the end")
    stage.take()


def retry(stage: Stage) -> None:
    stage.worker.work()
    stage.client.add("flaky", "1, 1", key="flaky")
    stage.client.add("flaky", "2, 9", key="hopeless")
    wait_until(stage.recorder.docket.is_drained, "the end")
    stage.take()
    stage.client.add("flaky_later", "3, 1", key="later")
    stage.wait_state("later", "scheduled")
    stage.worker.stop()
    stage.take()


def work_on_altered(stage: Stage, key: str, alter: Callable[[dict[bytes, bytes]], dict[bytes, bytes]]) -> None:
    """One message is added, put into the stream anew in another form, and worked on."""
    stage.client.add("echo", "1", key=key)
    redis, stream = stage.recorder.docket.redis, stage.recorder.docket.key("stream")
    ((entry, fields),) = redis.xrange(stream)
    redis.xdel(stream, entry)
    redis.xadd(stream, alter(fields))
    stage.worker.work()
    wait_until(stage.recorder.docket.is_drained, "the end")
    stage.take()


def unknown_task(stage: Stage) -> None:
    """A message that the worker has no function for."""
    work_on_altered(stage, "unknown", lambda fields: {**fields, b"function": b"who_knows"})


def superseded(stage: Stage) -> None:
    """A message that is older than the record, and one whose record has gone."""
    stage.client.add("echo", "1", key="old")
    stage.client.add("echo", "1", key="gone")
    redis, docket = stage.recorder.docket.redis, stage.recorder.docket
    redis.hincrby(docket.key("runs:old"), "generation", 1)
    redis.delete(docket.key("runs:gone"))
    stage.worker.work()
    wait_until(docket.is_drained, "the end")
    stage.take()


def untracked(stage: Stage) -> None:
    """A message without a generation."""
    work_on_altered(
        stage, "untracked", lambda fields: {name: value for name, value in fields.items() if name != b"generation"}
    )


SCENARIOS: list[Callable[[Stage], None]] = [
    add, cancel_waiting, run, running, cancel_running, cancel_promoted, retry, unknown_task, superseded, untracked,
]  # fmt: skip


@contextmanager
def open_stage(meeting: Meeting, client: str, worker: str, ttl: float) -> Iterator[Stage]:
    docket = meeting.docket()
    recorder = Recorder(docket)
    try:
        adds = meeting.side(client, docket, ttl=ttl)
        works = adds if client == worker else meeting.side(worker, docket, ttl=ttl)
        yield Stage(meeting, adds, works, recorder)
    finally:
        recorder.close()
        meeting.close()


def play(meeting: Meeting, scenario: Callable[[Stage], None], client: str, worker: str, ttl: float) -> list[Any]:
    meeting.shut_gate()
    with open_stage(meeting, client, worker, ttl) as stage:
        scenario(stage)
        meeting.gate.touch()
        return stage.scenes


INTENDED = re.compile(
    # Our promoters sleep until the next task is due, so they have to be told of an earlier one. pydocket's poll.
    r" \d 1 anyio:wake: ours \[.*\], theirs '-'"
    # Once a message is cleared away, only this tells which delivery of a key it is that runs.
    r"| \d 0 runs:\S+ 2 anyio:receipt: ours '<entry>', theirs '-'"
    # What is cancelled after it was promoted leaves the stream at once; pydocket's worker announces it once more.
    r"| 0 0 stream 2 entries: ours \[\[\('key', 'hold'\).*\]\], theirs \[\[.*\], \[\('key', 'promoted'\).*\]\]"
    r"| 1 1 state:promoted: ours '-', theirs \['{.*\"state\": \"cancelled\".*}'\]"
    # By this a client sees that all workers honour an expiry and a pause: pydocket's do not say so.
    r"| \d 0 anyio:honours:(expiry|pause|priority|cancel): ours \('zset', .*\), theirs '-'"
    # What has another priority than most waits on these.
    r"| \d 0 anyio:stream:(high|low): ours \('stream', .*\), theirs '-'"
    # A run is asked to stop beside its state, which does not say what is not true yet.
    r"| \d 0 runs:hold 2 anyio:cancel_(requested|at): ours '.*', theirs '-'"
    # Of a key that nobody knows nothing is recorded.
    r"| \d 0 runs:never heard of: ours '-', theirs \('hash', .*\)"
    # pydocket keeps the progress of a failed run until the next attempt begins, with no time to live.
    r"| \d 0 progress:\S+: ours '-', theirs \('hash', 'kept', .*\)"
)
"""What is different and is to be: both as WIRE.md has it, or beside it."""


@pytest.fixture(scope="module")
def reference() -> dict[tuple[str, float], list[Any]]:
    """What pydocket did, by scenario and execution_ttl."""
    return {}


@pytest.mark.parametrize("ttl", [900.0, 0.0], ids=["kept", "not kept"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.__name__ for each in SCENARIOS])
def test_same_traces(
    meeting: Meeting,
    ours: str,
    scenario: Callable[[Stage], None],
    ttl: float,
    reference: dict[tuple[str, float], list[Any]],
) -> None:
    case = scenario.__name__, ttl
    if case not in reference:
        reference[case] = play(meeting, scenario, PYDOCKET, PYDOCKET, ttl)
    mine = play(meeting, scenario, ours, ours, ttl)
    assert [each for each in differences(mine, reference[case]) if not INTENDED.fullmatch(each)] == []


def differences(mine: Any, theirs: Any, path: str = "") -> list[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [
            line
            for name in sorted({**mine, **theirs})
            for line in differences(mine.get(name, "-"), theirs.get(name, "-"), f"{path} {name}")
        ]
    if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple) and len(mine) == len(theirs):
        pairs = zip(mine, theirs, strict=True)
        return [line for number, (a, b) in enumerate(pairs) for line in differences(a, b, f"{path} {number}")]
    return [] if mine == theirs else [f"{path}: ours {mine!r}, theirs {theirs!r}"]
