"""The context of a trace travels with a message."""

from __future__ import annotations

from collections.abc import Mapping

from docket_anyio._model.message import NO_HEADERS

try:
    from opentelemetry.propagate import inject
except ImportError:  # without OpenTelemetry there is no trace

    def trace_headers() -> Mapping[str, bytes]:
        """Return what tells a reader which trace a message belongs to."""
        return NO_HEADERS

else:

    def trace_headers() -> Mapping[str, bytes]:
        """Return what tells a reader which trace a message belongs to."""
        carrier: dict[str, str] = {}
        inject(carrier)
        return {name: value.encode() for name, value in carrier.items()} if carrier else NO_HEADERS
