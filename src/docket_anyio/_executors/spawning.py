"""How a process of the pool begins, and how it ends if it has to."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final

from anyio import open_process
from anyio.abc import Process
from anyio.lowlevel import current_token

_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from docket_anyio._executors.child import main; main(sys.argv.pop(1))"
)


async def spawn(at_most: int, line: int | None) -> Process:
    """Start an interpreter that imports from where this one does, and has an event loop like this one's.

    It inherits standard error, the environment, the working folder and its lifeline, and no other open file. It leads a
    process group of its own, of which all that it starts is a part.

    Args:
        at_most: How many bytes a frame may have.
        line: The lifeline that it is given.

    Raises:
        OSError: It cannot be started.
    """
    settings = json.dumps([*_event_loop(), at_most, line])
    return await open_process(
        [sys.executable, "-c", _BOOT, json.dumps([*map(str, sys.path)]), settings],
        stderr=None,
        start_new_session=os.name == "posix",
        pass_fds=() if line is None else (line,),
    )


def kill(process: Process) -> None:
    """Kill a process and all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _event_loop() -> tuple[str, dict[str, Any]]:
    loop = type(current_token().native_token).__module__.partition(".")[0]
    return ("trio", {}) if loop == "trio" else ("asyncio", {"use_uvloop": loop == "uvloop"})
