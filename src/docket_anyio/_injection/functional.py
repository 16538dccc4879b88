"""Values that functions make: ``Depends``, and the arguments of the call that they are made for."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, TypeVar, cast, overload

from docket_anyio._injection.library import ArgumentReference, DependencyFactory, FactoryDependency, current_frame

R = TypeVar("R")


class FunctionValue(FactoryDependency[R]):
    """A value for one run, made by a function: returned, awaited, or held open until the run has ended."""

    async def _resolve_factory_value(  # noqa: ASYNC910 - to wait or not is up to the function
        self,
        stack: AsyncExitStack,
        raw_value: R | Awaitable[R] | AbstractContextManager[R] | AbstractAsyncContextManager[R],
    ) -> R:
        if inspect.isasyncgenfunction(self.factory):
            return await stack.enter_async_context(_held(cast("AsyncGenerator[R]", raw_value)))
        if inspect.isgeneratorfunction(self.factory):
            return stack.enter_context(_held_sync(cast("Generator[R]", raw_value)))  # noqa: ASYNC910 - private; what users give need not wait
        return await super()._resolve_factory_value(stack, raw_value)


def _held(generator: AsyncGenerator[R]) -> AbstractAsyncContextManager[R]:
    return asynccontextmanager(lambda: generator)()


def _held_sync(generator: Generator[R]) -> AbstractContextManager[R]:
    return contextmanager(lambda: generator)()


@overload
def Depends(dependency: Callable[..., AbstractAsyncContextManager[R]], **bindings: Any) -> R: ...
@overload
def Depends(dependency: Callable[..., AbstractContextManager[R]], **bindings: Any) -> R: ...
@overload
def Depends(dependency: Callable[..., AsyncGenerator[R]], **bindings: Any) -> R: ...
@overload
def Depends(dependency: Callable[..., Generator[R]], **bindings: Any) -> R: ...
@overload
def Depends(dependency: Callable[..., Awaitable[R]], **bindings: Any) -> R: ...
@overload
def Depends(dependency: Callable[..., R], **bindings: Any) -> R: ...
def Depends(dependency: Any, **bindings: Any) -> Any:  # noqa: N802 - pydocket's name
    """Ask for what a function makes.

    ``async def send(to: str, mail: Mailer = Depends(open_mailer)): ...``. The function is called once in a run, however
    often it is asked for, also by other functions that make values. A context manager, or a generator that yields once,
    is open while the run lasts: it closes in the task of the run, after those that were opened later, and sees the
    exception that the run ended with. It cannot take that exception away, but one of its own fails a run that had
    succeeded.

    A function that is not ``async`` is called in the event loop, so it must not block.

    Args:
        dependency: A function or coroutine function, a context manager's or a generator's. What its own parameters have
            as defaults is made first: ``Depends(...)``, ``TaskArgument()``, ``CurrentDocket()`` and the like.
        bindings: Arguments for it in the place of its defaults; those that are themselves dependencies are made first.
    """
    return FunctionValue(cast("DependencyFactory[Any]", dependency), **bindings)


class GivenArgument(ArgumentReference):
    """An argument that the caller gave."""

    async def __aenter__(self) -> object:
        parameter = self.parameter or ""  # it was given its name by for_parameter()
        try:
            return await current_frame().resolve(parameter, provided_only=True)
        except LookupError:
            if self.optional:
                return None  # noqa: ASYNC910 - private; what users give need not wait
            raise KeyError(parameter) from None


def TaskArgument(parameter: str | None = None, optional: bool = False) -> Any:  # noqa: FBT001, FBT002, N802 - pydocket's signature
    """Ask, in a function that makes a value, for an argument that the task was added with.

    Args:
        parameter: Of which parameter of the task; of the same name where it is left out.
        optional: Whether ``None`` will do where the task was added without.
    """
    return GivenArgument(parameter, optional)
