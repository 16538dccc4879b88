"""Distributed background tasks over Redis streams, for trio and asyncio."""

from __future__ import annotations

from importlib.metadata import version

from docket_anyio import testing
from docket_anyio._client.agenda import Agenda as Agenda
from docket_anyio._client.calls import TaskCall as TaskCall
from docket_anyio._client.current import CurrentDocket as CurrentDocket
from docket_anyio._client.current import CurrentExecution as CurrentExecution
from docket_anyio._client.current import TaskKey as TaskKey
from docket_anyio._client.disposition import Disposition as Disposition
from docket_anyio._client.docket import Docket as Docket
from docket_anyio._client.execution import Execution as Execution
from docket_anyio._client.progress import ExecutionProgress as ExecutionProgress
from docket_anyio._client.registry import TaskCollection as TaskCollection
from docket_anyio._client.registry import TaskFunction as TaskFunction
from docket_anyio._client.reporting import Progress as Progress
from docket_anyio._client.signatures import compact_signature as compact_signature
from docket_anyio._client.signatures import get_signature as get_signature
from docket_anyio._client.snapshot import DocketSnapshot as DocketSnapshot
from docket_anyio._client.snapshot import RunningExecution as RunningExecution
from docket_anyio._client.strike_list import StrikeList as StrikeList
from docket_anyio._executors.stopping import check_cancelled as check_cancelled
from docket_anyio._injection.annotations import Annotation as Annotation
from docket_anyio._injection.annotations import Logged as Logged
from docket_anyio._injection.functional import Depends as Depends
from docket_anyio._injection.functional import TaskArgument as TaskArgument
from docket_anyio._injection.library import CallArgument as CallArgument
from docket_anyio._injection.library import CycleError as CycleError
from docket_anyio._injection.shared import Shared as Shared
from docket_anyio._model.cancelling import Cancellation as Cancellation
from docket_anyio._model.events import ProgressEvent as ProgressEvent
from docket_anyio._model.events import StateEvent as StateEvent
from docket_anyio._model.lifecycle import ExecutionState as ExecutionState
from docket_anyio._model.outcome import CancelReason as CancelReason
from docket_anyio._model.outcome import StopRequest as StopRequest
from docket_anyio._model.priority import Priority as Priority
from docket_anyio._model.snapshot import WorkerInfo as WorkerInfo
from docket_anyio._model.strikes import LiteralOperator as LiteralOperator
from docket_anyio._model.strikes import Operator as Operator
from docket_anyio._model.strikes import Restore as Restore
from docket_anyio._model.strikes import Strike as Strike
from docket_anyio._model.strikes import StrikeInstruction as StrikeInstruction
from docket_anyio._policies.concurrency import ConcurrencyLimit as ConcurrencyLimit
from docket_anyio._policies.cooldown import Cooldown as Cooldown
from docket_anyio._policies.debounce import Debounce as Debounce
from docket_anyio._policies.perpetual import Cron as Cron
from docket_anyio._policies.perpetual import Perpetual as Perpetual
from docket_anyio._policies.ratelimit import RateLimit as RateLimit
from docket_anyio._policies.retry import ExponentialRetry as ExponentialRetry
from docket_anyio._policies.retry import Retry as Retry
from docket_anyio._policies.task_group import ExecutionTasks as ExecutionTasks
from docket_anyio._policies.timeout import Timeout as Timeout
from docket_anyio._policies.worker_process import WorkerProcess as WorkerProcess
from docket_anyio._policies.worker_thread import WorkerThread as WorkerThread
from docket_anyio._worker.current import CurrentWorker as CurrentWorker
from docket_anyio._worker.current import TaskLogger as TaskLogger
from docket_anyio._worker.worker import Worker as Worker
from docket_anyio.exceptions import ExecutionCancelled as ExecutionCancelled

__version__ = version("docket-anyio")
__all__ = [
    "Agenda",
    "Annotation",
    "CallArgument",
    "CancelReason",
    "Cancellation",
    "ConcurrencyLimit",
    "Cooldown",
    "Cron",
    "CurrentDocket",
    "CurrentExecution",
    "CurrentWorker",
    "CycleError",
    "Debounce",
    "Depends",
    "Disposition",
    "Docket",
    "DocketSnapshot",
    "Execution",
    "ExecutionCancelled",
    "ExecutionProgress",
    "ExecutionState",
    "ExecutionTasks",
    "ExponentialRetry",
    "LiteralOperator",
    "Logged",
    "Operator",
    "Perpetual",
    "Priority",
    "Progress",
    "ProgressEvent",
    "RateLimit",
    "Restore",
    "Retry",
    "RunningExecution",
    "Shared",
    "StateEvent",
    "StopRequest",
    "Strike",
    "StrikeInstruction",
    "StrikeList",
    "TaskArgument",
    "TaskCall",
    "TaskCollection",
    "TaskFunction",
    "TaskKey",
    "TaskLogger",
    "Timeout",
    "Worker",
    "WorkerInfo",
    "WorkerProcess",
    "WorkerThread",
    "__version__",
    "check_cancelled",
    "compact_signature",
    "get_signature",
    "testing",
]
