"""A dependency of a user's own says that a run cannot begin now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from docket_anyio import Docket, Execution, ExecutionCancelled, Retry
from docket_anyio.dependencies import (
    AdmissionBlocked,
    CompletionHandler,
    CurrentExecution,
    Dependency,
    Depends,
    FailureHandler,
    TaskOutcome,
)
from tests.clocks import Stopwatch, virtual_time
from tests.dockets import run_all


@virtual_time
@pytest.mark.parametrize(("delay", "seconds"), [(None, 0.1), (timedelta(seconds=3), 3)])
async def test_it_runs_later(docket: Docket, delay: timedelta | None, seconds: float) -> None:
    """The same attempt: it has not failed."""
    stopwatch, asked = Stopwatch(), list[float]()

    def once(execution: Execution[object] = CurrentExecution()) -> None:
        asked.append(stopwatch.seconds())
        if len(asked) == 1:
            raise AdmissionBlocked(execution, "the moon", retry_delay=delay)

    async def body(ready: None = Depends(once), retry: Retry = Retry(attempts=1)) -> int:
        return retry.attempt

    execution = await docket.add(body)()
    await run_all(docket)
    assert await execution.get_result() == 1
    assert asked[1] - asked[0] == pytest.approx(seconds, abs=0.05)


async def test_it_is_dropped(docket: Docket) -> None:
    def never(execution: Execution[object] = CurrentExecution()) -> None:
        raise AdmissionBlocked(execution, "the moon", reschedule=False)

    async def body(ready: None = Depends(never)) -> None:
        raise AssertionError("it must not run")

    execution = await docket.add(body)()
    await run_all(docket)
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()


async def test_what_was_opened_before_is_closed_and_no_handler_is_told(docket: Docket) -> None:
    notes: list[str] = []

    class Told(FailureHandler["Told"], CompletionHandler["Told"]):
        async def __aenter__(self) -> Told:
            notes.append("open")
            return self

        async def __aexit__(self, *ended: object) -> None:
            notes.append("close")

        async def handle_failure(self, execution: Execution[object], outcome: TaskOutcome) -> bool:
            notes.append("failure")
            return False

        async def on_complete(self, execution: Execution[object], outcome: TaskOutcome) -> bool:
            notes.append("end")
            return False

    class Never(Dependency[None]):
        async def __aenter__(self) -> None:
            raise AdmissionBlocked(await execution_of_key(docket), reschedule=False)

    async def body(told: Told = Told(), never: Never = Never()) -> None: ...

    await docket.add(body, key="K")()
    await run_all(docket)
    assert notes == ["open", "close"]


async def execution_of_key(docket: Docket) -> Execution[object]:
    execution = await docket.get_execution("K")
    assert execution is not None
    return execution
