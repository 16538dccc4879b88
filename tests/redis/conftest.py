"""A client for each test, and one for each kind of fault."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.url import parse_url
from tests.redis.proxy import Proxy, open_proxy
from tests.servers import RedisServer


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    return uuid4().hex


@pytest.fixture
async def redis(anyio_backend: object, redis_server: RedisServer) -> AsyncGenerator[Redis]:
    async with connect(parse_url(redis_server.unix_url)) as client:
        yield client


@pytest.fixture
async def proxy(anyio_backend: object, redis_server: RedisServer) -> AsyncGenerator[Proxy]:
    async with open_proxy(redis_server.port) as each:
        yield each


@pytest.fixture
async def through_proxy(proxy: Proxy) -> AsyncGenerator[Redis]:
    async with connect(parse_url(f"{proxy.url}?socket_timeout=1")) as client:
        yield client
