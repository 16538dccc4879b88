"""Which workers live, and what they can run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import check_replies, redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.codec import pairs
from docket_anyio._model.extras import Extra
from docket_anyio._model.snapshot import WorkerInfo
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Command, Reply

_HEARTBEAT = scripts.load("heartbeat")
_DEPART = scripts.load("depart")


@define(eq=False)
class Presence:
    """The workers of a docket."""

    _redis: Redis
    _keys: Keys

    async def heartbeat(self, worker: str, tasks: Sequence[str], *, now: datetime, window: timedelta) -> None:
        """Say that a worker lives, and that it honours every extra, as all of ours do.

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

    async def workers(self, *, now: datetime, window: timedelta, task: str | None = None) -> list[WorkerInfo]:
        """Return the workers that live, and forget the others.

        Args:
            now: The time.
            window: Who has not been heard of for so long is forgotten.
            task: Only those that can run it.
        """
        place = self._keys.workers if task is None else self._keys.task_workers(task)
        _, listed = await self._read(
            ("ZREMRANGEBYSCORE", place, "-inf", (now - window).timestamp()), ("ZRANGE", place, 0, -1, "WITHSCORES")
        )
        flat = listed if isinstance(listed, list) else []
        seen = pairs([each for each in flat if isinstance(each, bytes)])
        known = await self._read(*(("SMEMBERS", self._keys.worker_tasks(name.decode())) for name in seen))
        return [
            WorkerInfo(name.decode(), datetime.fromtimestamp(float(score), UTC), _names(tasks))
            for (name, score), tasks in zip(seen.items(), known, strict=True)
        ]

    async def _read(self, *commands: Command) -> list[Reply]:
        if not commands:
            return []  # noqa: ASYNC910 - private; its caller has asked Redis before
        with redis_errors():
            replies = await self._redis.transport.execute_all(commands, repeatable=True)
        check_replies(replies)
        return replies

    def _places(self, worker: str, tasks: Sequence[str]) -> list[str]:
        keys = self._keys
        return [
            keys.workers,
            keys.worker_tasks(worker),
            *(keys.honouring(extra) for extra in Extra),
            *(keys.task_workers(task) for task in tasks),
        ]


def _names(members: Reply) -> frozenset[str]:
    return (
        frozenset(each.decode() for each in members if isinstance(each, bytes))
        if isinstance(members, list)
        else frozenset()
    )
