"""The event loops, by the names that ``docket-anyio run --backend`` has for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio


def run_on(loop: str, main: Callable[[], Awaitable[Any]]) -> None:
    """Run a program on ``asyncio``, ``asyncio+uvloop`` or ``trio``."""
    if loop == "trio":
        anyio.run(main, backend="trio")
    else:
        anyio.run(main, backend="asyncio", backend_options={"use_uvloop": loop == "asyncio+uvloop"})
