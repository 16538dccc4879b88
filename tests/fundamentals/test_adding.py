"""Adding tasks: the code that a newcomer would write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from docket_anyio import Disposition, Docket, Worker
from docket_anyio.exceptions import InvalidArguments


async def test_add_a_task_and_run_it(docket: Docket) -> None:
    greeted: list[str] = []

    async def greet(name: str, greeting: str = "Hello") -> None:
        greeted.append(f"{greeting}, {name}!")

    await docket.add(greet)("Ann")
    await docket.add(greet)("Bob", greeting="Howdy")

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert sorted(greeted) == ["Hello, Ann!", "Howdy, Bob!"]


async def test_register_a_task_and_add_it_by_name(docket: Docket) -> None:
    greeted: list[str] = []

    @docket.task
    async def greet(name: str) -> None:
        greeted.append(name)

    await docket.add("greet")("Ann")

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert greeted == ["Ann"]


async def test_add_a_task_for_later(docket: Docket) -> None:
    ran_at: list[datetime] = []

    async def remind() -> None:
        ran_at.append(datetime.now(UTC))

    soon = datetime.now(UTC) + timedelta(milliseconds=100)
    await docket.add(remind, when=soon)()

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert ran_at[0] >= soon


async def test_a_key_is_added_once(docket: Docket) -> None:
    sent: list[str] = []

    async def send_invoice(order: str) -> None:
        sent.append(order)

    first = await docket.add(send_invoice, key="invoice-1")("1")
    second = await docket.add(send_invoice, key="invoice-1")("1")

    assert first.disposition is Disposition.SCHEDULED
    assert second.disposition is Disposition.ALREADY_SCHEDULED

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert sent == ["1"]


async def test_a_task_adds_another(docket: Docket) -> None:
    done: list[str] = []

    async def second() -> None:
        done.append("second")

    async def first() -> None:
        done.append("first")
        await docket.add(second)()

    await docket.add(first)()

    async with Worker(docket) as worker:
        await worker.run_until_finished()

    assert done == ["first", "second"]


async def test_a_wrong_call_is_refused_at_once(docket: Docket) -> None:
    async def greet(name: str) -> None: ...

    try:
        await docket.add(greet)()  # type: ignore[call-arg]
    except InvalidArguments as error:
        message = str(error)

    assert message == "task 'greet' cannot be called like that: missing a required argument: 'name'"
