"""Sockets and waits in each event loop's own terms: the one file that knows asyncio and trio.

AnyIO has all of this too, but not as cheaply, and a client of Redis does little else than wait. Measured per call
(microseconds, asyncio / uvloop / trio): waking a task by ``anyio.Event`` 5-6, natively 2.7 / 1.6 / 4.1; a deadline by
``anyio.fail_after`` 9.5, here next to nothing on asyncio, and on trio as much, but once per read instead of per call.
``anyio.wait_readable`` also registers and unregisters the socket each time, and on uvloop a socket that belongs to a
transport cannot be waited for at all. Nothing here starts a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Final

from anyio.lowlevel import current_token
from attrs import define, field

CHUNK: Final = 131_072


def open_port(sock: socket.socket) -> Port:
    """Take over a connected socket, for the event loop that is running."""
    sock.setblocking(False)  # noqa: FBT003 - the standard library's
    if isinstance(current_token().native_token, asyncio.AbstractEventLoop):
        return AsyncioPort(sock, asyncio.get_running_loop())
    return TrioPort(sock)


class Port(ABC):
    """A non-blocking socket, and the waiting that goes with it.

    Bytes are sent and read without an ``await`` between taking them and giving them away, so that no cancellation can
    leave half of something behind.
    """

    time: Callable[[], float]
    """Return the event loop's time."""

    waiter: Callable[[], Awaitable[None]]
    """Make something that a task can wait for, once."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closed = False
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            self._poll = poll.poll

    def send(self, data: bytes | memoryview) -> int:
        """Send what can be sent at once, and return how much that was."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def receive_nowait(self) -> bytes | None:
        """Return what has arrived, ``b""`` at the end of the stream, ``None`` while there is nothing."""
        # Asking first costs a third of the exception that recv() raises where there is nothing.
        if self._poll is not None and not self._poll(0):
            return None
        try:
            return self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return None

    @abstractmethod
    async def receive(self, deadline: float) -> bytes:
        """Wait for bytes; a cancelled call takes none. One caller at a time.

        Returns:
            The bytes, ``b""`` at the end of the stream.

        Raises:
            TimeoutError: The deadline has passed.
            OSError: The connection is broken or was closed.
        """

    @abstractmethod
    async def wait_writable(self, deadline: float) -> None:
        """Wait until more can be sent. One caller at a time; raises as ``receive`` does."""

    @abstractmethod
    def wake(self, waiter: Any) -> None:
        """Wake the task that waits for, or is about to wait for, ``waiter``. Harmless where it was cancelled."""

    @abstractmethod
    async def pause(self) -> None:
        """Let every other task that can run do so, once."""

    @abstractmethod
    def close(self) -> None:
        """Close the socket now; who waits for it gets an ``OSError``."""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class AsyncioPort(Port):
    """For asyncio and for every loop that speaks its interface.

    The socket stays registered with the loop between two reads, and so does one timer: registering them anew for
    each read costs four system calls and a heap operation.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(sock)
        self._loop = loop
        self._fd = sock.fileno()
        self._registered = False
        self._inbox: bytes | None = None
        self._error: OSError | None = None
        self._receiving: asyncio.Future[None] | None = None
        self._sending: asyncio.Future[None] | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.time = loop.time
        self.waiter = loop.create_future

    def wake(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def receive_nowait(self) -> bytes | None:
        data, self._inbox = self._inbox, None
        return super().receive_nowait() if data is None else data

    async def receive(self, deadline: float) -> bytes:
        if self._inbox is None and self._error is None:
            await self._wait_for_inbox(deadline)
        data, self._inbox = self._inbox, None
        if data is not None:
            return data
        if self._error is not None:
            raise self._error
        raise TimeoutError("nothing was received in time")

    async def _wait_for_inbox(self, deadline: float) -> None:
        if self.closed:
            raise ConnectionAbortedError("the connection was closed")
        if not self._registered:
            self._loop.add_reader(self._fd, self._on_readable)
            self._registered = True
        self._deadline = deadline
        if deadline != math.inf and (self._timer is None or deadline < self._timer.when()):
            self._arm(deadline)
        self._receiving = self._loop.create_future()
        try:
            await self._receiving
        finally:
            self._receiving = None

    def _on_readable(self) -> None:
        if self._receiving is None or self._receiving.done():
            # Nobody reads: without this the loop would spin for as long as the bytes lie there.
            self._loop.remove_reader(self._fd)
            self._registered = False
            return
        try:
            self._inbox = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._error = error
        self._receiving.set_result(None)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._receiving is None or self._receiving.done():
            return
        if self._loop.time() >= self._deadline:
            self._receiving.set_result(None)
        elif self._deadline != math.inf:
            self._arm(self._deadline)

    async def wait_writable(self, deadline: float) -> None:
        if self.closed:
            raise ConnectionAbortedError("the connection was closed")
        self._sending = future = self._loop.create_future()
        timer = None if deadline == math.inf else self._loop.call_at(deadline, _resolve, future)
        self._loop.add_writer(self._fd, self._on_writable)
        try:
            await future
        finally:
            self._sending = None
            if timer is not None:
                timer.cancel()
            if not self.closed:
                self._loop.remove_writer(self._fd)
        if self.closed:
            raise ConnectionAbortedError("the connection was closed")
        if self._loop.time() >= deadline:
            raise TimeoutError("nothing could be sent in time")

    def _on_writable(self) -> None:
        if self._sending is not None:
            _resolve(self._sending)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._error = self._error or ConnectionAbortedError("the connection was closed")
        if self._timer is not None:
            self._timer.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            for future in (self._receiving, self._sending):
                if future is not None:
                    _resolve(future)
        self._sock.close()


@define(eq=False, repr=False)
class _TrioWaiter:
    """A task that sleeps until it is rescheduled. Woken before it sleeps, it does not fall asleep."""

    _lowlevel: Any
    _task: Any = field(default=None, init=False)
    _woken: bool = field(default=False, init=False)

    def __await__(self) -> Generator[Any, None, None]:
        if self._woken:
            yield from self._lowlevel.checkpoint().__await__()
            return
        self._task = self._lowlevel.current_task()
        yield from self._lowlevel.wait_task_rescheduled(self._abort).__await__()

    def _abort(self, _: object) -> Any:
        self._task, self._woken = None, True
        return self._lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        task, self._task, self._woken = self._task, None, True
        if task is not None:
            self._lowlevel.reschedule(task)


class TrioPort(Port):
    """For trio."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        # Only who runs trio pays the quarter of a second that importing it takes.
        import trio

        self._lowlevel = trio.lowlevel
        self.time = trio.current_time
        self.waiter = partial(_TrioWaiter, trio.lowlevel)
        self._scope: Callable[..., contextlib.AbstractContextManager[Any]] = trio.CancelScope
        self._closing = trio.ClosedResourceError

    def wake(self, waiter: _TrioWaiter) -> None:
        waiter.wake()

    async def pause(self) -> None:
        await self._lowlevel.checkpoint()

    async def receive(self, deadline: float) -> bytes:
        with self._scope(deadline=deadline):
            while True:
                await self._wait(self._lowlevel.wait_readable)
                try:
                    return self._sock.recv(CHUNK)
                except (BlockingIOError, InterruptedError):
                    continue
        raise TimeoutError("nothing was received in time")

    async def wait_writable(self, deadline: float) -> None:
        with self._scope(deadline=deadline):
            await self._wait(self._lowlevel.wait_writable)
            return
        raise TimeoutError("nothing could be sent in time")

    async def _wait(self, ready: Callable[[int], Awaitable[None]]) -> None:
        if self.closed:
            raise ConnectionAbortedError("the connection was closed")
        try:
            await ready(self._sock.fileno())
        except self._closing:
            raise ConnectionAbortedError("the connection was closed") from None

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(RuntimeError):  # the event loop is gone, and with it everyone who waited
            self._lowlevel.notify_closing(self._sock.fileno())
        self._sock.close()
