"""The metrics of dockets and workers, and what reads and writes the trace headers of messages."""

from __future__ import annotations

from docket_anyio._telemetry.carriers import MESSAGE_GETTER as message_getter  # noqa: N811 - pydocket's name
from docket_anyio._telemetry.carriers import MESSAGE_SETTER as message_setter  # noqa: N811 - pydocket's name
from docket_anyio._telemetry.meters import CACHE_SIZE as CACHE_SIZE
from docket_anyio._telemetry.meters import QUEUE_DEPTH as QUEUE_DEPTH
from docket_anyio._telemetry.meters import REDIS_DISRUPTIONS as REDIS_DISRUPTIONS
from docket_anyio._telemetry.meters import SCHEDULE_DEPTH as SCHEDULE_DEPTH
from docket_anyio._telemetry.meters import STRIKES_IN_EFFECT as STRIKES_IN_EFFECT
from docket_anyio._telemetry.meters import TASK_DURATION as TASK_DURATION
from docket_anyio._telemetry.meters import TASK_PUNCTUALITY as TASK_PUNCTUALITY
from docket_anyio._telemetry.meters import TASKS_ADDED as TASKS_ADDED
from docket_anyio._telemetry.meters import TASKS_CANCELLED as TASKS_CANCELLED
from docket_anyio._telemetry.meters import TASKS_COMPLETED as TASKS_COMPLETED
from docket_anyio._telemetry.meters import TASKS_FAILED as TASKS_FAILED
from docket_anyio._telemetry.meters import TASKS_PERPETUATED as TASKS_PERPETUATED
from docket_anyio._telemetry.meters import TASKS_REDELIVERED as TASKS_REDELIVERED
from docket_anyio._telemetry.meters import TASKS_REPLACED as TASKS_REPLACED
from docket_anyio._telemetry.meters import TASKS_RETRIED as TASKS_RETRIED
from docket_anyio._telemetry.meters import TASKS_RUNNING as TASKS_RUNNING
from docket_anyio._telemetry.meters import TASKS_SCHEDULED as TASKS_SCHEDULED
from docket_anyio._telemetry.meters import TASKS_STARTED as TASKS_STARTED
from docket_anyio._telemetry.meters import TASKS_STRICKEN as TASKS_STRICKEN
from docket_anyio._telemetry.meters import TASKS_SUCCEEDED as TASKS_SUCCEEDED
from docket_anyio._telemetry.meters import TASKS_SUPERSEDED as TASKS_SUPERSEDED

__all__ = [
    "CACHE_SIZE",
    "QUEUE_DEPTH",
    "REDIS_DISRUPTIONS",
    "SCHEDULE_DEPTH",
    "STRIKES_IN_EFFECT",
    "TASKS_ADDED",
    "TASKS_CANCELLED",
    "TASKS_COMPLETED",
    "TASKS_FAILED",
    "TASKS_PERPETUATED",
    "TASKS_REDELIVERED",
    "TASKS_REPLACED",
    "TASKS_RETRIED",
    "TASKS_RUNNING",
    "TASKS_SCHEDULED",
    "TASKS_STARTED",
    "TASKS_STRICKEN",
    "TASKS_SUCCEEDED",
    "TASKS_SUPERSEDED",
    "TASK_DURATION",
    "TASK_PUNCTUALITY",
    "message_getter",
    "message_setter",
]
