"""Values that are made once for a worker, and shared by all its runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar, cast, overload

from anyio import CancelScope, Event, create_task_group, move_on_after
from anyio.abc import TaskGroup
from attrs import define, field

from docket_anyio._injection.functional import FunctionValue
from docket_anyio._injection.library import DependencyFactory, Provider
from docket_anyio.exceptions import CleanupTimeout, NotOpen

R = TypeVar("R")

# How long, in seconds, all shared values together may take to close.
CLOSING: Final = 10.0


@define(eq=False)
class _Kept:
    """A shared value, and how its makers and its users tell each other about it."""

    factory: DependencyFactory[Any]
    scope: CancelScope = field(factory=lambda: CancelScope(shield=True), init=False)
    made: Event = field(factory=Event, init=False)
    unused: Event = field(factory=Event, init=False)
    closed: Event = field(factory=Event, init=False)
    value: object = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)


@define(eq=False)
class SharedValues:
    """The shared values of one session of a worker, each held open by a task of its own.

    So it does not matter which run was the first to want one, nor that this run was cancelled: a value that holds a
    cancel scope or a task group is opened and closed in the same task.

    Args:
        group: Where these tasks run.
        broken: Called when a value has failed while it was in use.
    """

    _group: TaskGroup
    _broken: Callable[[], None]
    _context: Context = field(factory=copy_context, init=False)  # not that of the run that happens to be the first
    _kept: dict[DependencyFactory[Any], _Kept] = field(factory=dict[DependencyFactory[Any], _Kept], init=False)
    _errors: list[Exception] = field(factory=list[Exception], init=False)

    async def get(self, factory: DependencyFactory[R]) -> R:
        """Return the value of a factory, made by the first who asks for it."""
        kept = self._kept.get(factory)
        if kept is None:
            kept = self._kept[factory] = _Kept(factory)
            self._context.copy().run(self._group.start_soon, self._keep, kept)
        await kept.made.wait()
        if kept.error is not None:
            raise kept.error
        return cast("R", kept.value)

    async def close(self) -> None:  # noqa: ASYNC910 - private; what users give need not wait
        """Close them, the last one made first.

        Raises:
            CleanupTimeout: That took too long.
            Exception: Those that failed while they were in use or closed, alone or in a group.
        """
        with move_on_after(CLOSING, shield=True) as patience:  # noqa: ASYNC912 - the same
            for kept in reversed(list(self._kept.values())):
                kept.unused.set()
                if not kept.made.is_set():
                    kept.scope.cancel("nobody wants it any more")
                await kept.closed.wait()
        if patience.cancelled_caught:
            for kept in self._kept.values():
                kept.scope.cancel("not closed in time")
            self._errors.append(CleanupTimeout(f"the shared values of the worker were not closed within {CLOSING:g} s"))
        if self._errors:
            raise self._errors[0] if len(self._errors) == 1 else ExceptionGroup("shared values", self._errors)

    async def _keep(self, kept: _Kept) -> None:  # noqa: ASYNC910 - private; what users give need not wait
        _shared_values.set(self)
        FunctionValue.cache.set({})
        error: Exception | None = None
        try:
            with kept.scope:
                async with AsyncExitStack() as stack:
                    FunctionValue.stack.set(stack)
                    kept.value = await stack.enter_async_context(FunctionValue[Any](kept.factory))
                    # A value that needs another one was asked for first, and is to be closed first.
                    self._kept[kept.factory] = self._kept.pop(kept.factory)
                    kept.made.set()
                    await kept.unused.wait()
        except Exception as raised:  # noqa: BLE001 - whatever a user's function raises
            error = raised
        finally:
            kept.closed.set()
        self._ended(kept, error)

    def _ended(self, kept: _Kept, error: Exception | None) -> None:
        if not kept.unused.is_set():
            # The next one who asks may have better luck.
            del self._kept[kept.factory]
        if not kept.made.is_set():
            kept.error = error or NotOpen("a Shared value was not made before the worker stopped")
            kept.made.set()
        elif error is not None:
            self._errors.append(error)
            if not kept.unused.is_set():
                self._broken()


_shared_values: Final[ContextVar[SharedValues]] = ContextVar("shared_values")


@asynccontextmanager
async def open_shared_values(broken: Callable[[], None] = lambda: None) -> AsyncGenerator[None]:
    """Keep shared values for what is started inside the block, until it ends.

    Args:
        broken: Called when one of them has failed while it was in use. The error is raised at the end of the block.
    """
    async with create_task_group() as group:
        values = SharedValues(group, broken)
        _shared_values.set(values)
        try:
            yield
        finally:
            await values.close()  # noqa: ASYNC102 - shielded and bounded itself


class SharedValue(Provider[R]):
    """A value that all runs of a worker share."""

    def __init__(self, factory: DependencyFactory[R]) -> None:
        self.factory: Final = factory

    async def __aenter__(self) -> R:
        values = _shared_values.get(None)
        if values is None:
            raise NotOpen("a Shared value exists only while a worker runs")
        return await values.get(self.factory)


@overload
def Shared(factory: Callable[..., AbstractAsyncContextManager[R]]) -> R: ...
@overload
def Shared(factory: Callable[..., AbstractContextManager[R]]) -> R: ...
@overload
def Shared(factory: Callable[..., AsyncGenerator[R]]) -> R: ...
@overload
def Shared(factory: Callable[..., Generator[R]]) -> R: ...
@overload
def Shared(factory: Callable[..., Awaitable[R]]) -> R: ...
@overload
def Shared(factory: Callable[..., R]) -> R: ...
def Shared(factory: Any) -> Any:  # noqa: N802 - pydocket's name
    """Ask for what a function makes once for a worker: a pool of connections, a model in memory.

    ``async def report(pool: Pool = Shared(open_pool)): ...``. It is made when the first run asks for it, also where
    many do so at once, and closed when the worker stops, after the last run has ended; whoever asks for the same
    function gets the same value. Where making it fails, the runs that wait for it fail, and the next one tries again.

    Args:
        factory: As for ``Depends``. It may ask for other shared values, but for nothing that belongs to one run.
    """
    return SharedValue(cast("DependencyFactory[Any]", factory))
