"""What the body of a run is called with, made ready for another process."""

from __future__ import annotations

from typing import Any, cast

from attrs import define, field

from docket_anyio._client.elsewhere import execution_elsewhere, progress_elsewhere
from docket_anyio._client.execution import Execution
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._client.reporting import Progress
from docket_anyio._executors.remote import Handle
from docket_anyio._policies.perpetual import Cron, Perpetual
from docket_anyio._policies.timeout import Timeout


@define(eq=False)
class Sending:
    """The values of one run, and what stays here of them for their handles to call."""

    objects: list[object] = field(factory=list[object], init=False)
    _progresses: dict[ExecutionProgress, ExecutionProgress] = field(
        factory=dict[ExecutionProgress, ExecutionProgress], init=False
    )

    def value(self, value: object) -> object:
        """Return a value as the body in another process is given it."""
        match value:
            case Progress():
                return value.elsewhere(self._progress)
            case Timeout() | Perpetual() | Cron():
                return value.elsewhere(self._export)
            case Execution():
                execution = cast("Execution[Any]", value)  # type: ignore[redundant-cast]  # not for pyright
                return execution_elsewhere(execution, self._progress(execution.progress))
            case _:
                return value

    def _progress(self, progress: ExecutionProgress) -> ExecutionProgress:
        # It is one there, too, however many ways lead to it.
        there = self._progresses.get(progress)
        if there is None:
            there = self._progresses[progress] = progress_elsewhere(progress, self._export)
        return there

    def _export(self, each: object) -> Handle:
        self.objects.append(each)
        return Handle(len(self.objects) - 1)
