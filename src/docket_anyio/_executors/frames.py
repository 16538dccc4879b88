"""What a worker and a process of its pool say to each other."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from datetime import datetime
from struct import Struct
from typing import Final, TypeAlias

from attrs import astuple, frozen

from docket_anyio._model.outcome import StopRequest

HEADER: Final = Struct("!2sBI")
_MAGIC: Final = b"\xd0\xcc"


class BrokenFrame(Exception):
    """What has come is no frame, or is larger than a frame may be."""


class FrameTooLarge(Exception):
    """What is to be sent is larger than a frame may be."""


@frozen
class Run:
    """Run a body.

    Attributes:
        number: Names the run from now on.
        task: The name of its task, for messages.
        body: The function, its arguments, and what makes the context managers around it, pickled.
        is_async: It is to be awaited, and not to be called in a thread.
        variables: Context variables: module, name, and the pickled value.
        levels: The levels of loggers, by name; the root's name is empty.
        deadline: When the body has to be done, if its signature says so.
    """

    number: int
    task: str
    body: bytes
    is_async: bool
    variables: Sequence[tuple[str, str, bytes]]
    levels: Mapping[str, int]
    deadline: datetime | None


@frozen
class Cancel:
    """Tell a body to stop, and why, as far as that is known."""

    number: int
    because: StopRequest | None


@frozen
class Reply:
    """What became of a ``Call``."""

    number: int
    value: bytes
    failed: bool


@frozen
class End:
    """Leave, the way that programs end."""


@frozen
class Ready:
    """The process can run bodies."""

    pid: int


@frozen
class Returned:
    """A body has returned; ``memory`` is how many bytes the process holds now."""

    number: int
    memory: int
    value: bytes


@frozen
class Raised:
    """A body has raised. Where the exception cannot be unpickled, its text has to do."""

    number: int
    memory: int
    error: bytes
    text: str
    traceback: str


@frozen
class Stopped:
    """A body was left by the cancellation that it was told of."""

    number: int
    memory: int


@frozen
class Call:
    """Call a method of an object that has stayed with the worker; nobody waits where it has no number."""

    number: int | None
    run: int
    target: int
    method: str
    arguments: bytes


@frozen
class Log:
    """A log record; its text has to do where it cannot be unpickled."""

    logger: str
    level: int
    record: bytes
    text: str


@frozen
class Output:
    """What was printed."""

    data: bytes


Answer: TypeAlias = Returned | Raised | Stopped
Frame: TypeAlias = Run | Cancel | Reply | End | Ready | Answer | Call | Log | Output

_KINDS: Final[tuple[type[Frame], ...]] = (
    Run,
    Cancel,
    Reply,
    End,
    Ready,
    Returned,
    Raised,
    Stopped,
    Call,
    Log,
    Output,
)  # fmt: skip


def encode(frame: Frame, *, at_most: int) -> bytes:
    """Return a frame as bytes.

    Raises:
        FrameTooLarge: It has more than ``at_most``.
    """
    body = pickle.dumps(astuple(frame, recurse=False))
    if len(body) > at_most:
        raise FrameTooLarge(f"{len(body)} bytes are more than the {at_most} that a frame may have")
    return HEADER.pack(_MAGIC, _KINDS.index(type(frame)), len(body)) + body


def decode_header(header: bytes, *, at_most: int) -> tuple[type[Frame], int]:
    """Return the kind of a frame, and how many bytes follow.

    Raises:
        BrokenFrame: That is no header, or there would be more than ``at_most``.
    """
    magic: bytes
    kind: int
    length: int
    magic, kind, length = HEADER.unpack(header)
    if magic != _MAGIC or kind >= len(_KINDS):
        raise BrokenFrame(f"{header!r} does not begin a frame")
    if length > at_most:
        raise BrokenFrame(f"{length} bytes are more than the {at_most} that a frame may have")
    return _KINDS[kind], length


def decode(kind: type[Frame], body: bytes) -> Frame:
    """Return a frame.

    Raises:
        BrokenFrame: The bytes are none of that kind.
    """
    try:
        return kind(*pickle.loads(body))  # noqa: S301 - from our own child, or from our own parent
    except Exception as error:  # damaged pickles raise anything
        raise BrokenFrame(f"what has come is no {kind.__name__}: {error!r}") from error
