"""What the things of a docket are called: pydocket's names, known before anything is opened."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from docket_anyio import Docket, Worker

PLAIN = [
    "name", "prefix", "queue_key", "stream_key", "workers_set", "results_collection", "worker_group_name",
    "redelivery_sweep_key",
]  # fmt: skip
OF_SOMETHING = [
    "key", "runs_key", "parked_task_key", "known_task_key", "stream_id_key", "cancel_channel", "worker_tasks_set",
    "task_workers_set",
]  # fmt: skip


def test_the_keys_are_those_on_the_wire() -> None:
    docket = Docket("mail", "memory://")
    assert {name: getattr(docket, name) for name in PLAIN} == {
        "name": "mail",
        "prefix": "mail",
        "queue_key": "mail:queue",
        "stream_key": "mail:stream",
        "workers_set": "mail:workers",
        "results_collection": "mail:results",
        "worker_group_name": "docket-workers",
        "redelivery_sweep_key": "mail:leases:redelivery-sweep",
    }
    assert {name: getattr(docket, name)("x") for name in OF_SOMETHING} == {
        "key": "mail:x",
        "runs_key": "mail:runs:x",
        "parked_task_key": "mail:x",
        "known_task_key": "mail:known:x",
        "stream_id_key": "mail:stream-id:x",
        "cancel_channel": "mail:cancel:x",
        "worker_tasks_set": "mail:worker-tasks:x",
        "task_workers_set": "mail:task-workers:x",
    }
    assert docket.labels() == {"docket.name": "mail"}


def test_pydocket_has_the_same_names() -> None:
    pydocket: Any = pytest.importorskip("docket")
    ours, theirs = Docket("mail", "redis://localhost"), pydocket.Docket("mail", "redis://localhost")
    assert {name: getattr(ours, name) for name in PLAIN} == {name: getattr(theirs, name) for name in PLAIN}
    assert {name: getattr(ours, name)("x") for name in OF_SOMETHING} == {
        name: getattr(theirs, name)("x") for name in OF_SOMETHING
    }
    assert ours.labels() == theirs.labels()


async def test_a_worker_has_those_of_its_docket(anyio_backend: object) -> None:
    docket = Docket("mail", "memory://", heartbeat_interval=timedelta(seconds=1))
    worker = Worker(docket, name="ann")
    assert worker.workers_set == docket.workers_set
    assert worker.worker_tasks_set("ann") == "mail:worker-tasks:ann"
    assert worker.task_workers_set("send") == "mail:task-workers:send"
    assert worker.labels() == {"docket.name": "mail", "docket.worker": "ann"}
