"""Dockets for tests, and what is left of them in Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from docket_anyio import Docket, Worker
from docket_anyio._model.extras import Extra
from docket_anyio._redis.client import Redis
from tests.conftest import Store

PERMANENT = (
    "stream",
    "queue",
    "strikes",
    "workers",
    "anyio:paused",
    "anyio:sequence",
    *(f"anyio:stream:{each}" for each in ("high", "low")),
    *(f"anyio:honours:{each.value}" for each in Extra),
)


@pytest.fixture
async def docket(anyio_backend: object, store: Store) -> AsyncGenerator[Docket]:
    """An open docket of the test's own. Afterwards nothing may be left in Redis that stays there for ever."""
    async with open_docket(store) as docket:
        yield docket


@asynccontextmanager
async def open_docket(store: Store, **options: Any) -> AsyncGenerator[Docket]:
    async with Docket(store.docket_name, store.url, **options) as docket:
        yield docket
        assert await leaks(docket) == []


@asynccontextmanager
async def running(docket: Docket, **options: Any) -> AsyncGenerator[Worker]:
    """A worker that runs beside the block, and has ended after it."""
    async with (
        Worker(docket, **{"grace": timedelta(seconds=1), **options}) as worker,
        anyio.create_task_group() as group,
    ):
        await group.start(worker.run_forever)
        yield worker
        worker.stop()


async def run_all(docket: Docket, **options: Any) -> None:
    """Run what there is, by a worker that ends when nothing is left to do."""
    async with Worker(docket, **options) as worker:
        await worker.run_until_finished()


async def keys_of(docket: Docket) -> list[str]:
    async with docket.redis() as redis:
        return sorted([key.decode() async for key in redis.scan_iter(match=f"{docket.name}:*")])


async def contents(docket: Docket) -> dict[str, Any]:
    """Everything that Redis holds of a docket."""
    async with docket.redis() as redis:
        found = await contents_under(redis, docket.name)
    return {key.decode(): value for key, value in sorted(found.items())}


async def contents_under(redis: Redis, prefix: str) -> dict[bytes, Any]:
    """Everything that Redis holds under a prefix, as values that can be compared."""
    found: dict[bytes, Any] = {}
    async for key in redis.scan_iter(match=f"{prefix}:*"):
        match await redis.type(key):
            case b"hash":
                found[key] = await redis.hgetall(key)
            case b"stream":
                found[key] = await redis.xrange(key)
            case b"zset":
                found[key] = await redis.zrange(key, 0, -1, withscores=True)
            case b"set":
                found[key] = await redis.smembers(key)
            case b"string":
                found[key] = await redis.get(key)
            case kind:
                raise AssertionError(f"{key!r} is a {kind!r}")
    return found


async def leaks(docket: Docket) -> list[str]:
    """The keys that will stay in Redis for ever although nothing needs them (WIRE section 12)."""
    name = docket.name
    async with docket.redis() as redis:
        entries = [
            entry
            for stream in ("stream", "anyio:stream:high", "anyio:stream:low")
            for entry in await redis.xrange(f"{name}:{stream}")
        ]
        live = {fields[b"key"].decode() for _, fields in entries if b"key" in fields}
        live |= {key.decode() for key in await redis.zrange(f"{name}:queue", 0, -1)}
        allowed = {f"{name}:{each}" for each in PERMANENT}
        allowed |= {f"{name}:{kind}{key}" for key in live for kind in ("", "runs:", "progress:")}
        return [
            key
            for key in await keys_of(docket)
            if key not in allowed and not key.startswith(f"{name}:task-workers:") and await redis.ttl(key) == -1
        ]
