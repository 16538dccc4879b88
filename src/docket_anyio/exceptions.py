"""Every exception of our own that a user can meet."""

from __future__ import annotations


class DocketError(Exception):
    """The root of them all."""


class InvalidURL(DocketError, ValueError):
    """The URL does not name a Redis that can be reached. The message says which part is wrong; no password is in it."""


class RedisUnavailable(DocketError, ConnectionError):
    """Redis could not be reached, or the connection was lost.

    ``maybe_executed`` tells whether the server may have executed the operation. An ``add`` with a key of your own can
    be repeated: while the first still waits or runs, the key is taken, and nothing is added twice.
    """

    def __init__(self, message: str, *, maybe_executed: bool = False) -> None:
        super().__init__(message)
        self.maybe_executed = maybe_executed


class RedisRefused(DocketError):
    """Redis answered with an error: a wrong password, a missing right, a full memory. Its words are in the message."""


class UnknownTask(DocketError, KeyError):
    """No task is registered under that name. Register it first: ``docket.register(function)``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no task is registered under the name {self.name!r}; call docket.register(function) first"


class DuplicateTask(DocketError, ValueError):
    """Another function is already registered under that name. Give one of them a name of its own."""


class InvalidTask(DocketError, ValueError):
    """The function cannot be a task. The message says why and what to change."""


class InvalidKey(DocketError, ValueError):
    """The key would collide with a key of the docket's own, or is not text that Redis can hold. Choose another."""


class InvalidTime(DocketError, TypeError):
    """The time has no time zone, so nobody can tell when it is. Use an aware datetime."""


class InvalidArguments(DocketError, TypeError):
    """The arguments do not fit the task's signature. Nothing was scheduled."""


class NotSerializable(DocketError, TypeError):
    """A value could not be pickled. Nothing was scheduled; for a result, the run is recorded as failed."""


class PayloadTooLarge(DocketError, ValueError):
    """Arguments or a result are larger than the docket's ``max_payload_bytes``.

    Nothing was scheduled; for a result, the run is recorded as failed. Keep such data elsewhere and pass its name.
    """


class InvalidSetting(DocketError, ValueError):
    """An option of a docket, a worker or a policy is out of range."""


class InvalidStrike(DocketError, ValueError):
    """The strike names neither a task nor a parameter, or cannot be compared with its operator and value."""


class NotOpen(DocketError, RuntimeError):
    """A docket or a worker was used outside its ``async with`` block."""


class CorruptMessage(DocketError):
    """A message in the stream could not be decoded."""


class ExecutionGone(DocketError, LookupError):
    """Nothing is recorded of the execution: it never was, or its record or result has outlived ``execution_ttl``."""


class ExecutionCancelled(DocketError):
    """The execution was cancelled, so there is no result to wait for."""


class TaskFailed(DocketError):
    """The task failed and left no exception that could be read back. Its words are in the message."""


class TaskTimeout(DocketError, TimeoutError):
    """The body of a task took longer than its ``Timeout`` allowed."""


class StrayCancellation(DocketError):
    """A body was ended by a cancellation that none of its scopes had asked for.

    On asyncio a body that awaits somebody else's cancelled future is left in this way.
    """
