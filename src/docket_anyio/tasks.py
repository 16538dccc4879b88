"""The tasks that every docket knows, and the collection of them."""

from __future__ import annotations

from docket_anyio._client.standard import STANDARD_TASKS as standard_tasks  # noqa: N811 - pydocket's name
from docket_anyio._client.standard import default_fallback_task as default_fallback_task
from docket_anyio._client.standard import fail as fail
from docket_anyio._client.standard import sleep as sleep
from docket_anyio._client.standard import trace as trace

__all__ = ["default_fallback_task", "fail", "sleep", "standard_tasks", "trace"]
