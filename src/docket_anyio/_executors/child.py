"""What a process of the pool does: it runs bodies, one at a time, until it is told to leave or its worker dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import datetime
from itertools import count
from math import inf
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, get_ident
from typing import Any, NoReturn

import anyio
from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    current_effective_deadline,
    from_thread,
    get_cancelled_exc_class,
    to_thread,
)
from attrs import define, field, frozen

from docket_anyio._executors.frames import (
    Answer,
    Call,
    Cancel,
    End,
    Frame,
    FrameTooLarge,
    Raised,
    Ready,
    Reply,
    Returned,
    Run,
    Stopped,
)
from docket_anyio._executors.inline import run_inline
from docket_anyio._executors.lifeline import hold_on
from docket_anyio._executors.pickling import dump_error, set_variables
from docket_anyio._executors.remote import connected
from docket_anyio._executors.stopping import BodyStopped, StopSign, going_by
from docket_anyio._executors.threads import Threads
from docket_anyio._executors.wire import Wire, die
from docket_anyio._model.codec import dump, load
from docket_anyio._model.outcome import StopRequest
from docket_anyio.exceptions import PayloadTooLarge


@define(eq=False)
class _Running(StopSign):
    """A body that runs, or is about to, and whether it was told to stop.

    Args:
        thread: The event loop's.
        deadline: When it has to be done.
    """

    _thread: int
    _deadline: datetime | None
    _scope: CancelScope | None = field(default=None, init=False)
    _requested: bool = field(default=False, init=False)
    _cancelled: bool = field(default=False, init=False)
    _because: StopRequest | None = field(default=None, init=False)

    def begin(self) -> CancelScope:
        """Return the scope around the body, which is the event loop's to make."""
        self._scope = CancelScope()
        return self._scope

    def cancel(self) -> None:
        """Cancel the body, in the event loop."""
        if self._scope is not None:
            self._scope.cancel("told by the worker")
            self._cancelled = True

    def stop(self, because: StopRequest | None) -> None:
        """Tell it to stop, from another thread: its event loop may be busy."""
        self._because = because
        self._requested = True

    @property
    def requested(self) -> bool:
        """See ``StopSign``."""
        return self._requested

    @property
    def because(self) -> StopRequest | None:
        """See ``StopSign``."""
        return self._because

    @property
    def deadline(self) -> datetime | None:
        """See ``StopSign``."""
        return self._deadline

    def check(self) -> None:
        """See ``StopSign``."""
        if get_ident() == self._thread:
            if self._requested:
                self.cancel()
                if current_effective_deadline() == -inf:  # it is -inf in no shield
                    raise BodyStopped
            return
        try:
            if self._requested and not self._cancelled:
                # Who computes all the time lets the event loop come to it late: wait for it.
                from_thread.run_sync(self.cancel)
            from_thread.check_cancelled()
        except RuntimeError:  # no thread of AnyIO's
            if self._requested:
                raise BodyStopped from None


@define(eq=False)
class _Waiting:
    """A call that waits for what becomes of it."""

    done: Event = field(factory=Event, init=False)
    reply: Reply | None = field(default=None, init=False)


