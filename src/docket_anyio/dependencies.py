"""What a task can ask for in its signature."""

from __future__ import annotations

from docket_anyio._client.current import current_docket as current_docket
from docket_anyio._client.current import current_execution as current_execution
from docket_anyio._client.reporting import Progress as Progress
from docket_anyio._policies.concurrency import ConcurrencyLimit as ConcurrencyLimit
from docket_anyio._policies.cooldown import Cooldown as Cooldown
from docket_anyio._policies.debounce import Debounce as Debounce
from docket_anyio._policies.perpetual import Cron as Cron
from docket_anyio._policies.perpetual import Perpetual as Perpetual
from docket_anyio._policies.ratelimit import RateLimit as RateLimit
from docket_anyio._policies.retry import ExponentialRetry as ExponentialRetry
from docket_anyio._policies.retry import ForcedRetry as ForcedRetry
from docket_anyio._policies.retry import Retry as Retry
from docket_anyio._policies.timeout import Timeout as Timeout

__all__ = [
    "ConcurrencyLimit",
    "Cooldown",
    "Cron",
    "Debounce",
    "ExponentialRetry",
    "ForcedRetry",
    "Perpetual",
    "Progress",
    "RateLimit",
    "Retry",
    "Timeout",
    "current_docket",
    "current_execution",
]
