"""The child's end of the pipes to its worker, and all that is sent there besides answers: log lines and output."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping
from threading import RLock
from typing import Any, BinaryIO, Final, NoReturn, cast

from attrs import define, field

from docket_anyio._executors.frames import HEADER, Frame, FrameTooLarge, Log, Output, decode, decode_header, encode
from docket_anyio._model.codec import dump
from docket_anyio.exceptions import NotSerializable

_CHUNK: Final = 1 << 16


def die() -> NoReturn:
    """End this process and all that it has started, at once."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


@define(eq=False)
class Wire:
    """Sends and receives frames, blocking.

    Args:
        incoming: What the worker writes to.
        outgoing: What the worker reads.
        at_most: How many bytes a frame may have.
    """

    _incoming: BinaryIO
    _outgoing: int
    _at_most: int
    _pending: deque[bytes] = field(factory=deque[bytes], init=False)
    _turn: Any = field(factory=RLock, init=False)
    _writing: bool = field(default=False, init=False)
    _cut: bool = field(default=False, init=False)

    @classmethod
    def take_over(cls, at_most: int) -> Wire:
        """Take the pipes away from standard input and output, so that nothing else writes there."""
        incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # the worker has no standard error
            os.dup2(nothing, 1)
        os.close(nothing)
        wire = cls(cast("BinaryIO", incoming), outgoing, at_most)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=wire.cut)
        return wire

    def cut(self) -> None:
        """Have nothing to do with the worker any more. For what this process forks: it is none of the pool."""
        self._cut = True
        os.close(self._outgoing)
        os.close(self._incoming.fileno())
        sys.stdout = sys.__stderr__

    def send(self, frame: Frame) -> None:
        """Send a frame.

        Raises:
            FrameTooLarge: It is too large to be one.
        """
        self._pending.append(encode(frame, at_most=self._at_most))
        with self._turn:
            if self._writing:
                return  # a finalizer that runs in the midst of writing has something to say: it is its turn afterwards
            self._writing = True
            try:
                while self._pending and not self._cut:
                    self._write(memoryview(self._pending.popleft()))
            finally:
                self._writing = False

    def _write(self, data: memoryview) -> None:
        try:
            while data:
                data = data[os.write(self._outgoing, data) :]
        except OSError:
            die()  # nobody reads: the worker has died

    def receive(self) -> Frame | None:
        """Return the next frame; ``None`` where no more will come.

        Raises:
            BrokenFrame: What has come is no frame.
        """
        header = self._incoming.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        kind, length = decode_header(header, at_most=self._at_most)
        body = self._incoming.read(length)
        return None if len(body) < length else decode(kind, body)

    def redirect(self) -> None:
        """Send what is printed and logged to the worker."""
        raw = cast("BinaryIO", _Stdout(self))  # without a buffer: as much is sent as a line has
        sys.stdout = io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)
        logging.root.addHandler(_LogHandler(self))


class _Stdout(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire: Final = wire

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1  # for programs that are to write there: it is standard error

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _CHUNK):
            self._wire.send(Output(bytes(view[start : start + _CHUNK])))
        return len(view)


class _LogHandler(logging.Handler):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire: Final = wire

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            # What is formatted by the worker has no arguments any more, and its traceback is text.
            attributes = {**vars(record), "msg": record.getMessage(), "args": None, "exc_info": None}
            with contextlib.suppress(FrameTooLarge):
                self._wire.send(Log(record.name, record.levelno, _dump_record(attributes), text))
        except Exception:  # noqa: BLE001 - what is logged must not fail the body
            self.handleError(record)


def _dump_record(attributes: Mapping[str, object]) -> bytes:
    try:
        return dump(dict(attributes), "a log record")
    except NotSerializable:
        plain = (str, int, float, type(None))
        readable = {name: each if isinstance(each, plain) else str(each) for name, each in attributes.items()}
        return dump(readable, "a log record")
