"""What a worker does, as spans: one for each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from attrs import define, field

from docket_anyio._model.message import Delivery
from docket_anyio._model.outcome import Cancelled, Failed, LeaseLost, Outcome, ShutDown, SlotLost, TimedOut, cause
from docket_anyio._model.settlement import Settlement
from docket_anyio._telemetry.otel import Attributes, Labels, RunSpan
from docket_anyio.abc import Instrument


@define(eq=False)
class TracingInstrument(Instrument):
    """Opens a span for each run, which is the current one of its body.

    Args:
        docket: The labels of the docket.
        begin: Opens a span.
    """

    _docket: Labels
    _begin: Callable[[str, Attributes, Mapping[str, bytes]], RunSpan]
    _spans: dict[bytes, RunSpan] = field(factory=dict[bytes, RunSpan], init=False)

    def run_started(self, worker: str, delivery: Delivery, *, lateness: timedelta) -> None:  # noqa: ARG002 - a metric
        """See ``Instrument``."""
        message = delivery.message
        attributes: Attributes = {
            **self._docket,
            "docket.worker": worker,
            **message.labels,
            "code.function.name": message.task,
        }
        self._spans[delivery.receipt] = self._begin(message.task, attributes, message.headers)

    def run_settled(
        self,
        worker: str,  # noqa: ARG002 - the span has it
        delivery: Delivery,
        outcome: Outcome,
        settlement: Settlement,  # noqa: ARG002 - how it went is what counts
        *,
        duration: timedelta,  # noqa: ARG002 - the span has its own
    ) -> None:
        """See ``Instrument``."""
        span = self._spans.pop(delivery.receipt)
        if (stopped_by := cause(outcome)) is not None:
            span.say("docket.cause", stopped_by)
        if isinstance(outcome, Cancelled) and outcome.reason is not None:
            span.say("docket.reason", outcome.reason)
        match outcome:
            case Failed(error) | TimedOut(error):
                span.fail(error, _words(error))
            case ShutDown() | LeaseLost() | SlotLost():
                pass  # neither well nor badly: it will be run again
            case _:
                span.succeed()
        span.end()

    def run_abandoned(self, worker: str, delivery: Delivery) -> None:  # noqa: ARG002 - the span has it
        """See ``Instrument``."""
        self._spans.pop(delivery.receipt).end()


def _words(error: Exception) -> str | None:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        return None
