"""The execution that the running code is the run of."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from docket_anyio._client.execution import Execution

current_execution: Final[ContextVar[Execution[Any]]] = ContextVar("current_execution")
