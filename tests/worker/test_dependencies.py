"""What a task is given for what its signature asks for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import pytest

from docket_anyio import Docket, Worker
from docket_anyio.dependencies import (
    CallArgument,
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Dependency,
    Depends,
    Provided,
    Provider,
    Retry,
    TaskArgument,
    TaskKey,
    TaskLogger,
    current_docket,
    current_execution,
    current_worker,
)
from tests.dockets import run_all

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def result_of(docket: Docket, task: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
    """Run a task by a worker of its own, and return its result."""
    execution = await docket.add(task)(*args, **kwargs)
    await run_all(docket, name="W")
    return await execution.get_result()


# --- once in a run ------------------------------------------------------------------------------------------------


async def test_a_function_is_called_once_in_a_run(docket: Docket) -> None:
    calls = 0

    def connection() -> int:
        nonlocal calls
        calls += 1
        return calls

    def store(uses: int = Depends(connection)) -> int:
        return uses

    async def body(a: int = Depends(connection), b: int = Depends(connection), c: int = Depends(store)) -> list[int]:
        return [a, b, c]

    assert await result_of(docket, body) == [1, 1, 1]
    assert await result_of(docket, body) == [2, 2, 2]


async def test_another_attempt_is_another_run(docket: Docket) -> None:
    calls = 0

    def connection() -> int:
        nonlocal calls
        calls += 1
        return calls

    async def body(number: int = Depends(connection), retry: Retry = Retry(attempts=3)) -> int:
        if retry.attempt < 3:
            raise ValueError("again")
        return number

    assert await result_of(docket, body) == 3


# --- bindings -----------------------------------------------------------------------------------------------------


async def test_bindings_take_the_place_of_defaults(docket: Docket) -> None:
    calls: list[str] = []

    def region() -> str:
        return "north"

    def store(name: str = "default", where: str = Depends(region)) -> str:
        calls.append(name)
        return f"{name} in the {where}"

    async def body(
        default: str = Depends(store),
        red: str = Depends(store, name="red"),
        red_again: str = Depends(store, name="red"),
        blue: str = Depends(store, name="blue", where="south"),
        named: str = Depends(store, name=CallArgument("colour")),
        colour: str = "green",
    ) -> list[str]:
        return [default, red, red_again, blue, named]

    assert await result_of(docket, body) == [
        "default in the north",
        "red in the north",
        "red in the north",
        "blue in the south",
        "green in the north",
    ]
    assert calls == ["default", "red", "blue", "green"]


# --- the arguments of the call ------------------------------------------------------------------------------------


def shout(name: str = CallArgument()) -> str:
    return name.upper()


async def greet(name: str, greeting: str = "Hello", loud: str = Depends(shout)) -> str:
    return f"{greeting} {loud}"


async def test_an_argument_by_position_and_by_name(docket: Docket) -> None:
    assert await result_of(docket, greet, "Ann") == "Hello ANN"
    assert await result_of(docket, greet, name="Ann", greeting="Bye") == "Bye ANN"


async def test_an_argument_under_another_name(docket: Docket) -> None:
    def user(number: int = TaskArgument("user_id")) -> str:
        return f"user {number}"

    async def body(user_id: int, who: str = Depends(user)) -> str:
        return who

    assert await result_of(docket, body, 7) == "user 7"
    assert await result_of(docket, body, user_id=8) == "user 8"


async def test_one_of_the_tasks_own_parameters_may_be_another_argument(docket: Docket) -> None:
    async def body(a: int, same: int = CallArgument("a"), given: int = TaskArgument("a")) -> list[int]:
        return [a, same, given]

    assert await result_of(docket, body, 7) == [7, 7, 7]


async def test_what_the_caller_left_out(docket: Docket) -> None:
    """A CallArgument is what the body is given, a TaskArgument what the caller gave."""

    def source() -> str:
        return "made"

    def seen(
        default: int = CallArgument("number"),
        made: str = CallArgument("value"),
        not_given: int | None = TaskArgument("number", optional=True),
        not_made: str | None = TaskArgument("value", optional=True),
        nothing: str | None = CallArgument("unknown", optional=True),
        instead: str = CallArgument("unknown", default="instead"),
        retry: Retry = CallArgument("retry"),
    ) -> list[object]:
        return [default, made, not_given, not_made, nothing, instead, retry.attempt]

    async def body(
        all_of_it: list[object] = Depends(seen),
        number: int = 5,
        value: str = Depends(source),
        retry: Retry = Retry(attempts=2),
    ) -> list[object]:
        return all_of_it

    assert await result_of(docket, body) == [5, "made", None, None, None, "instead", 1]
    assert await result_of(docket, body, number=6, value="given") == [6, "given", 6, "given", None, "instead", 1]


async def test_an_argument_that_only_stars_take(docket: Docket) -> None:
    def wanted(colour: str = TaskArgument(), size: int = CallArgument()) -> str:
        return f"{colour} {size}"

    async def body(what: str = Depends(wanted), **more: object) -> str:
        return what

    assert await result_of(docket, body, colour="red", size=3) == "red 3"


async def test_an_argument_that_the_caller_had_to_give(docket: Docket) -> None:
    def user(user_id: int = TaskArgument()) -> int:
        return user_id

    async def body(user_id: int = 1, who: int = Depends(user)) -> int:
        return who

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="user_id")):
        await execution.get_result()


# --- what the caller gives takes the place of what would be made --------------------------------------------------


async def test_an_argument_replaces_a_dependency(docket: Docket) -> None:
    def never() -> str:
        raise AssertionError("it is not needed")

    async def body(a: int, value: str = Depends(never), *rest: int) -> list[object]:
        return [a, value, *rest]

    assert await result_of(docket, body, 1, value="given") == [1, "given"]
    assert await result_of(docket, body, 1, "given") == [1, "given"]
    assert await result_of(docket, body, 1, "given", 2, 3) == [1, "given", 2, 3]
    assert await result_of(docket, body, 1, None) == [1, None]


def module_level() -> str:
    return "made"


async def annotated(
    required: Annotated[str, Depends(module_level)], value: Annotated[str, Depends(module_level)] = Provided
) -> list[str]:
    return [required, value]


async def test_a_provider_in_an_annotation(docket: Docket) -> None:
    assert await result_of(docket, annotated) == ["made", "made"]
    assert await result_of(docket, annotated, "given", value="given too") == ["given", "given too"]


class Doubled(Dependency[None]):
    """Wraps a run, and wants to know the argument that it stands at."""

    seen: list[object] = []  # noqa: RUF012 - emptied by each test

    def __init__(self, value: object = None) -> None:
        self.value = value

    def bind_to_parameter(self, name: str, value: Any) -> Doubled:
        return Doubled((name, value))

    async def __aenter__(self) -> None:
        self.seen.append(self.value)


class Made(Provider[str]):
    async def __aenter__(self) -> str:
        return "made by a class"


async def wrapped(number: Annotated[int, Doubled], made: Annotated[str, Made(), Doubled()] = Provided) -> str:
    return f"{number} and {made}"


async def test_a_class_in_an_annotation_sees_the_argument(docket: Docket) -> None:
    Doubled.seen.clear()
    assert await result_of(docket, wrapped, 21) == "21 and made by a class"
    assert Doubled.seen == [("number", 21), ("made", "made by a class")]


# --- what a run is part of ----------------------------------------------------------------------------------------


async def test_what_a_run_is_part_of(docket: Docket) -> None:
    seen: list[object] = []

    def within(
        docket: Docket = CurrentDocket(), worker: Worker = CurrentWorker(), key: str = TaskKey()
    ) -> list[object]:
        return [docket, worker, key]

    async def body(
        inside: list[object] = Depends(within),
        docket: Docket = CurrentDocket(),
        worker: Worker = CurrentWorker(),
        key: str = TaskKey(),
        execution: object = CurrentExecution(),
    ) -> bool:
        seen.extend([docket, worker, key])
        assert execution is current_execution.get()
        assert current_execution.get().key == key
        assert inside == [current_docket.get(), current_worker.get(), key] == seen
        return True

    execution = await docket.add(body, key="mine")()
    async with Worker(docket) as worker:
        await worker.run_until_finished()
        assert await execution.get_result()
        assert seen == [docket, worker, "mine"]
    for each in (current_docket, current_worker, current_execution):
        with pytest.raises(LookupError):
            each.get()


async def test_a_logger_that_says_what_it_logs_for(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def body(log: logging.LoggerAdapter[logging.Logger] = TaskLogger()) -> None:
        log.info("hello")

    with caplog.at_level(logging.INFO):
        await docket.add(body, key="mine")()
        await run_all(docket, name="W")
    (line,) = [each for each in caplog.records if each.message == "hello"]
    assert line.name == "docket.task.body"
    fields = vars(line)
    assert {name: fields[name] for name in fields if name.startswith("docket.") and name != "docket.when"} == {
        "docket.name": docket.name,
        "docket.worker": "W",
        "docket.task": "body",
        "docket.key": "mine",
        "docket.attempt": 1,
    }


async def test_a_variable_that_one_run_sets_is_not_seen_by_another(docket: Docket) -> None:
    both = 0
    met = anyio.Event()

    def set_it(name: str = TaskArgument()) -> str:
        was = variable.get()
        variable.set(name)
        return was

    async def body(name: str, was: str = Depends(set_it)) -> tuple[str, str]:
        nonlocal both
        both += 1
        if both == 2:
            met.set()
        await met.wait()
        return was, variable.get()

    one, two = await docket.add(body)("one"), await docket.add(body)("two")
    await run_all(docket)
    assert await one.get_result() == ("unset", "one")
    assert await two.get_result() == ("unset", "two")
    assert variable.get() == "unset"
