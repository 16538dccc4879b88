"""What a body in another process is given of its run, where that itself has to stay with the worker."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, NoReturn

from attrs import define, field, frozen

from docket_anyio._client.current import current_execution, is_current
from docket_anyio._client.execution import Execution
from docket_anyio._client.progress import ExecutionProgress
from docket_anyio._client.registry import TaskRegistry
from docket_anyio._executors.remote import Export, Handle
from docket_anyio._executors.stopping import current_sign
from docket_anyio._model.record import ProgressRecord
from docket_anyio._model.settings import check_at_least
from docket_anyio.exceptions import NotOpen


@frozen
class _NoDocket:
    """The docket of what is in another process, where it cannot be asked for anything."""

    name: str
    url: str
    max_payload_bytes: int
    patience_with_workers: timedelta

    @property
    def registry(self) -> TaskRegistry:
        return TaskRegistry()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)  # asked for by those who pickle or copy
        raise NotOpen(
            "a body in another process has no docket: it can report by its Progress, or open a Docket of its own"
        )


@frozen
class _Reports:
    """The progress of a run, for the body in another process."""

    _progress: ExecutionProgress

    async def do(self, method: str, *arguments: Any) -> ProgressRecord | None:
        await getattr(self._progress, method)(*arguments)
        return self._progress.known


@define(eq=False)
class _ProgressElsewhere(ExecutionProgress):
    """Reports by way of the worker."""

    _handle: Handle = field(kw_only=True, repr=False, alias="handle")

    async def increment(self, amount: int = 1) -> None:
        check_at_least("the amount of progress", amount, 1)
        await self._do("increment", amount)

    async def set_total(self, total: int) -> None:
        check_at_least("the total of a progress", total, 1)
        await self._do("set_total", total)

    async def set_message(self, message: str | None) -> None:
        await self._do("set_message", message)

    async def sync(self) -> None:
        await self._do("sync")

    async def _do(self, method: str, *arguments: object) -> None:
        async with self._turn():
            self.take(await self._handle.call("do", method, *arguments))


@frozen(eq=False)
class _Sent:
    """An execution on its way: where it arrives it is one again."""

    fields: Mapping[str, Any]

    def __reduce__(self) -> tuple[Any, tuple[Mapping[str, Any]]]:
        return _arrived, (self.fields,)


def progress_elsewhere(progress: ExecutionProgress, export: Export) -> ExecutionProgress:
    """Return what stands for the progress of a run in another process."""
    there = _ProgressElsewhere(_nothing_of(progress.docket), progress.key, handle=export(_Reports(progress)))
    there.take(progress.known)
    return there


def execution_elsewhere(execution: Execution[Any], progress: ExecutionProgress) -> object:
    """Return what becomes a handle on a run in another process: what needs Redis cannot be had of it there.

    Args:
        execution: The run.
        progress: What stands for its progress there.
    """
    names = "function args kwargs key when attempt redelivered function_name generation message_id expires state"
    fields = {name: getattr(execution, name) for name in names.split()}
    return _Sent({**fields, "docket": _nothing_of(execution.docket), "progress": progress})


def being(execution: Any) -> AbstractContextManager[None]:
    """Let an execution be the current one inside the block. For what is sent with a body."""
    return is_current(current_execution, execution)


def _nothing_of(docket: Any) -> Any:
    return _NoDocket(docket.name, docket.url, docket.max_payload_bytes, docket.patience_with_workers)


def _arrived(fields: Mapping[str, Any]) -> Execution[Any]:
    execution = Execution[Any](**fields)
    execution.goes_by(current_sign())
    return execution
