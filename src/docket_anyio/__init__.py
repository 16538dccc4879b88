"""Distributed background tasks over Redis streams, for trio and asyncio."""

from __future__ import annotations

from importlib.metadata import version

from docket_anyio._client.calls import TaskCall as TaskCall
from docket_anyio._client.docket import Docket as Docket
from docket_anyio._client.execution import Disposition as Disposition
from docket_anyio._client.execution import Execution as Execution
from docket_anyio._client.reporting import Progress as Progress
from docket_anyio._client.strike_list import StrikeList as StrikeList
from docket_anyio._model.lifecycle import ExecutionState as ExecutionState
from docket_anyio._policies.perpetual import Cron as Cron
from docket_anyio._policies.perpetual import Perpetual as Perpetual
from docket_anyio._policies.retry import ExponentialRetry as ExponentialRetry
from docket_anyio._policies.retry import Retry as Retry
from docket_anyio._policies.timeout import Timeout as Timeout
from docket_anyio._worker.worker import Worker as Worker
from docket_anyio.exceptions import ExecutionCancelled as ExecutionCancelled

__version__ = version("docket-anyio")
__all__ = [
    "Cron",
    "Disposition",
    "Docket",
    "Execution",
    "ExecutionCancelled",
    "ExecutionState",
    "ExponentialRetry",
    "Perpetual",
    "Progress",
    "Retry",
    "StrikeList",
    "TaskCall",
    "Timeout",
    "Worker",
    "__version__",
]
