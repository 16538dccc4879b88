"""The pool of processes in which a worker runs bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from anyio import CancelScope, CapacityLimiter, create_task_group
from anyio.abc import TaskGroup
from attrs import define, field

from docket_anyio._executors.calls import ProcessCall
from docket_anyio._executors.nudge import Nudge
from docket_anyio._executors.pickling import dump_body
from docket_anyio._executors.process import LEAVING, REAPING, ChildProcess
from docket_anyio.exceptions import NotOpen

# As many bytes as no frame has: more than that is damage.
_LARGEST_FRAME: Final = 1 << 30

# How long, in seconds, a pool takes to close at most.
CLOSING: Final = LEAVING + REAPING


@define(eq=False)
class ProcessPool:
    """Processes that run bodies, one at a time each; they are kept, and serve again and again.

    They are started when they are needed, or by ``warm()``. ``run()`` is the life of the pool.

    Args:
        size: How many processes there are at most.
        largest_frame: How many bytes what is sent to a process or comes from it may have.
    """

    _size: int
    _largest_frame: int = _LARGEST_FRAME
    _free: CapacityLimiter = field(init=False)
    _idle: list[ChildProcess] = field(factory=list[ChildProcess], init=False)
    _wanted: list[ChildProcess] = field(factory=list[ChildProcess], init=False)
    _living: set[ChildProcess] = field(factory=set[ChildProcess], init=False)
    _changed: Nudge = field(factory=Nudge, init=False)
    _open: bool = field(default=False, init=False)
    _closing: bool = field(default=False, init=False)
    _shield: CancelScope = field(factory=lambda: CancelScope(shield=True), init=False)

    def __attrs_post_init__(self) -> None:
        self._free = CapacityLimiter(self._size)

    async def run(self, ready: Callable[[], None]) -> None:
        """Have processes until cancelled. When it has returned there are none.

        Args:
            ready: Called once bodies can be run.
        """
        async with create_task_group() as host:
            # Children both, so that a native cancellation of the host task cannot reach into the shield.
            host.start_soon(self._close_with_host)
            host.start_soon(self._serve, ready)

    def warm(self) -> None:
        """Start all processes that there can be."""
        for _ in range(self._size - self._free.borrowed_tokens - len(self._idle)):
            self._idle.append(self._start())

    async def call(self, call: ProcessCall) -> object:
        """Run a body in one of the processes, as soon as one is free. Until then it has not begun.

        Cancelled before, it never begins. Cancelled later, the body is told, and its process killed if it does not stop
        within its grace; what it has returned or raised by then counts.

        Raises:
            NotSerializable: What the body is called with cannot be pickled; the message names it.
            PayloadTooLarge: It is too large to be sent.
            WorkerProcessDied: The process has ended before the body had.
            NotOpen: The pool is not running.
            Exception: What the body raised.
        """
        body = dump_body(call.task, call.function, call.args, call.kwargs, call.surroundings)
        try:
            async with self._free:
                child = await self._take(call)
                if call.began is not None:
                    call.began()
                try:
                    return await child.run(call, body)
                finally:
                    self._give_back(child, call)
        finally:
            self._changed.give()

    async def wait_none(self) -> None:  # noqa: ASYNC910 - whoever waits for it goes on to wait
        """Wait until no body runs in a process."""
        while self._free.borrowed_tokens:
            await self._changed.wait()

    async def _take(self, call: ProcessCall) -> ChildProcess:
        while True:
            child = self._pick() or self._start()
            try:
                await child.wait_started()
            except BaseException:
                self._idle.append(child)
                raise
            if child.usable:
                return child
            if not child.ready:
                raise child.died(call.task)

    def _pick(self) -> ChildProcess | None:
        self._idle = [each for each in self._idle if each.usable]
        # The last one that has worked has the most in its caches; one that is still starting comes last.
        best = max(range(len(self._idle)), key=lambda index: (self._idle[index].ready, index), default=None)
        return None if best is None else self._idle.pop(best)

    def _give_back(self, child: ChildProcess, call: ProcessCall) -> None:
        worn = call.max_tasks is not None and child.tasks >= call.max_tasks
        swollen = call.max_memory is not None and child.memory > call.max_memory
        if worn or swollen:
            child.leave()
        if child.usable:
            self._idle.append(child)
        elif self._open:
            self._idle.append(self._start())  # so that the next body need not wait for it

    def _start(self) -> ChildProcess:
        if not self._open:
            raise NotOpen("the processes of a worker are there while it runs")
        child = ChildProcess(self._largest_frame)
        self._wanted.append(child)
        self._changed.give()
        return child

    async def _close_with_host(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._open, self._closing = False, True
            self._shield.deadline = anyio.current_time() + LEAVING
            for child in self._living:
                child.leave()
            self._changed.give()

    async def _serve(self, ready: Callable[[], None]) -> None:
        with self._shield:  # leaving is not interrupted, only bounded
            async with create_task_group() as children:
                self._open = not self._closing
                ready()
                while not self._closing:
                    self._start_wanted(children)
                    await self._changed.wait()

    def _start_wanted(self, children: TaskGroup) -> None:
        while self._wanted:
            children.start_soon(self._tend, self._wanted.pop())

    async def _tend(self, child: ChildProcess) -> None:
        self._living.add(child)
        try:
            await child.tend()
        finally:
            self._living.discard(child)
