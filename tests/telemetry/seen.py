"""The metrics and spans of this process, as OpenTelemetry's SDK gathers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@frozen
class Point:
    """One line of a metric: its labels, and its value, or for a histogram the sum and the count of its values."""

    labels: Mapping[str, Any]
    value: float
    count: int | None = None


@frozen
class Seen:
    """What was gathered so far."""

    reader: InMemoryMetricReader
    exporter: InMemorySpanExporter

    def points(self, metric: str, **labels: Any) -> list[Point]:
        """Return the lines of a metric that have all of some labels; a label's dots are written as ``__``."""
        wanted = {name.replace("__", "."): value for name, value in labels.items()}
        data = self.reader.get_metrics_data()
        return [
            Point(
                dict(point.attributes or {}),
                getattr(point, "value", None) or getattr(point, "sum", 0),
                getattr(point, "count", None),
            )
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
            if wanted.items() <= dict(point.attributes or {}).items()
        ]

    def total(self, metric: str, **labels: Any) -> float:
        """Return the sum of the lines that have all of some labels."""
        return sum(point.value for point in self.points(metric, **labels))

    def spans(self, docket: str, name: str | None = None) -> list[ReadableSpan]:
        """Return the spans of a docket that have ended, in the order in which they did."""
        return [
            each
            for each in self.exporter.get_finished_spans()
            if (each.attributes or {}).get("docket.name") == docket and name in {None, each.name}
        ]

    def span(self, docket: str, name: str) -> ReadableSpan:
        """Return the only span of that name."""
        (only,) = self.spans(docket, name)
        return only


def start_seeing() -> Seen:
    seen = Seen(InMemoryMetricReader(), InMemorySpanExporter())
    metrics.set_meter_provider(MeterProvider([seen.reader]))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen.exporter))
    trace.set_tracer_provider(provider)
    return seen
