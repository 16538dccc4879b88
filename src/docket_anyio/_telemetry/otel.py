"""What is used of OpenTelemetry: the one file that imports it, and does without where it is not installed.

It is an extra, since a program that nobody measures shall not have to install it. The rest of the package does not ask
whether it is there: without it these names do nothing. With it, but without its SDK, they do next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from attrs import define, field

from docket_anyio._model.message import NO_HEADERS

C = TypeVar("C")
Labels: TypeAlias = Mapping[str, str]
Attributes: TypeAlias = Mapping[str, str | int]


class Counter(Protocol):
    """Counts; one that is made to go up and down takes negative amounts, too."""

    def add(self, amount: float, attributes: Labels | None = None, context: Any = None) -> None:
        """Add to what was counted under some labels."""


class Histogram(Protocol):
    """Gathers values."""

    def record(self, amount: float, attributes: Labels | None = None, context: Any = None) -> None:
        """Record a value under some labels."""


class Gauge(Protocol):
    """Shows the last value."""

    def set(self, amount: float, attributes: Labels | None = None, context: Any = None) -> None:
        """Show a value under some labels."""


class Meter(Protocol):
    """Makes instruments."""

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        """Make one that only goes up."""
        ...

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        """Make one that goes up and down."""
        ...

    def create_histogram(self, name: str, unit: str = "", description: str = "") -> Histogram:
        """Make one that gathers values."""
        ...

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:
        """Make one that shows a value."""
        ...


class Span(Protocol):
    """What is open while something is done."""

    def set_attribute(self, key: str, value: str | int) -> None:
        """Say more about it."""


class RunSpan(Protocol):
    """What is open while a task runs."""

    def succeed(self) -> None:
        """Say that it went well."""

    def say(self, name: str, value: str) -> None:
        """Say more about it."""

    def fail(self, error: Exception, text: str | None) -> None:
        """Say what went wrong; without a text its words cannot be had."""

    def end(self) -> None:
        """Close it."""


begin_run: Callable[[str, Attributes, Mapping[str, bytes]], RunSpan] | None = None
"""Open the span of a run, and make it the current one of this task; ``None`` where there are no traces.

It belongs to a trace of its own, with a link to the span that the headers of the message tell of.
"""

try:
    from opentelemetry import context, metrics, propagate, trace
    from opentelemetry.propagators.textmap import Getter as Getter  # pyright: ignore[reportAssignmentType] - see below
    from opentelemetry.propagators.textmap import Setter as Setter  # pyright: ignore[reportAssignmentType] - see below
except ImportError:

    class _Nothing:
        """Every instrument and every span."""

        def add(self, amount: float, attributes: Labels | None = None, context: Any = None) -> None: ...

        def record(self, amount: float, attributes: Labels | None = None, context: Any = None) -> None: ...

        def set(self, amount: float, attributes: Labels | None = None, context: Any = None) -> None: ...

        def set_attribute(self, key: str, value: str | int) -> None: ...

    _NOTHING = _Nothing()

    class _NoMeter:
        def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:  # noqa: ARG002
            return _NOTHING

        def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Counter:  # noqa: ARG002
            return _NOTHING

        def create_histogram(self, name: str, unit: str = "", description: str = "") -> Histogram:  # noqa: ARG002
            return _NOTHING

        def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:  # noqa: ARG002
            return _NOTHING

    class Getter(Generic[C]):  # type: ignore[no-redef]  # stands in for what cannot be imported
        """Reads what a carrier holds."""

    class Setter(Generic[C]):  # type: ignore[no-redef]  # the same
        """Puts something into a carrier."""

    def get_meter(name: str) -> Meter:  # noqa: ARG001 - there is but one
        """Return the meter of that name."""
        return _NoMeter()

    def trace_headers() -> Mapping[str, bytes]:
        """Return what tells the reader of a message which trace it belongs to."""
        return NO_HEADERS

    def trace_context(headers: Mapping[str, bytes]) -> Mapping[str, object] | None:  # noqa: ARG001 - there are none
        """Return the trace that a message belongs to, as OpenTelemetry has it; ``None`` where there is none."""
        return None

    @contextmanager
    def within_trace(headers: Mapping[str, bytes]) -> Generator[None]:  # noqa: ARG001 - there are none
        """Let what happens inside the block belong to the trace that the headers tell of."""
        yield

    def span(name: str, attributes: Attributes) -> AbstractContextManager[Span]:  # noqa: ARG001 - nobody looks
        """Open a span around something that a user asks for; what it raises is told there."""
        return nullcontext(_NOTHING)

else:
    _TRACER = trace.get_tracer("docket_anyio")
    _OUTSIDE = trace.set_span_in_context(trace.INVALID_SPAN, context.Context())

    @define(eq=False)
    class _RunSpan:
        _span: trace.Span = field(alias="span")

        def succeed(self) -> None:
            self._span.set_status(trace.StatusCode.OK)

        def say(self, name: str, value: str) -> None:
            self._span.set_attribute(name, value)

        def fail(self, error: Exception, text: str | None) -> None:
            if text is not None:
                self._span.record_exception(error)
            self._span.set_status(trace.StatusCode.ERROR, text or type(error).__name__)

        def end(self) -> None:
            self._span.end()

    def get_meter(name: str) -> Meter:
        """Return the meter of that name."""
        return metrics.get_meter(name)

    def trace_headers() -> Mapping[str, bytes]:
        """Return what tells the reader of a message which trace it belongs to."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return {name: value.encode() for name, value in carrier.items()} if carrier else NO_HEADERS

    def trace_context(headers: Mapping[str, bytes]) -> Mapping[str, object] | None:
        """Return the trace that a message belongs to, as OpenTelemetry has it; ``None`` where there is none."""
        return propagate.extract(_texts(headers)) if headers else None

    @contextmanager
    def within_trace(headers: Mapping[str, bytes]) -> Generator[None]:
        """Let what happens inside the block belong to the trace that the headers tell of."""
        token = context.attach(propagate.extract(_texts(headers)))
        try:
            yield
        finally:
            context.detach(token)

    def span(name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Open a span around something that a user asks for; what it raises is told there."""
        opened = _TRACER.start_span(name, attributes=attributes)
        told = opened.get_span_context()
        if not told.is_valid or told is trace.get_current_span().get_span_context():
            return nullcontext(
                opened
            )  # nobody takes spans: there is none, or the one around it, which is not ours to end
        return trace.use_span(opened, end_on_exit=True)

    def _texts(headers: Mapping[str, bytes]) -> dict[str, str]:
        return {name: value.decode(errors="replace") for name, value in headers.items()}

    def _links(headers: Mapping[str, bytes]) -> list[trace.Link]:
        if not headers:
            return []
        told = propagate.extract(_texts(headers), _OUTSIDE)
        sender = trace.get_current_span(told).get_span_context()
        return [trace.Link(sender)] if sender.is_valid else []

    def _begin_run(name: str, attributes: Attributes, headers: Mapping[str, bytes]) -> RunSpan:
        opened = _TRACER.start_span(
            name, _OUTSIDE, trace.SpanKind.CONSUMER, attributes=attributes, links=_links(headers)
        )
        if opened.get_span_context().is_valid:
            # Nobody goes back from it: the task ends with the run.
            context.attach(trace.set_span_in_context(opened))
        return _RunSpan(opened)

    begin_run = _begin_run
