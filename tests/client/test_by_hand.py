"""Executions that are made, scheduled, claimed and ended by hand, as pydocket's users do it."""

from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest

import docket_anyio
from docket_anyio import Disposition, Docket, Execution, ExecutionState
from docket_anyio.dependencies import Retry, current_execution
from docket_anyio.exceptions import (
    ExecutionCancelled,
    InvalidArguments,
    InvalidKey,
    InvalidTask,
    InvalidTime,
    NotOpen,
    TaskFailed,
)
from tests.conftest import Store
from tests.dockets import open_docket, run_all

HOUR = timedelta(hours=1)


async def send(to: str, subject: str = "none", *, urgent: bool = False, retry: Retry = Retry()) -> str:
    return f"{to}: {subject}"


def now() -> datetime:
    """A moment ago, so that it is due whatever the clock of Redis says."""
    return datetime.now(UTC) - timedelta(seconds=1)


def make(docket: Any, when: datetime | None = None, *, key: str = "K", **more: Any) -> Execution[str]:
    return Execution(docket, send, ("ann",), {"subject": "hi"}, key, now() if when is None else when, 1, **more)


async def record(docket: Docket, key: str = "K") -> dict[str, str]:
    async with docket.redis() as redis:
        fields = await redis.hgetall(docket.runs_key(key))
    return {name.decode(): value.decode(errors="replace") for name, value in fields.items()}


@asynccontextmanager
async def delivered(docket: Docket) -> AsyncGenerator[tuple[bytes, dict[bytes, bytes]]]:
    """What a worker called W has in hand."""
    async with docket.broker.open_intake("W"), docket.redis() as redis:
        [[_, [entry]]] = await redis.xreadgroup(docket.worker_group_name, "W", {docket.stream_key: ">"}, count=1)
        yield entry


# --- what it is ---------------------------------------------------------------------------------------------------


async def test_it_is_made_in_pydockets_order(docket: Docket) -> None:
    when = now()
    execution: Execution[Any] = Execution(docket, send, ("ann",), {}, "K", when, 3, {"a": 1}, True, "mail", 7, b"1-0")  # noqa: FBT003
    assert execution.docket is docket
    assert (execution.function, execution.function_name) == (send, "mail")
    assert (execution.args, execution.kwargs, execution.key) == (("ann",), {}, "K")
    assert (execution.when, execution.attempt, execution.generation) == (when, 3, 7)
    assert (execution.trace_context, execution.redelivered, execution.message_id) == ({"a": 1}, True, b"1-0")
    assert (execution.state, execution.disposition) == (ExecutionState.SCHEDULED, Disposition.LOADED)
    assert (execution.worker, execution.error, execution.result_key) == (None, None, None)
    assert (execution.started_at, execution.completed_at, execution.schedule_exception) == (None, None, None)
    assert (execution.progress.key, execution.progress.current) == ("K", None)
    assert make(docket).function_name == "send"


async def test_its_labels(docket: Docket) -> None:
    execution = make(docket, datetime(2026, 1, 1, tzinfo=UTC))
    assert execution.general_labels() == {"docket.task": "send"}
    assert execution.specific_labels() == {
        "docket.task": "send",
        "docket.key": "K",
        "docket.when": "2026-01-01T00:00:00+00:00",
        "docket.attempt": 1,
    }


async def test_its_arguments_by_parameter(docket: Docket) -> None:
    execution = make(docket)
    assert (execution.get_argument("to"), execution.get_argument("subject")) == ("ann", "hi")
    with pytest.raises(KeyError):
        execution.get_argument("urgent")  # the caller gave none
    with pytest.raises(InvalidArguments):
        Execution(docket, send, (), {"nobody": 1}, "K", now(), 1).get_argument("nobody")


async def test_arguments_are_not_shown_in_logs(docket: Docket) -> None:
    assert make(docket).call_repr() == "send(..., subject=...){K}"
    assert Execution(docket, send, (), {}, "K", now(), 1).call_repr() == "send(){K}"

    async def many(*each: int, secret: Annotated[str, "a note"] = "") -> None: ...

    assert Execution(docket, many, (1, 2, 3), {"secret": "s"}, "K", now(), 1).call_repr() == (
        "many(..., ..., ..., secret=...){K}"
    )


async def test_its_message(docket: Docket) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    message = make(docket, when, generation=4).as_message()
    assert pickle.loads(message.pop(b"args")) == ("ann",)
    assert pickle.loads(message.pop(b"kwargs")) == {"subject": "hi"}
    assert message == {
        b"key": b"K",
        b"when": b"2026-01-01T00:00:00+00:00",
        b"function": b"send",
        b"attempt": b"1",
        b"generation": b"4",
    }


