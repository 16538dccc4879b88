"""What tests of tasks need."""

from __future__ import annotations

from docket_anyio.testing.assertions import assert_no_tasks as assert_no_tasks
from docket_anyio.testing.assertions import assert_task_count as assert_task_count
from docket_anyio.testing.assertions import assert_task_not_scheduled as assert_task_not_scheduled
from docket_anyio.testing.assertions import assert_task_scheduled as assert_task_scheduled

__all__ = ["assert_no_tasks", "assert_task_count", "assert_task_not_scheduled", "assert_task_scheduled"]
