"""Whether runs may begin on a docket."""

from __future__ import annotations

from datetime import datetime

from attrs import define

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.keys import Keys
from docket_anyio._model.extras import Extra
from docket_anyio._redis.client import Redis
from docket_anyio.exceptions import NotHonoured

_PAUSE = scripts.load("pause")
_RESUME = scripts.load("resume")


@define(eq=False)
class Pauses:
    """The pause of a docket: while there is one, ``start`` refuses every delivery."""

    _redis: Redis
    _keys: Keys

    async def begin(self, now: datetime, *, heard_since: datetime) -> None:
        """Pause. Safe to repeat.

        Args:
            now: The time.
            heard_since: Workers that were not heard of since then have nothing to say about it.

        Raises:
            NotHonoured: A worker would begin runs all the same.
        """
        keys = self._keys
        with redis_errors():
            reply = await self._redis.run_script(
                _PAUSE,
                (keys.paused, keys.workers, keys.honouring(Extra.PAUSE), keys.pause_channel),
                (now.isoformat(), heard_since.timestamp()),
                repeatable=True,
            )
        if isinstance(reply, bytes):
            raise NotHonoured(Extra.PAUSE.value, reply.decode(errors="replace"))

    async def end(self) -> None:
        """Resume. Safe to repeat."""
        with redis_errors():
            await self._redis.run_script(_RESUME, (self._keys.paused, self._keys.pause_channel), (), repeatable=True)

    async def is_on(self) -> bool:
        """Tell whether the docket is paused."""
        with redis_errors():
            return await self._redis.transport.execute(("EXISTS", self._keys.paused), repeatable=True) == 1
