"""What to do when Redis does not answer: the one place that tries again, for whatever runs for long."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf
from typing import Final, TypeVar

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from attrs import define, field

from docket_anyio._telemetry.instruments import Instruments
from docket_anyio.exceptions import RedisRefused, RedisUnavailable

T = TypeVar("T")
Service = Callable[[Callable[[], None]], Awaitable[None]]

_FIRST_DELAY: Final = timedelta(milliseconds=50)


@define(eq=False)
class _Backoff:
    """Delays that grow, each of a random length, so that a fleet does not come back in step."""

    _longest: timedelta
    _next: timedelta = field(default=_FIRST_DELAY, init=False)

    def reset(self) -> None:
        self._next = _FIRST_DELAY

    async def sleep(self) -> None:
        await anyio.sleep(self._next.total_seconds() * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        self._next = min(self._next * 2, self._longest)


@define(eq=False)
class Supervisor:
    """Keeps a worker's services running, and its settlements going, through outages of Redis.

    Args:
        longest_delay: The longest pause between two tries.
        instruments: Told once when something stops working, and once when it works again.
        check_open: Called before each new try; raises where there is nothing left to try with.
    """

    _longest_delay: timedelta
    _instruments: Instruments
    _check_open: Callable[[], None] = lambda: None

    async def keep_running(
        self, name: str, service: Service, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Run a service until it returns, again whenever Redis becomes unreachable or refuses it.

        Args:
            name: What it does, for the log.
            service: Called with a function that it calls once it is ready.
            task_status: Told when the service is ready for the first time.

        Raises:
            RedisUnavailable: Redis could not be reached before the service was ready for the first time.
            RedisRefused: Redis refused what the service does, before it was ready for the first time.
        """
        backoff = _Backoff(self._longest_delay)
        was_ready = lost = False
        ready_at = inf

        def ready() -> None:
            nonlocal was_ready, lost, ready_at
            ready_at = anyio.current_time()
            if lost:
                lost = False
                self._instruments.redis_back(name)
            if not was_ready:
                was_ready = True
                task_status.started()

        while True:
            try:
                return await service(ready)
            except (RedisUnavailable, RedisRefused) as error:
                # A refusal may pass as well: a full memory, a replica that is to become the primary.
                self._check_open()
                if not was_ready:
                    raise
                if not lost:
                    lost = True
                    self._instruments.redis_lost(name, error)
            # One that is ready and fails at once, again and again, is not to do so as fast as it can.
            if anyio.current_time() - ready_at > self._longest_delay.total_seconds():
                backoff.reset()
            ready_at = inf
            await backoff.sleep()

    async def until_done(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that is safe to repeat until Redis has answered it. Cancelling ends the tries."""
        backoff = _Backoff(self._longest_delay)
        lost = False
        while True:
            try:
                answer = await call()
            except (RedisUnavailable, RedisRefused) as error:
                self._check_open()
                if not lost:
                    lost = True
                    self._instruments.redis_lost(name, error)
                await backoff.sleep()
            else:
                if lost:
                    self._instruments.redis_back(name)
                return answer
