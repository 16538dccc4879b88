"""The tasks of the demo, as any program would write them: async functions, and nothing is special about them."""

from __future__ import annotations

from datetime import timedelta

import anyio

# A program of yours writes: from docket_anyio import Retry, Timeout
from docket_anyio._policies.retry import Retry
from docket_anyio._policies.timeout import Timeout


async def greet(name: str) -> str:
    """Return something, which goes back to whoever added the task."""
    await anyio.sleep(0.5)
    return f"Hello, {name}!"


async def resize(photo: str) -> str:
    """Take a while. There are more of these than the worker has slots, so some wait in the queue."""
    await anyio.sleep(1.2)
    return f"{photo} resized"


async def fetch(url: str, retry: Retry = Retry(attempts=3, delay=timedelta(seconds=0.8))) -> str:
    """Fail twice. It runs again each time, 0.8 s later, at most three times in all."""
    await anyio.sleep(0.4)
    if retry.attempt < 3:
        raise ConnectionError(f"{url} does not answer")
    return "200 OK"


async def report(month: str, timeout: Timeout = Timeout(timedelta(seconds=1.5))) -> str:
    """Take too long. Once its time is over it is cancelled, and has failed with a TaskTimeout."""
    await anyio.sleep(60)
    return f"the report of {month}, with {timeout.remaining()} left"


async def charge(card: str) -> str:
    """Fail. The exception goes back to whoever asks for the result."""
    await anyio.sleep(0.8)
    raise ValueError(f"the card {card} has expired")


async def broadcast(channel: str) -> str:
    """Go on until it is cancelled, which it notices wherever it awaits something."""
    await anyio.sleep(3600)
    return f"{channel} has ended"
