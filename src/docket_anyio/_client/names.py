"""What the things of a docket are called, in Redis and in metrics; known before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from docket_anyio._broker.keys import GROUP, Keys


class Names:
    """The names of a docket: pure functions of its own name and of the kind of its Redis.

    Args:
        name: The docket's name.
        keys: Its keys.
    """

    def __init__(self, name: str, keys: Keys) -> None:
        self.name: Final = name
        self._keys: Final = keys

    @property
    def prefix(self) -> str:
        """What all keys in Redis begin with."""
        return self._keys.prefix

    @property
    def queue_key(self) -> str:
        """The sorted set of the keys of future tasks, by due time."""
        return self._keys.queue

    @property
    def stream_key(self) -> str:
        """The stream of the tasks that are due or run, but for those of another priority than most."""
        return self._keys.stream

    @property
    def worker_group_name(self) -> str:
        """The consumer group of all workers."""
        return GROUP

    @property
    def workers_set(self) -> str:
        """The sorted set of workers, by last heartbeat."""
        return self._keys.workers

    @property
    def results_collection(self) -> str:
        """The collection of results."""
        return self._keys.results

    @property
    def redelivery_sweep_key(self) -> str:
        """The lease of the worker that looks for abandoned tasks."""
        return self._keys.sweep_lease

    def key(self, suffix: str) -> str:
        """Return a key of the docket's."""
        return self._keys.of(suffix)

    def runs_key(self, task_key: str) -> str:
        """Return the hash with the record of a task."""
        return self._keys.runs(task_key)

    def parked_task_key(self, task_key: str) -> str:
        """Return the hash with the message of a future task."""
        return self._keys.parked(task_key)

    def known_task_key(self, task_key: str) -> str:
        """Return a key that dockets before pydocket 0.14 wrote."""
        return self._keys.known(task_key)

    def stream_id_key(self, task_key: str) -> str:
        """Return a key that dockets before pydocket 0.14 wrote."""
        return self._keys.stream_id(task_key)

    def cancel_channel(self, task_key: str) -> str:
        """Return the channel that asks workers to stop a task."""
        return self._keys.cancel_channel(task_key)

    def worker_tasks_set(self, worker_name: str) -> str:
        """Return the set of the tasks that a worker can run."""
        return self._keys.worker_tasks(worker_name)

    def task_workers_set(self, task_name: str) -> str:
        """Return the sorted set of the workers that can run a task, by last heartbeat."""
        return self._keys.task_workers(task_name)

    def labels(self) -> Mapping[str, str]:
        """Return what metrics and log lines are labelled with."""
        return {"docket.name": self.name}