# --- from a message -----------------------------------------------------------------------------------------------


async def test_it_comes_back_from_its_message(docket: Docket) -> None:
    docket.register(send)
    await docket.add(send, when=now() + HOUR, key="K")("ann", subject="hi")
    made = make(docket, now() + HOUR, generation=1)
    message = {**made.as_message(), b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    execution: Execution[Any] = await Execution.from_message(docket, message, redelivered=True, message_id=b"1-0")
    assert (execution.function, execution.args, execution.kwargs) == (send, ("ann",), {"subject": "hi"})
    assert (execution.when, execution.attempt, execution.generation) == (made.when, 1, 1)
    assert (execution.redelivered, execution.message_id) == (True, b"1-0")
    assert execution.as_message() == made.as_message()
    assert execution.state is ExecutionState.SCHEDULED
    await docket.cancel("K")
    assert (await Execution.from_message(docket, message)).state is ExecutionState.CANCELLED
    assert (await Execution.from_message(docket, message, sync=False)).state is ExecutionState.SCHEDULED


async def test_a_message_from_before_generations_were_counted(docket: Docket) -> None:
    docket.register(send)
    message = make(docket).as_message()
    del message[b"generation"]
    assert (await Execution.from_message(docket, message)).generation == 0


async def test_a_message_of_an_unknown_task(docket: Docket) -> None:
    message = make(docket).as_message()
    with pytest.raises(InvalidTask, match="'send' is not registered"):
        await Execution.from_message(docket, message)

    async def instead(*args: object, **kwargs: object) -> None: ...

    execution: Execution[Any] = await Execution.from_message(docket, message, fallback_task=instead)
    assert (execution.function, execution.function_name) == (instead, "send")


# --- scheduling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["docket.schedule", "execution.schedule"])
async def test_it_is_scheduled(docket: Docket, how: str) -> None:
    docket.register(send)
    execution, later = make(docket), make(docket, now() + HOUR, key="later")
    for each in (execution, later):
        done = await (docket.schedule(each) if how == "docket.schedule" else each.schedule())
        assert done is each.disposition is Disposition.SCHEDULED
    assert (execution.state, later.state) == (ExecutionState.QUEUED, ExecutionState.SCHEDULED)
    assert await execution.schedule() is Disposition.ALREADY_SCHEDULED
    await docket.cancel("later")
    await run_all(docket)
    assert await execution.get_result() == "ann: hi"


async def test_it_takes_the_place_of_another(docket: Docket) -> None:
    first, second = make(docket, now() + HOUR), make(docket, now() + 2 * HOUR)
    await first.schedule()
    assert await second.schedule(replace=True) is Disposition.SCHEDULED
    assert (first.generation, second.generation) == (1, 2)
    assert (await first.is_superseded(), await second.is_superseded()) == (True, False)
    assert await make(docket).is_superseded() is False  # generation 0 is not counted
    assert await make(docket, key="nobody", generation=5).is_superseded() is False
    await docket.cancel("K")


async def test_only_if_nobody_was_faster(docket: Docket) -> None:
    await docket.add(send, when=now() + HOUR, key="K")("first")
    await docket.replace(send, now() + HOUR, "K")("second")
    stale, fresh = make(docket, now() + HOUR), make(docket, now() + HOUR)
    before = await record(docket)
    assert await stale.schedule(replace=True, expected_generation=1) is Disposition.SUPERSEDED
    assert await record(docket) == before
    assert await fresh.schedule(replace=True, expected_generation=2) is Disposition.SCHEDULED
    assert (await record(docket))["generation"] == "3"
    assert await make(docket, now() + HOUR, key="new").schedule(expected_generation=9) is Disposition.SCHEDULED
    await docket.clear()


@pytest.mark.parametrize("delay", [timedelta(0), HOUR])
async def test_a_delivery_is_scheduled_anew(docket: Docket, delay: timedelta) -> None:
    """As a dependency does that finds that its task must wait."""
    docket.register(send)
    await docket.add(send, key="K")("ann", subject="hi")
    async with delivered(docket) as (message_id, fields):
        execution: Execution[Any] = await Execution.from_message(docket, fields, message_id=message_id)
        assert await execution.claim("W")
        execution.when = now() + delay
        execution.attempt = 2
        done = await execution.schedule(reschedule_message=execution.message_id)
        assert (done, execution.disposition) == (Disposition.SCHEDULED, Disposition.SCHEDULED)
        assert (await record(docket))["state"] == execution.state.value == ("scheduled" if delay else "queued")
        assert (await record(docket))["generation"] == "2"
        assert "worker" not in await record(docket)
        # Its message is settled: doing so again must not make two of it.
        assert await execution.schedule(reschedule_message=message_id) is Disposition.SUPERSEDED
    assert (await docket.snapshot()).total_tasks == 1
    await docket.clear()


async def test_a_superseded_delivery_is_not_scheduled_anew(docket: Docket) -> None:
    docket.register(send)
    await docket.add(send, key="K")("ann")
    async with delivered(docket) as (message_id, fields):
        execution: Execution[Any] = await Execution.from_message(docket, fields, message_id=message_id)
        assert await execution.claim("W")
        await docket.replace(send, now() + HOUR, "K")("bob")
        done = await execution.schedule(reschedule_message=message_id, expected_generation=execution.generation)
        assert done is Disposition.SUPERSEDED
    assert (await record(docket))["generation"] == "2"
    await docket.clear()


async def test_a_struck_one_is_not_scheduled(docket: Docket) -> None:
    await docket.strike("send", "to", "==", "ann")
    assert await make(docket).schedule() is Disposition.STRUCK
    assert await docket.get_execution("K") is None


async def test_what_cannot_be_scheduled(docket: Docket) -> None:
    with pytest.raises(InvalidKey):
        await make(docket, key="stream").schedule()
    with pytest.raises(InvalidTime):
        await make(docket, datetime(2026, 1, 1)).schedule()  # noqa: DTZ001 - what is wrong with it
    with pytest.raises(NotOpen):
        await make(Docket("closed", "memory://closed")).schedule()


# --- claiming and ending ------------------------------------------------------------------------------------------


async def test_it_is_claimed(docket: Docket) -> None:
    execution = make(docket)
    await execution.schedule()
    assert await execution.claim("W") is True
    assert (execution.state, execution.worker) == (ExecutionState.RUNNING, "W")
    assert execution.started_at is not None
    assert (execution.progress.current, execution.progress.total) == (0, 100)
    seen = await record(docket)
    assert (seen["state"], seen["worker"]) == ("running", "W")
    assert not {"known", "stream_id"} & seen.keys()
    await execution.mark_as_cancelled()
    await docket.clear()


async def test_one_that_was_cancelled_or_superseded_is_not_claimed(docket: Docket) -> None:
    execution = make(docket)
    await execution.schedule()
    await docket.cancel("K")
    assert await execution.claim("W") is False
    assert execution.state is ExecutionState.CANCELLED
    old = make(docket, now() + HOUR, key="old")
    await old.schedule()
    await docket.replace(send, now() + HOUR, "old")("bob")
    assert await old.claim("W") is False
    assert old.worker is None
    await docket.clear()


async def test_it_ends(docket: Docket) -> None:
    completed, failed, cancelled = (make(docket, key=key) for key in ("completed", "failed", "cancelled"))
    for each in (completed, failed, cancelled):
        await each.schedule()
        assert await each.claim("W")
    await docket.result_storage.put("mine", {"data": "gAWMA3llc5Qu"}, ttl=60)  # "yes", pickled
    await completed.mark_as_completed(result_key="mine")
    await failed.mark_as_failed("it rained")
    await cancelled.mark_as_cancelled()
    for each in (completed, failed, cancelled):
        assert each.state.value == each.key
        assert each.completed_at is not None
        assert each.progress.current is None
        async with docket.redis() as redis:
            assert 0 < await redis.ttl(docket.runs_key(each.key)) <= docket.execution_ttl.total_seconds()
    assert (completed.result_key, failed.error) == ("mine", "it rained")
    assert await completed.get_result() == "yes"
    with pytest.raises(TaskFailed, match="it rained"):
        await failed.get_result()
    with pytest.raises(ExecutionCancelled):
        await cancelled.get_result()
    await docket.clear()


async def test_its_message_goes_with_its_end(docket: Docket) -> None:
    docket.register(send)
    await docket.add(send, key="K")("ann")
    async with delivered(docket) as (message_id, fields), docket.redis() as redis:
        execution: Execution[Any] = await Execution.from_message(docket, fields, message_id=message_id)
        await execution.claim("W")
        await execution.mark_as_completed()
        assert await redis.xlen(docket.stream_key) == 0
        assert (await redis.xpending(docket.stream_key, docket.worker_group_name))["pending"] == 0


async def test_the_end_of_a_superseded_one_changes_nothing(docket: Docket) -> None:
    execution = make(docket)
    await execution.schedule()
    await execution.claim("W")
    await docket.replace(send, now() + HOUR, "K")("bob")
    before = await record(docket)
    await execution.mark_as_failed("too late")
    assert await record(docket) == before
    assert execution.state is ExecutionState.SCHEDULED  # that of its key
    await docket.clear()


async def test_an_end_that_leaves_no_record(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        execution = make(docket)
        await execution.schedule()
        await execution.claim("W")
        await execution.mark_as_failed("it rained")
        assert (execution.state, execution.error) == (ExecutionState.FAILED, "it rained")
        assert await record(docket) == {}
        await docket.clear()


async def test_the_execution_of_a_run_knows_its_message(docket: Docket) -> None:
    seen: list[Execution[Any]] = []

    async def look(value: int) -> None:
        seen.append(current_execution.get())

    await docket.add(look, key="K")(5)
    await run_all(docket)
    [execution] = seen
    assert execution.docket is docket
    assert execution.message_id is not None
    assert b"-" in execution.message_id
    assert execution.get_argument("value") == 5


async def test_a_body_that_schedules_itself_anew(docket: Docket) -> None:
    runs: list[int] = []

    async def twice() -> None:
        execution = current_execution.get()
        runs.append(execution.generation)
        if len(runs) == 1:
            execution.when = now()
            await execution.schedule(reschedule_message=execution.message_id)

    await docket.add(twice, key="K")()
    await run_all(docket)
    assert runs == [1, 2]


@pytest.mark.parametrize("delay", [timedelta(0), HOUR])
async def test_one_that_never_began_can_be_ended(docket: Docket, delay: timedelta) -> None:
    """What waits under its key is not run any more, and the key is free."""
    runs: list[str] = []

    async def note(what: str) -> None:
        runs.append(what)

    docket.register(note)
    execution: Execution[Any] = Execution(docket, note, ("first",), {}, "K", now() + delay, 1)
    await execution.schedule()
    await execution.mark_as_cancelled()
    assert (await record(docket))["state"] == "cancelled"
    assert (await docket.add(note, key="K")("second")).disposition is Disposition.SCHEDULED
    async with docket.redis() as redis:
        await redis.zadd(docket.queue_key, {"K": 0}, xx=True)
    await run_all(docket)
    assert runs == ["second"]


# --- pydocket -----------------------------------------------------------------------------------------------------


def comparable(fields: dict[bytes, bytes]) -> dict[bytes, object]:
    """Leave out what differs from run to run, and the digits that Lua adds to a float."""
    times = {b"stream_id", b"started_at", b"completed_at"}
    rounded = {name: round(float(fields[name]), 3) for name in (b"when", b"known") if name in fields}
    return {name: name in times or value for name, value in {**fields, **rounded}.items()}


async def traces(library: Any, home: Any, when: datetime, steps: list[str]) -> list[object]:
    """Take the steps with an execution of a library; return what they say, and what is in Redis then."""
    made = library.Execution(home, send, ("ann",), {}, "K", when, 1)
    said = [await eval(f"made.{step}", {"made": made}) for step in steps]
    async with home.redis() as redis:
        found = [
            [getattr(each, "value", each) for each in said],
            made.state.value,
            comparable(await redis.hgetall(home.runs_key("K"))),
            await redis.ttl(home.runs_key("K")),
            await redis.hmget(home.key("progress:K"), "current", "total"),
            await redis.xlen(home.stream_key),
            await redis.zcard(home.queue_key),
        ]
        await redis.delete(home.runs_key("K"), home.key("progress:K"), home.queue_key, home.stream_key, home.key("K"))
    return found


@pytest.mark.parametrize(
    "steps",
    [
        ["schedule()"],
        ["schedule()", "claim('W')"],
        ["schedule()", "claim('W')", "mark_as_completed()"],
        ["schedule()", "claim('W')", "mark_as_completed(result_key='R')"],
        ["schedule()", "claim('W')", "mark_as_failed('words')"],
        ["schedule()", "claim('W')", "mark_as_failed('words', result_key='R')"],
        ["schedule()", "claim('W')", "mark_as_cancelled()"],
        ["schedule()", "schedule(replace=True)", "schedule()"],
        ["schedule()", "schedule(replace=True)", "schedule(replace=True, expected_generation=1)"],
        ["schedule()", "claim('W')", "mark_as_completed()", "schedule()"],
        ["claim('W')", "mark_as_completed()"],
        ["mark_as_failed('words')"],
    ],
)
@pytest.mark.parametrize("delay", [timedelta(0), HOUR])
async def test_pydocket_leaves_the_same_behind(
    docket: Docket, store: Store, anyio_backend: tuple[str, object], steps: list[str], delay: timedelta
) -> None:
    pydocket: Any = pytest.importorskip("docket")
    if store.kind == "memory" or anyio_backend[0] != "asyncio":
        pytest.skip("pydocket shares a real Redis, and runs on asyncio")
    when = now() + delay
    async with pydocket.Docket(f"{store.docket_name}-theirs", store.url) as other:
        assert await traces(docket_anyio, docket, when, steps) == await traces(pydocket, other, when, steps)
