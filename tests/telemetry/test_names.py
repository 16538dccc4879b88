"""The names that programs and dashboards know."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import metrics, propagate, trace

from docket_anyio import instrumentation

COUNTERS = """
    TASKS_ADDED TASKS_CANCELLED TASKS_COMPLETED TASKS_FAILED TASKS_PERPETUATED TASKS_REDELIVERED TASKS_REPLACED
    TASKS_RETRIED TASKS_SCHEDULED TASKS_STARTED TASKS_STRICKEN TASKS_SUCCEEDED TASKS_SUPERSEDED REDIS_DISRUPTIONS
""".split()
UP_DOWN = "STRIKES_IN_EFFECT TASKS_RUNNING".split()
HISTOGRAMS = "TASK_DURATION TASK_PUNCTUALITY".split()
GAUGES = "CACHE_SIZE QUEUE_DEPTH SCHEDULE_DEPTH".split()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (COUNTERS, metrics.Counter),
        (UP_DOWN, metrics.UpDownCounter),
        (HISTOGRAMS, metrics.Histogram),
        (GAUGES, metrics.get_meter("tests").create_gauge("tests").__class__.__mro__[1]),
    ],
    ids=["counters", "up and down", "histograms", "gauges"],
)
def test_the_kinds(names: list[str], kind: type) -> None:
    assert [name for name in names if not isinstance(getattr(instrumentation, name), kind)] == []


def test_there_are_no_more() -> None:
    given = [*COUNTERS, *UP_DOWN, *HISTOGRAMS, *GAUGES, "message_getter", "message_setter"]
    assert sorted(instrumentation.__all__) == sorted(given)


def test_a_context_goes_into_a_message_and_out_of_it() -> None:
    message: dict[bytes, bytes] = {b"key": b"K"}
    sender = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(sender))
    propagate.inject(message, context, instrumentation.message_setter)
    assert message[b"traceparent"] == b"00-" + b"1".zfill(32) + b"-" + b"2".zfill(16) + b"-01"
    found: Any = trace.get_current_span(propagate.extract(message, getter=instrumentation.message_getter))
    assert found.get_span_context().span_id == 2
    assert set(instrumentation.message_getter.keys(message)) == {"key", "traceparent"}
