"""The context of a trace travels with a message."""

from __future__ import annotations

from collections.abc import Mapping

from docket_anyio._model.message import NO_HEADERS

try:
    from opentelemetry.propagate import extract, inject
except ImportError:  # without OpenTelemetry there is no trace

    def trace_headers() -> Mapping[str, bytes]:
        """Return what tells a reader which trace a message belongs to."""
        return NO_HEADERS

    def trace_context(headers: Mapping[str, bytes]) -> Mapping[str, object] | None:  # noqa: ARG001 - as below
        """Return the trace that a message belongs to, as OpenTelemetry has it; ``None`` where there is none."""
        return None

else:

    def trace_headers() -> Mapping[str, bytes]:
        """Return what tells a reader which trace a message belongs to."""
        carrier: dict[str, str] = {}
        inject(carrier)
        return {name: value.encode() for name, value in carrier.items()} if carrier else NO_HEADERS

    def trace_context(headers: Mapping[str, bytes]) -> Mapping[str, object] | None:
        """Return the trace that a message belongs to, as OpenTelemetry has it; ``None`` where there is none."""
        if not headers:
            return None
        return extract({name: value.decode(errors="replace") for name, value in headers.items()})
