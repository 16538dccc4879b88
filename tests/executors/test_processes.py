"""A pool runs bodies in processes, which it keeps, stops, and never leaves behind."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from docket_anyio._executors.processes import ProcessPool
from docket_anyio._executors.remote import Handle
from docket_anyio._model.outcome import CancelReason, StopRequest
from docket_anyio.exceptions import NotOpen, NotSerializable, PayloadTooLarge, TaskFailed, WorkerProcessDied
from tests.executors import bodies
from tests.executors.conftest import open_pool, process_call
from tests.processes import ROOT, wait_until

STOPPED_AT_ONCE = 5.0
"""Seconds, on a machine that has much else to do."""


async def wait_for(path: Path) -> None:
    await wait_for_fact(path.exists)


async def wait_for_fact(fact: Callable[[], object]) -> None:
    """Wait for what happens outside of this process."""
    with anyio.fail_after(20):
        while not fact():  # noqa: ASYNC110 - the same
            await anyio.sleep(0.01)


async def cancelled_when_started(pool: ProcessPool, path: Path, function: Any, **options: Any) -> tuple[Any, float]:
    """Call a body, cancel it once it runs, and return what it returned all the same, and how long that took."""
    result: list[Any] = []
    async with anyio.create_task_group() as group:

        async def call() -> None:
            result.append(await pool.call(process_call(function, path, **options)))

        group.start_soon(call)
        await wait_for(path)
        group.cancel_scope.cancel()
        began = time.monotonic()
    return (result[0] if result else None), time.monotonic() - began


def is_gone(pid: int) -> bool:
    # Who has lost its parent may stay a zombie where nobody takes care of orphans.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def children() -> set[int]:
    found = set()
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(each.parent.name))
    return found


async def test_a_process_runs_one_body_after_the_other(pool: ProcessPool) -> None:
    pids = [await pool.call(process_call(body)) for body in (bodies.pid, bodies.async_pid, bodies.pid)]
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()


async def test_arguments_come_through(pool: ProcessPool) -> None:
    assert await pool.call(process_call(bodies.double, 4, kwargs={"offset": 1})) == 9


async def test_the_event_loop_is_of_the_same_kind(pool: ProcessPool) -> None:
    here = await bodies.async_event_loop()
    assert await pool.call(process_call(bodies.async_event_loop)) == here
    assert await pool.call(process_call(bodies.event_loop)) == here


@pytest.mark.parametrize("body", [bodies.fail, bodies.fail_async])
async def test_what_a_body_raises_is_raised_and_tells_where(pool: ProcessPool, body: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="by zero") as raised:
        await pool.call(process_call(body, ZeroDivisionError, "by zero"))
    (note,) = raised.value.__notes__
    assert "bodies.py" in note
    assert "in fail" in note


async def test_an_exception_that_cannot_be_pickled_keeps_its_words(pool: ProcessPool) -> None:
    with pytest.raises(TaskFailed, match=r"Unpicklable: cannot be sent"):
        await pool.call(process_call(bodies.fail, bodies.Unpicklable))


async def test_a_generator_s_end_is_a_failure(pool: ProcessPool) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.call(process_call(bodies.fail, StopIteration))


async def test_what_cannot_be_pickled_is_named(pool: ProcessPool) -> None:
    with pytest.raises(NotSerializable, match=r"'double'.*argument 'number' cannot be pickled.*lock"):
        await pool.call(process_call(bodies.double, threading.Lock()))
    with pytest.raises(NotSerializable, match=r"argument 'offset' cannot be pickled"):
        await pool.call(process_call(bodies.double, 1, kwargs={"offset": threading.Lock()}))
    with pytest.raises(NotSerializable, match=r"the result of task 'unpicklable' cannot be pickled"):
        await pool.call(process_call(bodies.unpicklable))


@pytest.mark.parametrize("body", [bodies.spin, bodies.spin_async, bodies.sleep, bodies.eat_exceptions])
async def test_a_body_is_stopped_and_its_process_is_not(pool: ProcessPool, body: Any, tmp_path: Path) -> None:
    before = await pool.call(process_call(bodies.pid))
    result, seconds = await cancelled_when_started(pool, tmp_path / "started", body)
    assert result is None
    assert seconds < STOPPED_AT_ONCE
    assert await pool.call(process_call(bodies.pid)) == before


@pytest.mark.parametrize("body", [bodies.stop_and_return, bodies.stop_and_return_async])
async def test_what_a_body_returns_all_the_same_counts(pool: ProcessPool, body: Any, tmp_path: Path) -> None:
    assert (await cancelled_when_started(pool, tmp_path / "started", body))[0] == "finished"


async def test_what_a_body_raises_while_it_stops_counts(pool: ProcessPool, tmp_path: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="while cleaning up")):
        await cancelled_when_started(pool, tmp_path / "started", bodies.stop_and_raise)


@pytest.mark.parametrize("says", ["the call", "the request"])
async def test_a_body_that_ignores_everything_is_killed_at_its_grace(
    pool: ProcessPool, tmp_path: Path, says: str
) -> None:
    before, started = await pool.call(process_call(bodies.pid)), tmp_path / "started"
    because, grace = StopRequest(CancelReason.USER), 0.2
    if says == "the request":
        because, grace = StopRequest(CancelReason.USER, grace=timedelta(seconds=0.2)), 60
    result, seconds = await cancelled_when_started(
        pool, started, bodies.ignore_everything, grace=grace, because=because
    )
    assert result is None
    assert 0.2 <= seconds < STOPPED_AT_ONCE
    assert is_gone(before)
    wait_until(lambda: is_gone(int(started.read_text())), "the end of what the body has started")
    assert await pool.call(process_call(bodies.pid)) != before


@pytest.mark.parametrize(
    ("body", "arguments", "exit_code", "signal"),
    [
        (bodies.leave, (3,), 3, None),
        (bodies.exit_program, (4,), 4, None),
        (bodies.exit_program_async, (0,), 0, None),
        (bodies.exit_program, ("in words",), 1, None),
        (bodies.be_killed, (), None, 9),
        (bodies.exit_program_in_a_task, (1,), 1, None),
        (bodies.interrupt, (), 1, None),
    ],
)
async def test_a_process_that_dies_fails_its_body_and_no_other(
    pool: ProcessPool, body: Any, arguments: tuple[Any, ...], exit_code: int | None, signal: int | None
) -> None:
    with pytest.raises(WorkerProcessDied, match=repr(body.__name__)) as raised:
        await pool.call(process_call(body, *arguments))
    assert (raised.value.exit_code, raised.value.signal) == (exit_code, signal)
    assert await pool.call(process_call(bodies.double, 1)) == 2


async def test_a_fork_that_outlives_its_process_hides_nothing(pool: ProcessPool, tmp_path: Path) -> None:
    with pytest.raises(WorkerProcessDied):
        await pool.call(process_call(bodies.leave_with_a_fork, tmp_path / "fork", 5))
    wait_until(lambda: is_gone(int((tmp_path / "fork").read_text())), "the end of the fork")


async def test_a_fork_says_nothing_to_the_worker(pool: ProcessPool, capsys: pytest.CaptureFixture[str]) -> None:
    assert await pool.call(process_call(bodies.fork_and_print)) == await pool.call(process_call(bodies.pid))
    assert "from the fork" not in capsys.readouterr().out


async def test_a_process_that_talks_nonsense_is_killed(pool: ProcessPool) -> None:
    with pytest.raises(WorkerProcessDied, match="BrokenFrame"):
        await pool.call(process_call(bodies.talk_nonsense))
    assert await pool.call(process_call(bodies.double, 1)) == 2


async def test_what_is_too_large_is_refused_on_either_side(anyio_backend: object) -> None:
    async with open_pool(largest_frame=1 << 20) as pool:
        before = await pool.call(process_call(bodies.pid))
        with pytest.raises(PayloadTooLarge, match=r"what task 'length' is called with"):
            await pool.call(process_call(bodies.length, bytes(1 << 20)))
        with pytest.raises(PayloadTooLarge, match=r"the result of task 'large'"):
            await pool.call(process_call(bodies.large, 1 << 20))
        with pytest.raises(PayloadTooLarge, match=r"what too_much\(\) returned"):
            await pool.call(process_call(bodies.call, Handle(0), "too_much", objects=[Counting()]))
        await pool.call(process_call(bodies.say_much, 1 << 21))
        assert await pool.call(process_call(bodies.length, bytes(1000))) == 1000
        assert await pool.call(process_call(bodies.pid)) == before


async def test_a_process_is_replaced_after_so_many_bodies(anyio_backend: object) -> None:
    async with open_pool() as pool:
        pids = [await pool.call(process_call(bodies.pid, max_tasks=2)) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_a_process_is_replaced_when_it_holds_too_much(anyio_backend: object) -> None:
    async with open_pool() as pool:
        frugal = [await pool.call(process_call(bodies.pid, max_memory=1 << 40)) for _ in range(2)]
        greedy = [await pool.call(process_call(bodies.pid, max_memory=1)) for _ in range(2)]
    assert frugal[0] == frugal[1] == greedy[0] != greedy[1]


async def test_what_is_printed_is_printed_here(pool: ProcessPool, capsys: pytest.CaptureFixture[str]) -> None:
    await pool.call(process_call(bodies.say, "grüße", "\udcff"))
    assert capsys.readouterr().out == "grüße \\udcff\n"


async def test_log_lines_are_handled_here(pool: ProcessPool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tests.quiet")
    caplog.set_level(logging.INFO, "tests.loud")
    for name in ("tests.loud", "tests.quiet"):
        await pool.call(process_call(bodies.log, name, logging.INFO, "%s of %d", "one", 2, kwargs={"more": "told"}))
    assert caplog.record_tuples == [("tests.loud", logging.INFO, "one of 2")]
    assert caplog.records[0].more == "told"
    assert caplog.records[0].process == await pool.call(process_call(bodies.pid))


async def test_a_traceback_is_logged_with_what_cannot_be_pickled(
    pool: ProcessPool, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.call(process_call(bodies.log_failure, "tests.loud"))
    assert "ValueError: logged" in caplog.text


async def test_context_variables_come_through_and_stay_there(pool: ProcessPool) -> None:
    bodies.COLOUR.set({"red": 1})
    for body in (bodies.colour, bodies.colour_async):
        assert await pool.call(process_call(body)) == {"red": 1}
    bodies.COLOUR.set(threading.Lock())  # which cannot be sent
    assert await pool.call(process_call(bodies.colour)) == "none"


async def test_sockets_are_not_inherited(pool: ProcessPool) -> None:
    with socket.socket() as ours:
        # uvloop leaves to a process what may be inherited; nothing may, unless somebody says so.
        ours.set_inheritable(await bodies.async_event_loop() != "uvloop")
        async with open_pool() as another:
            theirs = await another.call(process_call(bodies.open_files))
            assert f"socket:[{os.fstat(ours.fileno()).st_ino}]" not in theirs


async def test_who_waits_for_a_process_can_be_cancelled_and_never_begins(pool: ProcessPool, tmp_path: Path) -> None:
    began: list[str] = []
    async with anyio.create_task_group() as group:
        first = process_call(bodies.sleep, tmp_path / "started", began=lambda: began.append("first"))
        group.start_soon(pool.call, first)
        await wait_for(tmp_path / "started")
        with anyio.move_on_after(0.05) as patience:
            second = process_call(bodies.touch, tmp_path / "second", began=lambda: began.append("second"))
            await pool.call(second)
        assert patience.cancelled_caught
        group.cancel_scope.cancel()
    await pool.call(process_call(bodies.pid))
    assert began == ["first"]
    assert not (tmp_path / "second").exists()


async def test_who_is_cancelled_while_a_process_starts_leaves_it_to_others(anyio_backend: object) -> None:
    before = children()
    async with open_pool() as pool:
        with anyio.move_on_after(0.01) as patience:
            await pool.call(process_call(bodies.pid))
        assert patience.cancelled_caught
        pid = await pool.call(process_call(bodies.pid))
        assert children() - before == {pid}


class Counting:
    def __init__(self) -> None:
        self.sum = 0

    async def add(self, number: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.sum += number

    def total(self) -> int:
        return self.sum

    async def fail(self, words: str) -> None:
        raise LookupError(words)

    def too_much(self) -> bytes:
        return bytes(1 << 20)

    def get_lock(self) -> threading.Lock:
        return threading.Lock()


async def test_a_body_calls_what_has_stayed_here(pool: ProcessPool) -> None:
    counting = Counting()
    for body in (bodies.call, bodies.call_from_thread):
        await pool.call(process_call(body, Handle(0), "add", 3, objects=[counting]))
    assert await pool.call(process_call(bodies.call, Handle(1), "total", objects=[None, counting])) == 6
    assert await pool.call(process_call(bodies.call_all, Handle(0), 10, objects=[counting])) == 6 + 45
    with pytest.raises(LookupError, match="with words"):
        await pool.call(process_call(bodies.call, Handle(0), "fail", "with words", objects=[counting]))
    with pytest.raises(NotSerializable, match=r"what get_lock\(\) returned"):
        await pool.call(process_call(bodies.call, Handle(0), "get_lock", objects=[counting]))


async def test_what_is_told_is_done_when_the_body_has_ended(pool: ProcessPool) -> None:
    told: list[int] = []
    await pool.call(process_call(bodies.tell, Handle(0), "append", 7, objects=[told]))
    assert told == [7]


async def test_a_closed_pool_leaves_nothing_behind(anyio_backend: object, tmp_path: Path) -> None:
    async with open_pool() as pool:
        await pool.call(process_call(bodies.pid))  # what the event loop itself opens for its first process stays open
    before, files = children(), bodies.open_files()
    async with open_pool(size=2) as pool:
        pool.warm()
        async with anyio.create_task_group() as group:
            group.start_soon(pool.call, process_call(bodies.ignore_everything, tmp_path / "started", grace=0.1))
            await wait_for(tmp_path / "started")
            await pool.call(process_call(bodies.pid))
            assert len(children() - before) == 2
            group.cancel_scope.cancel()
    assert children() == before
    assert sorted(bodies.open_files()) == sorted(files)
    with pytest.raises(NotOpen):
        await pool.call(process_call(bodies.pid))


async def test_warm_processes_are_there_before_they_are_needed(anyio_backend: object) -> None:
    before = children()
    async with open_pool(size=2) as pool:
        pool.warm()
        await wait_for_fact(lambda: len(children() - before) == 2)


async def test_checking_costs_next_to_nothing(pool: ProcessPool) -> None:
    # Less than a microsecond on a machine that does nothing else; this only finds what is of another kind.
    for body in (bodies.cost_of_checking, bodies.cost_of_checking_async):
        assert await pool.call(process_call(body, 10_000)) < 20e-6


MAIN = """
import anyio
from contextvars import ContextVar
from tests.executors.conftest import open_pool, process_call

