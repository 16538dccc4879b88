"""Tasks that ask for values, written once for both libraries."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Annotated, Any


def make_injected_tasks(library: Any) -> list[Callable[..., Awaitable[Any]]]:
    """Return the tasks for one of the libraries. Each returns what it was given.

    Args:
        library: ``docket`` or ``docket_anyio``.
    """
    of = import_module(f"{library.__name__}.dependencies")
    made: list[str] = []

    def function() -> str:
        made.append("function")
        return f"function {made.count('function')}"

    async def coroutine(of_function: str = of.Depends(function)) -> str:
        return f"coroutine of {of_function}"

    @contextmanager
    def manager() -> Generator[str]:
        yield "manager"

    @asynccontextmanager
    async def async_manager(key: str = of.TaskKey()) -> AsyncGenerator[str]:
        yield f"async manager of {key}"

    class Own(of.Dependency):
        async def __aenter__(self) -> str:
            return "own"

    async def shared() -> str:
        made.append("shared")
        return f"shared {made.count('shared')}"

    def number(value: int = of.CallArgument("a")) -> int:
        return value * 10

    def given(value: Any = of.TaskArgument("b", optional=True)) -> Any:
        return value

    def bound(value: int = 1, *, more: str = of.Depends(function)) -> str:
        return f"bound {value} {more}"

    async def kinds(
        a: str = of.Depends(function),
        b: str = of.Depends(coroutine),
        c: str = of.Depends(manager),
        d: str = of.Depends(async_manager),
        e: str = Own(),
        f: Annotated[str, of.Depends(function)] = "default",
    ) -> list[str]:
        made.clear()
        return [a, b, c, d, e, f]

    async def once(value: str = of.Shared(shared), again: str = of.Shared(shared)) -> list[str]:
        return [value, again]

    async def arguments(
        a: int,
        b: int = 5,
        ten_times: int = of.Depends(number),
        as_given: Any = of.Depends(given),
        same: int = of.CallArgument("b"),
        nothing: Any = of.CallArgument("c", optional=True),
        made_before: int = of.CallArgument("ten_times"),
    ) -> list[Any]:
        return [a, b, ten_times, as_given, same, nothing, made_before]

    async def bindings(
        a: int = 3,
        two: str = of.Depends(bound, value=2),
        three: str = of.Depends(bound, value=of.CallArgument("a")),
        one: str = of.Depends(bound),
    ) -> list[str]:
        made.clear()
        return [one, two, three]

    async def replaced(a: int, value: str = of.Depends(function)) -> list[Any]:
        made.clear()
        return [a, value]

    async def run(
        execution: Any = of.CurrentExecution(),
        docket: Any = of.CurrentDocket(),
        worker: Any = of.CurrentWorker(),
        log: Any = of.TaskLogger(),
    ) -> list[Any]:
        fields = {
            name: value for name, value in log.extra.items() if name in {"docket.task", "docket.key", "docket.attempt"}
        }
        return [execution.key, execution.function_name, docket.name, worker.name, log.logger.name, fields]

    def broken() -> None:
        raise ConnectionError("refused")

    async def unlucky(
        one: None = of.Depends(broken), two: str = of.Depends(function), three: None = of.Depends(broken)
    ) -> None:
        made.clear()

    async def missing(value: Any = of.TaskArgument("nobody", optional=True), a: int = 1) -> list[Any]:
        return [value, a]

    return [kinds, once, arguments, bindings, replaced, run, unlucky, missing]