@define(eq=False)
class _Child:
    """Runs what it is sent.

    Args:
        wire: Where it comes from.
    """

    _wire: Wire
    _thread: int = field(factory=get_ident, init=False)
    _inbox: SimpleQueue[Frame] = field(factory=SimpleQueue[Frame], init=False)
    _running: dict[int, _Running] = field(factory=dict[int, _Running], init=False)
    _waiting: dict[int, _Waiting] = field(factory=dict[int, _Waiting], init=False)
    _numbers: Any = field(factory=count, init=False)
    _threads: Threads = field(factory=Threads, init=False)
    _reader: CapacityLimiter = field(factory=lambda: CapacityLimiter(1), init=False)

    def read(self) -> None:
        """Take in what the worker sends, in a thread: also while a body keeps the event loop busy."""
        try:
            while (frame := self._wire.receive()) is not None:
                if isinstance(frame, Run):
                    self._running[frame.number] = _Running(self._thread, frame.deadline)
                elif isinstance(frame, Cancel) and (running := self._running.get(frame.number)) is not None:
                    running.stop(frame.because)
                self._inbox.put(frame)
        except Exception:  # noqa: BLE001 - it says what cannot be understood
            traceback.print_exc()
        finally:
            die()  # the worker has died, or cannot be understood

    async def serve(self) -> None:
        """Run bodies until told to leave."""
        self._wire.send(Ready(os.getpid()))
        async with create_task_group() as bodies:
            while True:
                match await to_thread.run_sync(self._inbox.get, limiter=self._reader):
                    case Run() as run:
                        bodies.start_soon(self._run, run, self._running[run.number].begin())
                    case Cancel(number):
                        if (running := self._running.get(number)) is not None:
                            running.cancel()
                    case Reply(number) as reply:
                        if (waiting := self._waiting.get(number)) is not None:
                            waiting.reply = reply
                            waiting.done.set()
                    case End():
                        break
                    case _:
                        die()
            bodies.cancel_scope.cancel("told to leave")

    def tell(self, run: int, target: int, method: str, arguments: tuple[object, ...]) -> None:
        """Call a method of an object that has stayed with the worker, and do not wait for it."""
        self._wire.send(Call(None, run, target, method, dump(arguments, f"the arguments of {method}()")))

    async def call(self, run: int, target: int, method: str, arguments: tuple[object, ...]) -> Any:
        """Call a method of an object that has stayed with the worker."""
        number = next(self._numbers)
        waiting = self._waiting[number] = _Waiting()
        try:
            self._wire.send(Call(number, run, target, method, dump(arguments, f"the arguments of {method}()")))
            await waiting.done.wait()
        finally:
            del self._waiting[number]
        if waiting.reply is None:
            raise RuntimeError("a call is done without a reply")
        value = load(waiting.reply.value, f"what {method}() returned")
        if waiting.reply.failed:
            raise value
        return value

    async def _run(self, run: Run, scope: CancelScope) -> None:  # noqa: ASYNC910 - private; bodies need not wait
        try:
            answer = await self._answer(run, scope)
        except get_cancelled_exc_class():
            raise  # told to leave
        except BaseException as error:  # noqa: BLE001, ASYNC103 - it is to end programs, and this is one
            _exit(error)
        finally:
            del self._running[run.number]
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        try:
            self._wire.send(answer)
        except FrameTooLarge as error:
            refused = PayloadTooLarge(f"the result of task {run.task!r} is too large for its worker: {error}")
            self._wire.send(_raised(run, refused))

    async def _answer(self, run: Run, scope: CancelScope) -> Answer:
        try:
            with scope:
                value = dump(await self._body(run, self._running[run.number]), f"the result of task {run.task!r}")
                return Returned(run.number, _memory(), value)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            return _raised(run, error)  # noqa: ASYNC910 - the same
        return Stopped(run.number, _memory())

    async def _body(self, run: Run, running: _Running) -> object:
        _set_levels(run.levels)
        set_variables(run.variables)
        with ExitStack() as stack:
            stack.enter_context(going_by(running))
            stack.enter_context(connected(_Channel(self, run.number)))
            function, args, kwargs, surroundings = load(run.body, f"the body of task {run.task!r}")
            for each in surroundings:
                stack.enter_context(each())
            if run.is_async:
                return await run_inline(function, args, kwargs)
            return await run_inline(self._threads.run, (function, args, kwargs), {})


@frozen(eq=False)
class _Channel:
    """How the handles of one run call."""

    _child: _Child
    _run: int

    async def call(self, target: int, method: str, arguments: tuple[object, ...]) -> Any:
        return await self._child.call(self._run, target, method, arguments)

    def tell(self, target: int, method: str, arguments: tuple[object, ...]) -> None:
        self._child.tell(self._run, target, method, arguments)


def _raised(run: Run, error: Exception) -> Raised:
    words = "".join(traceback.format_exception_only(error)).strip()
    return Raised(run.number, _memory(), dump_error(error), words, "".join(traceback.format_exception(error)))


def _exit(error: BaseException) -> NoReturn:
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code or 0)


def _set_levels(levels: Mapping[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _memory() -> int:
    """Return how many bytes of memory this process holds; 0 where that cannot be known."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _ignore(*_: object) -> None:
    """Stay: the worker is told to leave as well, and says when its bodies have to."""


def main(settings: str) -> None:
    """Serve the worker whose child this is."""
    backend, options, at_most, line = json.loads(settings)
    if line is not None:
        hold_on(line)
    wire = Wire.take_over(at_most)
    # A handler, and not SIG_IGN, which programs that a body starts would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    wire.redirect()
    child = _Child(wire)
    Thread(target=child.read, name="frames of the worker", daemon=True).start()
    anyio.run(child.serve, backend=backend, backend_options=options)
