"""``docket.add(f)(x)`` keeps what a type checker knows of ``f``. Not run: mypy and pyright read it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any, TypeVar, assert_type

import anyio

from docket_anyio import Agenda, Docket, Execution, Priority, Retry, TaskCall, Timeout, Worker, WorkerThread

T = TypeVar("T")


async def send(address: str, *, retries: int = 3) -> bool:
    return bool(address) and retries > 0


async def echo(value: T) -> T:
    return value


async def patient(
    address: str, retry: Retry = Retry(attempts=3), timeout: Timeout = Timeout(timedelta(seconds=1))
) -> None: ...


class Sender:
    async def send(self, address: str) -> int:
        return len(address)

    async def __call__(self, address: str) -> float:
        return float(len(address))


def returns_an_awaitable(number: int) -> Awaitable[str]:
    raise NotImplementedError(number)


def plain(number: int) -> int:
    return number


def in_a_thread(path: str, thread: WorkerThread = WorkerThread()) -> None: ...


async def keeps_parameters_and_result(docket: Docket, later: datetime) -> None:
    execution = await docket.add(send, when=later, key="ann")("ann@example.org", retries=1)
    assert_type(execution, Execution[bool])
    assert_type(await docket.add(send, expires=later)("ann@example.org"), Execution[bool])
    assert_type(await docket.replace(send, later, "ann", expires=timedelta(1))("ann@example.org"), Execution[bool])
    assert_type(await docket.add("send", priority=Priority.HIGH)("ann@example.org"), Execution[Any])
    assert_type(await execution.get_result(), bool)
    assert_type(await execution.get_result(timeout=timedelta(seconds=1)), bool)


async def refuses_what_does_not_fit(docket: Docket) -> None:
    await docket.add(send)(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await docket.add(send)()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await docket.add(send)("ann@example.org", copies=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await docket.add(send)("ann@example.org", 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await docket.add(plain)("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    docket.add(send, when="now")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    docket.add(send, expires=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    docket.add(send, priority="high")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    docket.add(send, urgency=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    docket.add(send, key=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def keeps_type_variables(docket: Docket) -> None:
    assert_type(await (await docket.add(echo)("text")).get_result(), str)
    assert_type(await (await docket.add(echo)(5)).get_result(), int)


async def leaves_markers_out_of_the_call(docket: Docket) -> None:
    execution = await docket.add(patient)("ann@example.org")
    assert_type(execution, Execution[None])


async def knows_methods_and_objects(docket: Docket, sender: Sender) -> None:
    assert_type(await docket.add(sender.send)("ann@example.org"), Execution[int])
    assert_type(await docket.add(sender)("ann@example.org"), Execution[float])
    assert_type(await docket.add(returns_an_awaitable)(1), Execution[str])


async def keeps_parameters_and_result_of_plain_functions(docket: Docket, later: datetime) -> None:
    execution = await docket.add(plain, when=later, key="one")(1)
    assert_type(execution, Execution[int])
    assert_type(await execution.get_result(), int)
    assert_type(await docket.replace(plain, later, "one")(number=2), Execution[int])
    assert_type(docket.call(plain)(1), TaskCall[int])
    assert_type(docket.call(send)("ann@example.org"), TaskCall[bool])
    assert_type(await docket.add(in_a_thread)("one.jpg"), Execution[None])

    @docket.task
    def add(first: int, second: int) -> int:
        return first + second

    assert_type(add(1, 2), int)
    assert_type(await docket.add(add)(1, 2), Execution[int])
    Agenda().add(plain)(1)
    Agenda().add(plain)("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def knows_nothing_of_a_name(docket: Docket) -> None:
    assert_type(await docket.add("send")("ann@example.org", 1, anything=True), Execution[Any])
    assert_type(await docket.get_execution("ann"), Execution[Any] | None)


async def a_task_stays_a_function(docket: Docket) -> None:
    @docket.task
    async def greet(name: str) -> str:
        return f"Hello, {name}"

    assert_type(await greet("Ann"), str)
    assert_type(await docket.add(greet)("Ann"), Execution[str])


async def a_worker_is_opened_and_started(url: str) -> None:
    async with Docket("orders", url) as docket, Worker(docket, concurrency=5) as worker:
        assert_type(docket, Docket)
        assert_type(worker, Worker)
        async with anyio.create_task_group() as group:
            await group.start(worker.run_forever)
            worker.stop(grace=timedelta(seconds=1))
    Worker(docket, workers=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
