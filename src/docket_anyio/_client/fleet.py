"""The workers of a docket, known by their heartbeats, and paused all together."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.keys import Keys
from docket_anyio._client.striking import Striking
from docket_anyio._model.settings import check_at_least, check_positive
from docket_anyio._model.snapshot import WorkerInfo


class Fleet(Striking):
    """A docket whose workers say that they live.

    Args:
        name: The docket's name.
        keys: Its keys.
        heartbeat_interval: How often they say so.
        missed_heartbeats: After how many missed ones a worker counts as gone.
    """

    def __init__(self, name: str, keys: Keys, heartbeat_interval: timedelta, missed_heartbeats: int) -> None:
        super().__init__(name, keys)
        self.heartbeat_interval = heartbeat_interval
        self.missed_heartbeats = missed_heartbeats

    @property
    @abstractmethod
    def broker(self) -> Broker:
        """What the docket remembers, for its worker. Not for users.

        Raises:
            NotOpen: The docket is not open.
        """

    @property
    def heartbeat_interval(self) -> timedelta:
        """How often workers say that they live; another one holds from the next heartbeat on.

        Raises:
            InvalidSetting: It was set to nothing, or less.
        """
        return self._heartbeat_interval

    @heartbeat_interval.setter
    def heartbeat_interval(self, interval: timedelta) -> None:
        self._heartbeat_interval = check_positive("heartbeat_interval", interval)

    @property
    def missed_heartbeats(self) -> int:
        """After how many missed heartbeats a worker counts as gone; another number holds at once.

        Raises:
            InvalidSetting: It was set below 1.
        """
        return self._missed_heartbeats

    @missed_heartbeats.setter
    def missed_heartbeats(self, number: int) -> None:
        self._missed_heartbeats = check_at_least("missed_heartbeats", number, 1)

    @property
    def patience_with_workers(self) -> timedelta:
        """How long a worker that is not heard of counts as alive."""
        return self.heartbeat_interval * self.missed_heartbeats

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers that live.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await self._workers(None)

    async def task_workers(self, task_name: str) -> list[WorkerInfo]:
        """Return the workers that live and can run a task.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await self._workers(task_name)

    async def pause(self) -> None:
        """Let no run begin on any worker until ``resume()``. What runs goes on, and so do adding and cancelling.

        Pausing twice is pausing once.

        Raises:
            NotHonoured: A pydocket worker is on the docket, and would begin runs all the same.
            RedisUnavailable: Redis cannot be reached. Pausing again is safe.
        """
        broker = self.broker
        now = broker.clock.now()
        with self._telemetry.span("docket.pause"):
            await broker.pauses.begin(now, heard_since=now - self.patience_with_workers)

    async def resume(self) -> None:
        """Let runs begin again. Where the docket is not paused this changes nothing.

        Raises:
            RedisUnavailable: Redis cannot be reached. Resuming again is safe.
        """
        with self._telemetry.span("docket.resume"):
            await self.broker.pauses.end()

    async def is_paused(self) -> bool:
        """Tell whether the docket is paused.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await self.broker.pauses.is_on()

    async def _workers(self, task: str | None) -> list[WorkerInfo]:
        broker = self.broker
        return await broker.presence.workers(now=broker.clock.now(), window=self.patience_with_workers, task=task)
