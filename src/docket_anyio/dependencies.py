"""What a task can ask for in its signature."""

from __future__ import annotations

from docket_anyio._client.current import current_docket as current_docket
from docket_anyio._client.current import current_execution as current_execution
from docket_anyio._client.reporting import Progress as Progress
from docket_anyio._policies.perpetual import Cron as Cron
from docket_anyio._policies.perpetual import Perpetual as Perpetual
from docket_anyio._policies.retry import ExponentialRetry as ExponentialRetry
from docket_anyio._policies.retry import ForcedRetry as ForcedRetry
from docket_anyio._policies.retry import Retry as Retry
from docket_anyio._policies.timeout import Timeout as Timeout

__all__ = [
    "Cron",
    "ExponentialRetry",
    "ForcedRetry",
    "Perpetual",
    "Progress",
    "Retry",
    "Timeout",
    "current_docket",
    "current_execution",
]
