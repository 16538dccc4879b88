"""The context of a trace travels with a task."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, Retry
from tests.dockets import running

trace = pytest.importorskip("opentelemetry.trace")

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-"


async def flaky(retry: Retry = Retry(attempts=2, delay=timedelta(hours=1))) -> None:
    raise ValueError("not yet")


async def quick() -> None: ...


def span() -> AbstractContextManager[Any]:
    context = trace.SpanContext(
        trace_id=0x0AF7651916CD43DD8448EB211C80319C,
        span_id=0xB7AD6B7169203331,
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.use_span(trace.NonRecordingSpan(context))


async def test_a_message_says_which_trace_it_belongs_to(docket: Docket) -> None:
    with span():
        await docket.add(quick)()
    await docket.add(quick)()
    async with docket.redis() as redis:
        (_, first), (_, second) = await redis.xrange(f"{docket.name}:stream")
    assert first[b"traceparent"].startswith(TRACE)
    assert not second.get(b"traceparent", b"").startswith(TRACE)


async def test_it_stays_with_the_task_while_it_is_parked_and_when_it_is_tried_again(docket: Docket) -> None:
    with span():
        await docket.add(flaky, when=datetime.now(UTC) + timedelta(milliseconds=50), key="K")()
    async with docket.redis() as redis:
        traceparent = await redis.hget(f"{docket.name}:K", "traceparent")
        assert traceparent.startswith(TRACE)
        async with running(docket):
            with anyio.fail_after(5):
                # Parked once more, for the second attempt: it has been to the stream and back.
                while await redis.hget(f"{docket.name}:K", "attempt") != b"2":  # noqa: ASYNC110 - only Redis knows
                    await anyio.sleep(0.005)
        assert await redis.hget(f"{docket.name}:K", "traceparent") == traceparent
    await docket.cancel("K")
