"""What a task cannot ask for is found when it is registered, with an error that names the parameter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import pytest

from docket_anyio import Docket
from docket_anyio.dependencies import (
    CallArgument,
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    CycleError,
    Depends,
    ExecutionTasks,
    Perpetual,
    Progress,
    Provided,
    Retry,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    Timeout,
)
from docket_anyio.exceptions import CircularDependency, InvalidTask
from tests.injection import typed_tasks


def refused(task: Callable[..., Awaitable[Any]], *words: str, error: type[Exception] = InvalidTask) -> None:
    """Check that a task cannot be registered, and that the error says where the mistake is."""
    with pytest.raises(error) as caught:
        Docket().register(task, names=["mine"])
    for word in ("'mine'", *words):
        assert word in str(caught.value)


def registered(task: Callable[..., Awaitable[Any]]) -> None:
    Docket().register(task, names=["mine"])


# --- circles ------------------------------------------------------------------------------------------------------


def identity(value: object = None) -> object:
    return value


def number() -> int:
    return 1


def test_parameters_that_need_each_other() -> None:
    async def body(
        a: object = Depends(identity, value=CallArgument("b")),
        b: object = Depends(identity, value=CallArgument("c")),
        c: object = Depends(identity, value=CallArgument("a")),
    ) -> None: ...

    refused(body, "a -> b -> c -> a", error=CircularDependency)
    refused(body, error=CycleError)
    refused(body, error=InvalidTask)


def test_a_parameter_that_needs_itself() -> None:
    async def body(a: object = CallArgument("a")) -> None: ...
    async def in_depends(a: object = Depends(identity, value=CallArgument("a"))) -> None: ...

    refused(body, "a -> a", error=CircularDependency)
    refused(in_depends, "a -> a", error=CircularDependency)


@pytest.mark.parametrize("ask", [Depends, Shared])
def test_functions_that_need_each_other(ask: Callable[..., Any]) -> None:
    def one(value: object = None) -> None: ...
    def two(value: object = ask(one)) -> None: ...

    one.__defaults__ = (ask(two),)

    async def body(a: object = ask(one)) -> None: ...

    refused(body, "'value'", error=CircularDependency)


def test_what_two_need_is_no_circle() -> None:
    def both(one: object = Depends(identity), two: object = Depends(identity)) -> None: ...

    async def body(
        a: object = Depends(both),
        b: object = Depends(identity),
        c: object = CallArgument("a"),
        d: int = TaskArgument("d"),
    ) -> None: ...

    registered(body)


# --- in the wrong place -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "marker",
    [Retry(attempts=2), Timeout(timedelta(1)), Perpetual(), ExecutionTasks()],
    ids=lambda each: type(each).__name__,
)
def test_a_policy_in_a_dependency(marker: Any) -> None:
    def inner(policy: Any = marker) -> None: ...
    def outer(value: None = Depends(inner)) -> None: ...

    async def body(a: None = Depends(outer)) -> None: ...

    refused(body, type(marker).__name__, "'policy'", "belongs in the signature of the task")


def test_a_policy_on_what_is_made() -> None:
    async def body(a: Annotated[int, Retry(attempts=2)] = Depends(number)) -> None: ...

    body.__annotations__["a"] = Annotated[int, Retry(attempts=2)]
    refused(body, "Retry", "'a'")


@pytest.mark.parametrize(
    "of_a_run",
    [TaskKey(), CurrentExecution(), TaskLogger(), Progress(), CallArgument("a"), TaskArgument("a"), Retry(attempts=2)],
    ids=lambda each: type(each).__name__,
)
def test_something_of_one_run_in_what_all_share(of_a_run: Any) -> None:
    def inner(value: Any = of_a_run) -> None: ...
    def outer(between: None = Depends(inner)) -> None: ...

    async def direct(a: None = Shared(inner)) -> None: ...
    async def indirect(a: None = Shared(outer)) -> None: ...
    async def bound(
        a: None = Shared(partial(identity, value=1)), b: None = Depends(identity, value=Shared(inner))
    ) -> None: ...

    for body in (direct, indirect, bound):
        refused(body, "'value'", "shared by all runs")


def test_something_of_one_run_that_is_bound_in_what_all_share() -> None:
    def pool(value: Any = Depends(identity, value=TaskKey())) -> None: ...

    async def body(a: None = Shared(pool)) -> None: ...

    refused(body, "'value'", "shared by all runs")


def test_what_belongs_to_the_worker_in_what_all_share() -> None:
    def pool(docket: Any = CurrentDocket(), worker: Any = CurrentWorker()) -> None: ...

    async def body(a: None = Shared(pool)) -> None: ...

    registered(body)


# --- arguments that are not there ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [CallArgument, TaskArgument])
def test_an_argument_that_the_task_has_not(ask: Callable[..., Any]) -> None:
    def wants(user_id: int = ask()) -> None: ...
    def may_want(user_id: int = ask(optional=True)) -> None: ...

    async def without(a: None = Depends(wants)) -> None: ...
    async def optional(a: None = Depends(may_want)) -> None: ...
    async def with_it(user_id: int, a: None = Depends(wants)) -> None: ...
    async def takes_any(a: None = Depends(wants), **more: object) -> None: ...

    refused(without, "'user_id'")
    for body in (optional, with_it, takes_any):
        registered(body)


def test_an_argument_without_a_name() -> None:
    async def body(a: int = TaskArgument()) -> None: ...

    refused(body, "'a'", "No parameter name specified")


def test_a_binding_that_the_function_has_not() -> None:
    def takes_any(**more: object) -> None: ...

    async def body(a: object = Depends(identity, colour="red")) -> None: ...
    async def any_will_do(a: object = Depends(takes_any, colour="red")) -> None: ...

    refused(body, "'colour'", "'a'")
    registered(any_will_do)


# --- annotations --------------------------------------------------------------------------------------------------


async def no_provider(a: Annotated[int, "words"] = Provided) -> None: ...


async def two_providers(a: Annotated[int, Depends(number)] = Depends(number)) -> None: ...


@pytest.mark.parametrize("task", [no_provider, two_providers])
def test_annotations_that_say_too_little_or_too_much(task: Any) -> None:
    refused(task, "'a'")


def test_annotations_that_only_a_type_checker_can_read() -> None:
    """What is hidden behind them is not left out in silence: it may be a limit."""
    registered(typed_tasks.plain)
    refused(typed_tasks.hidden, "'number'")
    refused(typed_tasks.made_and_hidden, "'text'")
    refused(typed_tasks.unreadable, "Decimal")


def test_callable_objects_and_partial_functions() -> None:
    """What the library cannot find there is not left out either."""

    async def body(number: int, text: str = Depends(identity)) -> None: ...

    registered(typed_tasks.PlainCallable())
    registered(partial(body, 1))
    refused(typed_tasks.Callable(), "'number'")


def test_a_builtin_that_does_not_say_what_it_takes() -> None:
    async def body(a: int = Depends(int)) -> None: ...

    refused(body, "'a'", "no signature found")


def test_a_dependency_that_can_only_be_given_by_position() -> None:
    async def body(a: int, b: str = Depends(identity), /) -> None: ...

    refused(body, "'b'")
