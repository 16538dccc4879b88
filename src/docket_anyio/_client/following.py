"""Whoever runs for long keeps up with strikes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from attrs import define

from docket_anyio._broker.strikes import StrikeStream
from docket_anyio._client.strikes import StrikeBook

# How long one wait blocks at most: a connection that died silently is noticed by then.
_LONGEST_WAIT: Final = timedelta(seconds=5)


@define(eq=False)
class StrikeService:
    """Reads each strike as it is given; all that were given before are known once it is ready."""

    _stream: StrikeStream
    _book: StrikeBook

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow until cancelled."""
        async with self._stream.open_follower() as follower:
            await self._book.catch_up()
            ready()
            while True:
                await follower.wait(self._book.last, at_most=_LONGEST_WAIT)
                await self._book.catch_up()
