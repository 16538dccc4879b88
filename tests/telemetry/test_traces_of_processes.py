"""The trace of a run goes on where its body runs."""

from __future__ import annotations

from docket_anyio import Docket
from tests.dockets import running
from tests.telemetry.seen import Seen
from tests.worker import process_bodies as bodies


async def test_a_body_in_a_process_is_part_of_its_run_s_trace(docket: Docket, seen: Seen) -> None:
    async with running(docket, processes=1):
        execution = await docket.add(bodies.trace_id)()
        inside = await execution.get_result()
    (span,) = seen.spans(docket.name, "trace_id")
    assert span.context is not None
    assert inside == span.context.trace_id
