"""Which workers live, and what they can run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._redis.client import Redis

_HEARTBEAT = scripts.load("heartbeat")
_DEPART = scripts.load("depart")


@define(eq=False)
class Presence:
    """The workers of a docket."""

    _redis: Redis
    _keys: Keys

    async def heartbeat(self, worker: str, tasks: Sequence[str], *, now: datetime, window: timedelta) -> None:
        """Say that a worker lives.

        Args:
            worker: Its name.
            tasks: The names of the tasks it can run.
            now: The time.
            window: Who has not been heard of for so long is forgotten.
        """
        with redis_errors():
            await self._redis.run_script(
                _HEARTBEAT,
                self._places(worker, tasks),
                (
                    worker,
                    now.timestamp(),
                    (now - window).timestamp(),
                    max(1, int(window.total_seconds())),
                    *tasks,
                ),
                repeatable=True,
            )

    async def depart(self, worker: str, tasks: Sequence[str]) -> None:
        """Say that a worker leaves."""
        with redis_errors():
            await self._redis.run_script(_DEPART, self._places(worker, tasks), (worker,), repeatable=True)

    def _places(self, worker: str, tasks: Sequence[str]) -> list[str]:
        keys = self._keys
        return [keys.workers, keys.worker_tasks(worker), *(keys.task_workers(task) for task in tasks)]
