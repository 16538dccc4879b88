"""Bodies of tasks in every place where one can run, which all know the same manners of being told to stop.

To add a place, add a row to ``KINDS``: a function that makes a task of a timeout and some notes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import anyio
from anyio import from_thread
from attrs import frozen

from docket_anyio import CancelReason, CurrentExecution, Execution, Timeout, WorkerThread, check_cancelled

Manner: TypeAlias = Literal["obey", "finish", "fail", "stray", "dawdle"]

# Nothing waits as long as this, unless something is broken.
PATIENCE: Final = 10.0
PAUSE: Final = 0.002


@frozen
class Notes:
    """What a body tells its test: files, because it may run in another process."""

    folder: Path

    def tell(self, what: str) -> None:
        (self.folder / what).touch()

    async def wait(self, what: str) -> None:
        with anyio.fail_after(PATIENCE):
            while not (self.folder / what).exists():  # noqa: ASYNC110 - a file has no event
                await anyio.sleep(PAUSE)


def asked_twice(execution: Execution[Any], notes: Notes) -> bool:
    """Tell the test about the timeout, and return whether ``docket.cancel()`` was called as well."""
    stop = execution.stopping_because
    if stop is not None and stop.reason is CancelReason.TIMEOUT:
        notes.tell("out of time")
    return stop is not None and stop.reason is CancelReason.USER


def in_the_event_loop(timeout: timedelta, notes: Notes) -> Callable[[Manner], Any]:
    async def body(
        manner: Manner, limit: Timeout = Timeout(timeout), execution: Execution[Any] = CurrentExecution()
    ) -> str:
        notes.tell("started")
        if manner == "stray":
            raise await a_cancellation_of_the_past()
        try:
            with anyio.fail_after(PATIENCE, shield=manner in {"finish", "dawdle"}):
                while not (  # noqa: ASYNC110 - nor has this
                    (manner == "finish" and execution.cancel_requested)
                    or (manner == "dawdle" and asked_twice(execution, notes))
                ):
                    await anyio.sleep(PAUSE)
        except anyio.get_cancelled_exc_class():
            if manner == "fail":
                raise ValueError("could not clean up") from None  # noqa: ASYNC104 - on purpose
            raise
        if manner == "dawdle":
            await anyio.lowlevel.checkpoint()
        return "finished"

    return body


def in_a_thread(timeout: timedelta, notes: Notes) -> Callable[[Manner], Any]:
    def body(
        manner: Manner,
        limit: Timeout = Timeout(timeout),
        execution: Execution[Any] = CurrentExecution(),
        thread: WorkerThread = WorkerThread(),
    ) -> str:
        notes.tell("started")
        if manner == "stray":
            raise from_thread.run(a_cancellation_of_the_past)
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                if manner == "finish" and execution.cancel_requested:
                    return "finished"
                if manner in ("obey", "fail") or (manner == "dawdle" and asked_twice(execution, notes)):
                    check_cancelled()
                time.sleep(PAUSE)
        except BaseException:
            if manner == "fail":
                raise ValueError("could not clean up") from None  # noqa: ASYNC104 - on purpose
            raise
        raise TimeoutError

    return body


async def a_cancellation_of_the_past() -> BaseException:
    """Return one that nobody asks for any more."""
    caught: list[BaseException] = []
    with anyio.CancelScope() as scope, suppress(LookupError):
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException as cancelled:
            caught.append(cancelled)
            raise
    return caught[0]


KINDS: Final[dict[str, Callable[[timedelta, Notes], Callable[[Manner], Any]]]] = {
    "async": in_the_event_loop,
    "thread": in_a_thread,
}
