"""The tasks that pydocket and docket-anyio share: the same names, and each library's own markers."""

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path  # noqa: F401 - in the arguments of tests
from typing import Any

import anyio

from tests.journal import Journal


class Boom(Exception):
    """An exception with more than a message in it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


def make_tasks(library: Any, journal: Journal) -> list[Callable[..., Awaitable[Any]]]:
    """Return the tasks for one of the libraries.

    Args:
        library: ``docket`` or ``docket_anyio``.
        journal: Where they write what they do.
    """

    async def echo(value: Any, *, more: Any = None) -> Any:
        journal.write("echo", 0)
        return value if more is None else (value, more)

    async def nothing() -> None:
        pass

    async def boom(message: str) -> None:
        raise Boom(message, 42)

    async def flaky(number: int, failures: int, retry: Any = library.Retry(attempts=3)) -> int:
        journal.write("flaky", number, retry.attempt)
        if retry.attempt <= failures:
            raise ValueError(f"attempt {retry.attempt} fails")
        return retry.attempt

    async def flaky_later(
        number: int, failures: int, retry: Any = library.Retry(attempts=3, delay=timedelta(seconds=0.4))
    ) -> int:
        return await flaky(number, failures, retry)

    async def hold(number: int, path: str, retry: Any = library.Retry(attempts=5)) -> int:
        """Run until a file is there."""
        journal.write("hold", number, retry.attempt)
        while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - opened by another process
            await anyio.sleep(0.01)
        return retry.attempt

    async def stubborn(number: int, path: str) -> None:
        """Run until it is cancelled, and then until a file is there."""
        journal.write("stubborn", number)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - opened by another process
                    await anyio.sleep(0.01)

    async def baton(number: int, path: str, perpetual: Any = library.Perpetual()) -> None:
        """Run again and again until a file is there, and then in an hour."""
        journal.write("baton", number)
        perpetual.perpetuate(number + 1, path)
        if os.path.exists(path):  # noqa: ASYNC240, PTH110 - opened by another process
            perpetual.after(timedelta(hours=1))

    async def baton_held(number: int, path: str, perpetual: Any = library.Perpetual(every=timedelta(hours=1))) -> None:
        """Run until a file is there, and again in an hour."""
        await hold(number, path)

    async def farewell(path: str, perpetual: Any = library.Perpetual()) -> None:
        """Run until a file is there, as the last of its chain."""
        perpetual.cancel()
        await hold(1, path)

    async def report(path: str, progress: Any = library.Progress()) -> str:
        """Tell how far it is, and go on when a file is there."""
        await progress.set_total(7)
        await progress.increment(3)
        await progress.set_message("näarly half")
        await hold(1, path)
        await progress.set_message(None)
        await progress.increment(4)
        return "done"

    limited = make_limited_tasks(library, journal)
    return [echo, nothing, boom, flaky, flaky_later, hold, stubborn, baton, baton_held, farewell, report, *limited]


def make_limited_tasks(library: Any, journal: Journal) -> list[Callable[..., Awaitable[Any]]]:
    """Return tasks that do not always run at once."""

    async def share(number: int, seconds: float, where: str, limit: Any = library.ConcurrencyLimit("where", 2)) -> int:
        journal.write(f"begin-{where}", number)
        await anyio.sleep(seconds)
        journal.write(f"end-{where}", number)
        return number

    async def hold_slot(number: int, path: str, limit: Any = library.ConcurrencyLimit("path")) -> int:
        """Hold the only slot until a file is there."""
        journal.write("hold_slot", number)
        while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - opened by another process
            await anyio.sleep(0.01)
        return number

    async def rated(number: int, rate: Any = library.RateLimit(3, per=timedelta(seconds=0.5))) -> int:
        journal.write("rated", number)
        return number

    async def cooled(number: int, cooldown: Any = library.Cooldown(timedelta(seconds=30))) -> int:
        journal.write("cooled", number)
        return number

    async def debounced(number: int, debounce: Any = library.Debounce(timedelta(seconds=0.4))) -> int:
        journal.write("debounced", number)
        return number

    return [share, hold_slot, rated, cooled, debounced]


def make_automatic_tasks(library: Any, journal: Journal) -> list[Callable[..., Awaitable[Any]]]:
    """Return the tasks that workers add by themselves."""

    async def sweep(perpetual: Any = library.Perpetual(every=timedelta(hours=1), automatic=True)) -> None:
        journal.write("sweep", 0)

    async def nightly(cron: Any = library.Cron("0 3 * * *")) -> None:
        journal.write("nightly", 0)

    return [sweep, nightly]
