"""One process of the pool, as its worker sees it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from itertools import count
from typing import Any, Final

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Event,
    IncompleteRead,
    Lock,
    create_task_group,
    get_cancelled_exc_class,
    move_on_after,
    sleep,
)
from anyio.abc import Process, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field

from docket_anyio._executors.calls import ProcessCall
from docket_anyio._executors.frames import (
    HEADER,
    Answer,
    BrokenFrame,
    Call,
    Cancel,
    End,
    Frame,
    FrameTooLarge,
    Log,
    Output,
    Raised,
    Ready,
    Reply,
    Returned,
    Run,
    Stopped,
    decode,
    decode_header,
    encode,
)
from docket_anyio._executors.lifeline import lifeline
from docket_anyio._executors.pickling import dump_error, dump_variables, levels
from docket_anyio._executors.relaying import handle_record, print_output
from docket_anyio._executors.spawning import kill, spawn
from docket_anyio._model.codec import dump, load
from docket_anyio._model.outcome import StopRequest
from docket_anyio.exceptions import CorruptMessage, PayloadTooLarge, TaskFailed, WorkerProcessDied

# How long, in seconds, a process may take to read what it is sent: it does so in a thread of its own.
_SENDING: Final = 10.0
# How long it may take to leave when it is told to; and to be gone once it was killed.
LEAVING: Final = 3.0
REAPING: Final = 3.0
# After its end, how long to wait for the end of its output, which another process may hold open.
_DRAINING: Final = 1.0

_GONE: Final = (EndOfStream, IncompleteRead, BrokenResourceError, ClosedResourceError)


@define(eq=False)
class _Talk:
    """What is said about one body, from when it is sent until there is an answer or its process has ended."""

    number: int
    call: ProcessCall
    context: Context = field(factory=copy_context, init=False)
    answer: Answer | None = field(default=None, init=False)
    over: bool = field(default=False, init=False)

    def end(self, answer: Answer | None) -> None:
        """Let it be over, with an answer or, if the process has ended, without."""
        self.answer, self.over = answer, True
        self.call.nudge.give()

    async def wait_over(self) -> None:  # noqa: ASYNC910 - sending was a checkpoint
        """Wait until it is over."""
        while not self.over:
            await self.call.nudge.wait()

    async def wait_over_or_told_anew(self, because: StopRequest | None) -> None:  # noqa: ASYNC910 - the same
        """Wait until it is over, or there is another reason for the body to stop."""
        while not self.over and self.call.sign.because == because:
            await self.call.nudge.wait()


@define(eq=False)
class ChildProcess:
    """A process that runs bodies, one at a time. ``tend()`` is its life.

    Args:
        at_most: How many bytes a frame may have.
    """

    _at_most: int
    _process: Process | None = field(default=None, init=False)
    _talk: _Talk | None = field(default=None, init=False)
    _numbers: Any = field(factory=count, init=False)
    _turn: Lock = field(factory=Lock, init=False)
    _told_to_leave: Event = field(factory=Event, init=False)
    _started: Event = field(factory=Event, init=False)
    _failure: Exception | None = field(default=None, init=False)
    ready: bool = field(default=False, init=False)
    ended: Event = field(factory=Event, init=False)
    tasks: int = field(default=0, init=False)
    memory: int = field(default=0, init=False)

    @property
    def usable(self) -> bool:
        """Whether it can be sent a body, now or once it is ready."""
        return not (self.ended.is_set() or self._told_to_leave.is_set() or self._failure or self._exited)

    @property
    def _exited(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def tend(self) -> None:
        """Start it, listen to it, and reap it and all that it has started. Nothing of it is left afterwards."""
        with lifeline() as line:
            await self._tend(line)

    async def _tend(self, line: int | None) -> None:  # noqa: ASYNC910 - starting a process is a checkpoint
        try:
            self._process = await spawn(self._at_most, line)
            async with create_task_group() as group:
                group.start_soon(self._watch, self._process, group)
                group.start_soon(self._leave)
                await self._listen(self._process, group)
                group.cancel_scope.cancel("the process has ended")
        except Exception as error:  # noqa: BLE001 - an event loop that can start no process says so in its own words
            self._failure = error
        finally:
            with move_on_after(REAPING, shield=True):  # noqa: ASYNC912 - bounded
                if self._process is not None:
                    self.kill()
                    await self._process.aclose()
            self._end()

    def leave(self) -> None:
        """Tell it to leave, the way that programs end."""
        self._told_to_leave.set()

    def kill(self) -> None:
        """Kill it, and all that it has started."""
        if self._process is not None:
            kill(self._process)

    async def wait_started(self) -> None:
        """Wait until it can run bodies, or never will."""
        await self._started.wait()

    async def run(self, call: ProcessCall, body: bytes) -> object:
        """Run a body in it.

        Cancelled, it tells the body and waits, for as long as that has to stop; then the process is killed. What the
        body has returned or raised by then counts.

        Args:
            call: The body.
            body: The same, pickled.

        Raises:
            WorkerProcessDied: The process has ended before the body had.
            Exception: What the body raised.
        """
        self.tasks += 1
        talk = self._talk = _Talk(next(self._numbers), call)
        try:
            await self._begin(talk, body)
            try:
                await talk.wait_over()
            except get_cancelled_exc_class():  # noqa: ASYNC103 - what the body has returned all the same counts
                await self._stop(talk)  # noqa: ASYNC102 - it has one
                if talk.answer is None or isinstance(talk.answer, Stopped):
                    raise
            return self._result(talk)
        finally:
            self._talk = None

    def died(self, task: str) -> WorkerProcessDied:
        """Return the exception that says how it has ended, or why it never began."""
        process = self._process
        code = None if process is None else process.returncode
        if self._failure is not None:
            died = WorkerProcessDied(task, code, f"{type(self._failure).__name__}: {self._failure}")
            died.__cause__ = self._failure
            return died
        return WorkerProcessDied(task, code, "" if self.ready else "it could not be started; standard error says why")

    async def _begin(self, talk: _Talk, body: bytes) -> None:
        call = talk.call
        run = Run(
            talk.number,
            call.task,
            body,
            call.is_async,
            dump_variables(),
            levels(),
            call.sign.deadline,
        )
        try:
            await self._send(run)
        except FrameTooLarge as error:
            raise PayloadTooLarge(
                f"what task {call.task!r} is called with is too large for a process: {error}"
            ) from None

    async def _stop(self, talk: _Talk) -> None:  # noqa: ASYNC910 - the wait before it was a checkpoint
        with CancelScope(shield=True):  # noqa: ASYNC912 - each wait in it is bounded
            told_anew = True
            while told_anew and not talk.over:
                because = talk.call.sign.because
                grace = talk.call.grace if because is None or because.grace is None else because.grace
                await self._send(Cancel(talk.number, because))
                with move_on_after(grace.total_seconds()) as patience:
                    await talk.wait_over_or_told_anew(because)
                told_anew = not patience.cancelled_caught
            if not talk.over:
                self.kill()
                with move_on_after(REAPING):
                    await self.ended.wait()

    def _result(self, talk: _Talk) -> object:
        match talk.answer:
            case Returned(value=value):
                return load(value, f"the result of task {talk.call.task!r}")
            case Raised():
                raise self._error(talk.answer)
            case _:
                raise self.died(talk.call.task)

    def _error(self, raised: Raised) -> Exception:
        error: Exception = TaskFailed(raised.text)
        with suppress(CorruptMessage):
            error = load(raised.error, "an exception")
        pid = "" if self._process is None else f" {self._process.pid}"
        error.add_note(f"In the worker process{pid}:\n{raised.traceback}")
        return error

    async def _send(self, frame: Frame) -> None:
        data = encode(frame, at_most=self._at_most)
        # Not to be cancelled in the midst of it: nobody would understand what follows.
        with move_on_after(_SENDING, shield=True) as patience:
            async with self._turn:
                try:
                    if self._process is not None and self._process.stdin is not None:
                        await self._process.stdin.send(data)
                except (*_GONE, OSError, RuntimeError):  # uvloop has the last
                    return  # it has ended, which is seen elsewhere
        if patience.cancelled_caught:
            self._fail(TimeoutError("it does not read what it is sent"))

    async def _listen(self, process: Process, group: TaskGroup) -> None:  # noqa: ASYNC910 - private; it ends with the process
        if process.stdout is None:
            return  # noqa: ASYNC910 - the same
        stream = BufferedByteReceiveStream(process.stdout)
        try:
            while True:
                kind, length = decode_header(await stream.receive_exactly(HEADER.size), at_most=self._at_most)
                self._take(decode(kind, await stream.receive_exactly(length)), group)
        except _GONE:
            return  # noqa: ASYNC910 - the same
        except Exception as error:  # noqa: BLE001 - a log handler of the user's may raise anything
            self._fail(error)

    def _take(self, frame: Frame, group: TaskGroup) -> None:
        talk = self._talk
        match frame:
            case Ready():
                self.ready = True
                self._started.set()
            case Returned() | Raised() | Stopped():
                self.memory = frame.memory
                if talk is not None and talk.number == frame.number:
                    talk.end(frame)
            case Log():
                # Where the run has context variables that its log lines tell of, they tell the same of these.
                context = Context() if talk is None else talk.context
                context.run(handle_record, frame)
            case Output(data):
                print_output(data)
            case Call():
                if talk is not None and talk.number == frame.run:
                    self._take_call(talk, frame, group)
            case _:
                raise BrokenFrame(f"{type(frame).__name__} is nothing that a process says")

    def _take_call(self, talk: _Talk, call: Call, group: TaskGroup) -> None:
        objects = talk.call.objects
        if call.number is None:
            # At once, so that it is done before the body counts as ended.
            talk.context.run(_call, objects, call)
        else:
            reply = partial(self._reply, objects, call, call.number)
            talk.context.run(lambda: group.start_soon(reply))

    async def _reply(self, objects: Sequence[object], call: Call, number: int) -> None:
        try:
            value = _call(objects, call)
            value = dump(await value if isawaitable(value) else value, f"what {call.method}() returned")
            await self._send(Reply(number, value, failed=False))
        except FrameTooLarge as error:
            refused = PayloadTooLarge(f"what {call.method}() returned is too large for a process: {error}")
            await self._send(Reply(number, dump_error(refused), failed=True))
        except Exception as error:  # noqa: BLE001 - whatever it raises is for the body
            await self._send(Reply(number, dump_error(error), failed=True))

    async def _watch(self, process: Process, group: TaskGroup) -> None:
        await process.wait()
        self.kill()  # those that it has started
        await sleep(_DRAINING)
        group.cancel_scope.cancel("the process has ended")

    async def _leave(self) -> None:
        await self._told_to_leave.wait()
        await self._send(End())
        await sleep(LEAVING)
        self.kill()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self.kill()

    def _end(self) -> None:
        self.ended.set()
        self._started.set()
        if self._talk is not None:
            self._talk.end(None)


def _call(objects: Sequence[object], call: Call) -> Any:
    return getattr(objects[call.target], call.method)(*load(call.arguments, f"the arguments of {call.method}()"))