WORD = ContextVar("WORD", default="none")

class Found(Exception): ...

def find(number):
    if number < 0:
        raise Found(WORD.get())
    return number + 1, WORD.get()

async def main():
    WORD.set("red")
    async with open_pool() as pool:
        print(await pool.call(process_call(find, 1)))
        try:
            await pool.call(process_call(find, -1))
        except Found as found:
            print("found", found)

anyio.run(main, backend={backend!r})
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_main_program_can_be_where_bodies_are(tmp_path: Path, backend: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(MAIN.format(backend=backend))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, env=environment, timeout=50
    )
    assert (done.stdout, done.stderr) == ("(2, 'red')\nfound red\n", "")


@pytest.mark.parametrize("backend", ["asyncio", "asyncio+uvloop", "trio"])
def test_processes_and_all_they_have_started_die_with_their_worker(tmp_path: Path, backend: str) -> None:
    command = [sys.executable, "-m", "tests.executors.pool_program", str(tmp_path), backend]
    with subprocess.Popen(command, cwd=ROOT) as program:
        try:
            wait_until((tmp_path / "ready").exists, "processes that are busy", seconds=40)
        finally:
            program.kill()
    killed = time.monotonic()
    (tmp_path / "ready").unlink()
    pids = [int(each) for path in tmp_path.iterdir() for each in path.read_text().split()]
    assert len(pids) >= 8
    wait_until(lambda: all(map(is_gone, pids)), "the end of all processes")
    assert time.monotonic() - killed < 1.0
