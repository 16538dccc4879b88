"""The instruments that every worker has."""

from __future__ import annotations

from collections.abc import Mapping

from docket_anyio._telemetry.logs import LogInstrument
from docket_anyio._telemetry.metrics import MetricsInstrument
from docket_anyio._telemetry.otel import Labels, begin_run
from docket_anyio._telemetry.tracing import TracingInstrument
from docket_anyio.abc import Instrument


def standard_instruments(docket: Labels, keys: Mapping[str, str]) -> list[Instrument]:
    """Return what logs, and what counts and traces where that can be seen.

    Args:
        docket: The labels of the docket.
        keys: What the records of log lines have beside these.
    """
    logs = LogInstrument({**docket, **keys})
    if begin_run is None:
        return [logs]
    # The span comes first: the line that a run begins is in it already, and that it has ended still.
    return [TracingInstrument(docket, begin_run), logs, MetricsInstrument(docket)]
