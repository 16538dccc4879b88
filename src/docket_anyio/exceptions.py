"""Every exception of our own that a user can meet."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import uncalled_for


class _HasKey(Protocol):
    """An execution, as far as an exception cares."""

    @property
    def key(self) -> str:
        """The key of its task."""
        ...


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


class CircularDependency(InvalidTask, uncalled_for.CycleError):
    """The dependencies of a task need each other in a circle, so none of them can be first."""


class InvalidDependency(DocketError, TypeError):
    """What was given as a dependency of a worker is none."""


class InvalidKey(DocketError, ValueError):
    """The key would collide with a key of the docket's own, or is not text that Redis can hold. Choose another."""


class InvalidTime(DocketError, TypeError):
    """The time has no time zone, so nobody can tell when it is. Use an aware datetime."""


class InvalidArguments(DocketError, TypeError):
    """The arguments do not fit the task's signature. Nothing was scheduled."""


class NotSerializable(DocketError, TypeError):
    """A value could not be pickled. Nothing was scheduled; for a result, the run is recorded as failed.

    So it is where a value that a body asks for cannot be sent to its process.
    """


class PayloadTooLarge(DocketError, ValueError):
    """Arguments or a result are larger than the docket's ``max_payload_bytes``.

    Nothing was scheduled; for a result, the run is recorded as failed. Keep such data elsewhere and pass its name.
    """


class InvalidSetting(DocketError, ValueError):
    """An option of a docket, a worker, a policy or a call is out of range."""


class InvalidStrike(DocketError, ValueError):
    """The strike names neither a task nor a parameter, or cannot be compared with its operator and value."""


class NotHonoured(DocketError):
    """A pydocket worker is on the docket, and would pass over what was asked for. Nothing was changed.

    It cannot know of an expiry, a priority or a pause: stop it first, or do without. ``worker`` is its name.
    """

    def __init__(self, what: str, worker: str) -> None:
        super().__init__(f"the worker {worker!r} is not one of docket-anyio's and would not honour the {what}")
        self.what = what
        self.worker = worker

    def __reduce__(self) -> tuple[type[NotHonoured], tuple[str, str]]:
        return type(self), (self.what, self.worker)


class NotOpen(DocketError, RuntimeError):
    """A docket or a worker was used outside its ``async with`` block."""


class CorruptMessage(DocketError):
    """A message in the stream could not be decoded."""


class ExecutionGone(DocketError, LookupError):
    """Nothing is recorded of the execution: it never was, or its record or result has outlived ``execution_ttl``."""


class ExecutionCancelled(DocketError):
    """The execution was cancelled, so there is no result to wait for.

    ``key`` is that of its task. ``reason`` is what whoever cancelled it gave as that, or ``None``.
    """

    def __init__(self, key: str, reason: str | None = None) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        told = f"the execution {self.key!r} was cancelled"
        return told if self.reason is None else f"{told}: {self.reason}"


class ExecutionExpired(ExecutionCancelled):
    """The execution had not begun when it expired, so it was not run."""

    def __str__(self) -> str:
        return f"the execution {self.key!r} had not begun when it expired"


class AdmissionBlocked(DocketError):
    """A run cannot begin now; raise it from a dependency of your own when that is so. It is no failure.

    Args:
        execution: The one that is blocked.
        reason: Why, in words.
        handled: The task has been taken care of; nothing more is to be done.
        reschedule: Run it later; it is dropped, and so cancelled, otherwise.
        retry_delay: How much later; 100 ms where it is left out.
    """

    def __init__(
        self,
        execution: _HasKey,
        reason: str = "admission control",
        *,
        handled: bool = False,
        reschedule: bool = True,
        retry_delay: timedelta | None = None,
    ) -> None:
        super().__init__(f"task {execution.key!r} is blocked by {reason}")
        self.execution = execution
        self.reason = reason
        self.handled = handled
        self.reschedule = reschedule
        self.retry_delay = retry_delay


class ConcurrencyBlocked(AdmissionBlocked):
    """There is no free slot for a run; for limits of your own.

    A ``ConcurrencyLimit`` needs none: it is asked before anything of the run is opened.
    """

    def __init__(self, execution: _HasKey, concurrency_key: str, max_concurrent: int) -> None:
        super().__init__(execution, f"concurrency limit ({max_concurrent} max) on {concurrency_key}", handled=True)
        self.concurrency_key = concurrency_key
        self.max_concurrent = max_concurrent


class TaskFailed(DocketError):
    """The task failed and left no exception that could be read back. Its words are in the message."""


class TaskTimeout(DocketError, TimeoutError):
    """The body of a task took longer than its ``Timeout`` allowed."""


class CleanupTimeout(DocketError, TimeoutError):
    """A dependency of a run or of a worker took too long to close, or a handler to return."""


class WorkerProcessDied(DocketError):
    """The process that ran the body of a task has ended before the body had: it crashed, left, or was killed.

    ``exit_code`` is what it has left with, and ``signal`` the number of what has killed it; one of them is ``None``, or
    both where that is not known. The next run gets another process.
    """

    def __init__(self, task: str, code: int | None = None, detail: str = "") -> None:
        self.exit_code = None if code is None or code < 0 else code
        self.signal = None if code is None or code >= 0 else -code
        how = f"has exited with code {code}" if self.signal is None else f"was killed by signal {self.signal}"
        if code is None:
            how = "is gone"
        super().__init__(f"the process for task {task!r} {how}{': ' if detail else ''}{detail}")
        self._made_from = (task, code, detail)

    def __reduce__(self) -> tuple[type[WorkerProcessDied], tuple[str, int | None, str]]:
        return type(self), self._made_from


class StrayCancellation(DocketError):
    """A body was ended by a cancellation that none of its scopes had asked for.

    On asyncio a body that awaits somebody else's cancelled future is left in this way.
    """
