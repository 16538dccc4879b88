"""What the running code is part of."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from docket_anyio._client.docket import Docket
from docket_anyio._client.execution import Execution

current_docket: Final[ContextVar[Docket]] = ContextVar("current_docket")
current_execution: Final[ContextVar[Execution[Any]]] = ContextVar("current_execution")
