"""What opens and closes around a body, and who wrote it down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import TracebackType

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import define, field

from docket_anyio.dependencies import Dependency, Depends


@define
class Diary:
    """What has happened, in order; in which task; and which exception was seen on closing."""

    entries: list[str] = field(factory=list)
    tasks: dict[str, set[int]] = field(factory=dict)
    seen: dict[str, type[BaseException] | None] = field(factory=dict)
    started: anyio.Event = field(factory=anyio.Event)

    def write(self, what: str, who: str) -> None:
        self.entries.append(f"{what} {who}")
        self.tasks.setdefault(who, set()).add(anyio.get_current_task().id)

    def close(self, who: str, error: BaseException | None) -> None:
        self.write("close", who)
        self.seen[who] = None if error is None else type(error)

    @contextmanager
    def page(self, who: str) -> Generator[str]:
        self.write("open", who)
        try:
            yield who
        except BaseException as error:
            self.close(who, error)
            raise
        else:
            self.close(who, None)

    @asynccontextmanager
    async def slow_page(self, who: str) -> AsyncGenerator[str]:
        """Both opening and closing wait for something."""
        await checkpoint()
        self.write("open", who)
        try:
            yield who
        except BaseException as error:
            await anyio.sleep(0.001)
            self.close(who, error)
            raise
        else:
            await anyio.sleep(0.001)
            self.close(who, None)


# A worker is started by the test, so what it runs sees the variables of the test.
diary: ContextVar[Diary] = ContextVar("diary")


@pytest.fixture
async def notes(anyio_backend: object) -> AsyncGenerator[Diary]:
    """The diary of a test, which is the one that everything here writes in."""
    notes = Diary()
    token = diary.set(notes)
    yield notes
    diary.reset(token)


def function() -> str:
    diary.get().write("open", "it")
    return "it"


async def coroutine() -> str:
    await checkpoint()
    diary.get().write("open", "it")
    return "it"


@contextmanager
def manager() -> Generator[str]:
    with diary.get().page("it") as page:
        yield page


@asynccontextmanager
async def async_manager() -> AsyncGenerator[str]:
    async with diary.get().slow_page("it") as page:
        yield page


def generator() -> Generator[str]:
    with diary.get().page("it") as page:
        yield page


async def async_generator() -> AsyncGenerator[str]:
    async with diary.get().slow_page("it") as page:
        yield page  # noqa: ASYNC119 - made a context manager by whom it is given to


@asynccontextmanager
async def inner() -> AsyncGenerator[str]:
    async with diary.get().slow_page("inner") as page:
        yield page


@asynccontextmanager
async def nested(inside: str = Depends(inner)) -> AsyncGenerator[str]:
    assert inside == "inner"
    async with diary.get().slow_page("it") as page:
        yield page


@asynccontextmanager
async def with_scope() -> AsyncGenerator[str]:
    async with diary.get().slow_page("it") as page:
        with anyio.CancelScope():  # noqa: ASYNC100 - it stays open
            yield page


@asynccontextmanager
async def with_task_group() -> AsyncGenerator[str]:
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        # Not a slow one: what is inside of a group that is cancelled cannot wait.
        with diary.get().page("it") as page:
            yield page
        group.cancel_scope.cancel()


class Own(Dependency[str]):
    async def __aenter__(self) -> str:
        await checkpoint()
        diary.get().write("open", "it")
        return "it"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await anyio.sleep(0.001)
        diary.get().close("it", error)


@asynccontextmanager
async def first() -> AsyncGenerator[str]:
    async with diary.get().slow_page("first") as page:
        yield page


@asynccontextmanager
async def last() -> AsyncGenerator[str]:
    async with diary.get().slow_page("last") as page:
        yield page
