"""The spans of runs and of what users ask of a docket."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from docket_anyio import ConcurrencyLimit, Docket, Retry
from docket_anyio.exceptions import NotSerializable
from tests.clocks import virtual_time
from tests.dockets import run_all, running
from tests.telemetry.seen import Seen

tracer = trace.get_tracer("tests")
SOON = timedelta(milliseconds=20)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def quick() -> None: ...


async def boom() -> None:
    raise ValueError("ouch")


async def test_a_run_has_a_span(docket: Docket, seen: Seen) -> None:
    due = datetime.now(UTC)
    await docket.add(quick, when=due, key="K")()
    await run_all(docket, name="W")
    span = seen.span(docket.name, "quick")
    assert span.kind is SpanKind.CONSUMER
    assert span.status.status_code is StatusCode.OK
    assert span.attributes == {
        "docket.name": docket.name,
        "docket.worker": "W",
        "docket.task": "quick",
        "docket.key": "K",
        "docket.when": due.isoformat(),
        "docket.attempt": 1,
        "code.function.name": "quick",
    }


async def test_it_is_linked_to_who_added_it(docket: Docket, seen: Seen) -> None:
    with tracer.start_as_current_span("a request"):
        await docket.add(quick)()
    with tracer.start_as_current_span("the worker's program"):
        await run_all(docket, name="W")
    span = seen.span(docket.name, "quick")
    adding = seen.span(docket.name, "docket.add").context
    assert [(each.context.trace_id, each.context.span_id) for each in span.links] == [(adding.trace_id, adding.span_id)]
    assert span.parent is None


async def test_it_stays_linked_when_it_is_tried_again(docket: Docket, seen: Seen) -> None:
    async def flaky(retry: Retry = Retry(attempts=2, delay=SOON)) -> None:
        if retry.attempt == 1:
            raise ValueError("not yet")

    await docket.add(flaky)()
    await run_all(docket, name="W")
    first, second = seen.spans(docket.name, "flaky")
    assert [each.attributes["docket.attempt"] for each in (first, second)] == [1, 2]  # type: ignore[index]
    assert [each.status.status_code for each in (first, second)] == [StatusCode.ERROR, StatusCode.OK]
    assert [each.context for each in second.links] == [each.context for each in first.links]
    assert first.context.trace_id != second.context.trace_id


async def test_what_the_body_opens_is_within(docket: Docket, seen: Seen) -> None:
    async def adding() -> None:
        with tracer.start_as_current_span("inner", attributes={"docket.name": docket.name}):
            await anyio.sleep(0.01)
            await docket.add(quick)()

    # Many at once: no run sees the span of another.
    for _ in range(5):
        await docket.add(adding)()
    await run_all(docket, name="W")
    outer = {each.context.span_id for each in seen.spans(docket.name, "adding")}
    inner = seen.spans(docket.name, "inner")
    assert {each.parent.span_id for each in inner} == outer
    assert len(outer) == len(inner) == 5
    linked = {each.links[0].context.trace_id for each in seen.spans(docket.name, "quick")}
    assert linked == {each.context.trace_id for each in inner}


async def test_nothing_is_left_of_it_in_the_program(docket: Docket, seen: Seen) -> None:
    await docket.add(quick)()
    await run_all(docket, name="W")
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_failure(docket: Docket, seen: Seen) -> None:
    await docket.add(boom)()
    await run_all(docket, name="W")
    span = seen.span(docket.name, "boom")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ouch")
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.message"] == "ouch"  # type: ignore[index]


async def test_a_failure_without_words(docket: Docket, seen: Seen) -> None:
    async def unspeakable() -> None:
        raise Unspeakable

    await docket.add(unspeakable)()
    await docket.add(boom, when=datetime.now(UTC) + SOON)()
    await run_all(docket, name="W")
    assert seen.span(docket.name, "unspeakable").status.description == "Unspeakable"
    assert seen.span(docket.name, "boom").status.status_code is StatusCode.ERROR


async def held(docket: Docket, end: Callable[[], Awaitable[object]], grace: timedelta) -> None:
    began = anyio.Event()

    async def hold() -> None:
        began.set()
        await anyio.sleep(1000)

    await docket.add(hold, key="K")()
    async with running(docket, name="W", grace=grace):
        await began.wait()
        await end()


async def test_a_cancelled_run_is_no_failure(docket: Docket, seen: Seen) -> None:
    await held(docket, lambda: docket.cancel("K", reason="enough"), timedelta(seconds=5))
    span = seen.span(docket.name, "hold")
    assert span.status.status_code is StatusCode.OK
    told = span.attributes or {}
    assert (told["docket.cause"], told["docket.reason"]) == ("cancelled", "enough")


async def test_a_run_that_is_handed_back_went_neither_well_nor_badly(docket: Docket, seen: Seen) -> None:
    await held(docket, anyio.lowlevel.checkpoint, timedelta(0))
    span = seen.span(docket.name, "hold")
    assert (span.status.status_code, (span.attributes or {})["docket.cause"]) == (StatusCode.UNSET, "shutdown")
    await docket.cancel("K")


@virtual_time
async def test_a_run_that_lost_its_slot_went_neither_well_nor_badly(docket: Docket, seen: Seen) -> None:
    async def alone(limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await anyio.sleep(100)

    slots = f"{docket.name}:concurrency:alone"
    async with docket.redis() as redis, running(docket, redelivery_timeout=timedelta(minutes=1)):
        await docket.add(alone, key="K")()
        await anyio.sleep(1)
        await redis.delete(slots)
        await redis.zadd(slots, {"another": (await redis.time())[0] + 60})
        await redis.expire(slots, 600)
        await anyio.sleep(16)
        await docket.cancel("K")
    assert seen.spans(docket.name, "alone")[0].status.status_code is StatusCode.UNSET


# --- what users ask -------------------------------------------------------------------------------------------------


async def test_what_is_asked_has_spans(docket: Docket, seen: Seen) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with tracer.start_as_current_span("a request") as request:
        await docket.add(quick, when=tomorrow, key="K")()
        await docket.add(quick, when=tomorrow, key="K")()
        await docket.replace(quick, tomorrow, "K")()
        await docket.cancel("K")
        await docket.strike(quick)
        await docket.add_many([docket.call(quick, key="L")(), docket.call(boom, tomorrow, "M")()])
        await docket.restore("quick")
        await docket.replace_many([docket.call(quick, tomorrow, "N")()])
        await docket.strike(parameter="address", operator="!=", value=None)
        await docket.clear()
    spans = seen.spans(docket.name)
    assert {each.parent.span_id for each in spans} == {request.get_span_context().span_id}
    assert {each.kind for each in spans} == {SpanKind.INTERNAL}

    def call(name: str, disposition: str) -> tuple[str, dict[str, Any]]:
        return name, {
            "docket.task": "quick",
            "docket.key": "K",
            "docket.when": tomorrow.isoformat(),
            "docket.attempt": 1,
            "code.function.name": "quick",
            "docket.disposition": disposition,
        }

    told = [(each.name, {k: v for k, v in (each.attributes or {}).items() if k != "docket.name"}) for each in spans]
    assert told == [
        call("docket.add", "scheduled"),
        call("docket.add", "already_scheduled"),
        call("docket.replace", "scheduled"),
        ("docket.cancel", {"docket.key": "K"}),
        ("docket.strike", {"docket.task": "quick"}),
        ("docket.add_many", {"docket.batch.count": 2, "docket.batch.stricken": 1}),
        ("docket.restore", {"docket.task": "quick"}),
        ("docket.replace_many", {"docket.batch.count": 1, "docket.batch.stricken": 0}),
        ("docket.strike", {"docket.parameter": "address", "docket.operator": "!=", "docket.value": "None"}),
        ("docket.clear", {}),
    ]


async def test_what_cannot_be_added_is_told(docket: Docket, seen: Seen) -> None:
    async def send(what: Any) -> None: ...

    with pytest.raises(NotSerializable):
        await docket.add(send)(threading.Lock())
    span = seen.span(docket.name, "docket.add")
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].name == "exception"


async def test_a_request_that_is_given_up_leaves_no_span_open(docket: Docket, seen: Seen) -> None:
    with anyio.CancelScope() as scope, suppress(ValueError):
        scope.cancel()
        await docket.add(quick)()
    assert not trace.get_current_span().get_span_context().is_valid
    assert len(seen.spans(docket.name, "docket.add")) == 1
