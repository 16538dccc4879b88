"""Locks that only one worker of a fleet holds at a time."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from anyio import move_on_after
from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._redis.client import Redis

_RELEASE = scripts.load("release")


@define(eq=False)
class Locks:
    """The locks of a docket."""

    _redis: Redis
    _keys: Keys

    @asynccontextmanager
    async def try_automatic(self, time_to_live: timedelta) -> AsyncGenerator[bool]:
        """Try to be the one who adds the automatic tasks, without waiting. Tells whether it is."""
        token = secrets.token_hex(16)
        milliseconds = int(time_to_live.total_seconds() * 1000)
        with redis_errors():
            reply = await self._redis.transport.execute(
                ("SET", self._keys.automatic_lock, token, "NX", "PX", milliseconds)
            )
            try:
                yield reply is not None
            finally:
                with move_on_after(time_to_live.total_seconds(), shield=True):
                    await self._redis.run_script(_RELEASE, (self._keys.automatic_lock,), (token,), repeatable=True)
