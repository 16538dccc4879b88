"""Every metric, under the name, with the unit and of the kind that pydocket has: its dashboards go on working.

They exist whether or not OpenTelemetry is there, and whether or not anybody reads them.
"""

from __future__ import annotations

from typing import Final

from docket_anyio._telemetry.otel import get_meter

_METER: Final = get_meter("docket")

TASKS_ADDED: Final = _METER.create_counter("docket_tasks_added", "1", "Calls of add(), whatever came of them")
TASKS_REPLACED: Final = _METER.create_counter("docket_tasks_replaced", "1", "Calls of replace()")
TASKS_SCHEDULED: Final = _METER.create_counter("docket_tasks_scheduled", "1", "Tasks that were put on the docket")
TASKS_CANCELLED: Final = _METER.create_counter("docket_tasks_cancelled", "1", "Calls of cancel() and replace()")
TASKS_STRICKEN: Final = _METER.create_counter("docket_tasks_stricken", "1", "Tasks that a strike kept off, and where")

TASKS_STARTED: Final = _METER.create_counter("docket_tasks_started", "1", "Attempts that began")
TASKS_REDELIVERED: Final = _METER.create_counter(
    "docket_tasks_redelivered", "1", "Attempts that began with what another worker had left"
)
TASKS_SUPERSEDED: Final = _METER.create_counter(
    "docket_tasks_superseded", "1", "Tasks whose key was scheduled anew, and where that was seen"
)
TASKS_COMPLETED: Final = _METER.create_counter("docket_tasks_completed", "1", "Attempts that ended in any way")
TASKS_SUCCEEDED: Final = _METER.create_counter("docket_tasks_succeeded", "1", "Attempts that returned")
TASKS_FAILED: Final = _METER.create_counter("docket_tasks_failed", "1", "Attempts that raised or took too long")
TASKS_STOPPED: Final = _METER.create_counter("docket_tasks_stopped", "1", "Attempts that were stopped, and why")
TASKS_RETRIED: Final = _METER.create_counter("docket_tasks_retried", "1", "Attempts that another follows")
TASKS_PERPETUATED: Final = _METER.create_counter("docket_tasks_perpetuated", "1", "Runs that the next one follows")
TASKS_RUNNING: Final = _METER.create_up_down_counter("docket_tasks_running", "1", "Attempts that run now")
TASK_DURATION: Final = _METER.create_histogram("docket_task_duration", "s", "How long attempts took")
TASK_PUNCTUALITY: Final = _METER.create_histogram(
    "docket_task_punctuality", "s", "How long after their time attempts began"
)

QUEUE_DEPTH: Final = _METER.create_gauge("docket_queue_depth", "1", "Tasks that are due, running ones included")
SCHEDULE_DEPTH: Final = _METER.create_gauge("docket_schedule_depth", "1", "Tasks whose time has not come")
STRIKES_IN_EFFECT: Final = _METER.create_up_down_counter(
    "docket_strikes_in_effect", "1", "Strikes in force, as far as this process has read"
)
REDIS_DISRUPTIONS: Final = _METER.create_counter(
    "docket_redis_disruptions", "1", "How often something could not go on for want of Redis"
)
CACHE_SIZE: Final = _METER.create_gauge("docket_cache_size", "1", "Entries of internal caches; there are none here")
