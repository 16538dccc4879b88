"""Finding the master that sentinels watch over, and following it when it changes."""

from __future__ import annotations

from collections import deque

import anyio
from attrs import define, field
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from docket_anyio._clock import ServerClock
from docket_anyio._redis.commands import pack
from docket_anyio._redis.connection import Connection, Slot, as_reply
from docket_anyio._redis.dialing import PATIENCE, Dialer
from docket_anyio._redis.errors import Disconnected, reason_of
from docket_anyio._redis.hosts import Host


@define(eq=False, slots=False, repr=False)
class SentinelDialer(Dialer):
    """Make connections to the master, which the sentinels are asked for each time.

    While they answer there will be a master before long, so a caller waits for it as long as for a reply.
    """

    _sentinels: deque[Host] = field(init=False)
    """The one that has answered last comes first."""

    def __attrs_post_init__(self) -> None:
        self._sentinels = deque(self.address.hosts)

    async def dial_once(self) -> Connection:
        """Ask for the master, connect, and greet it.

        Raises:
            OSError: No sentinel answers, or the master does not.
            RedisError: The master is not known, is a replica still, or did not greet back.
        """
        master = await self._find_master()
        connection = await Dialer(self.address.at(master), self.clock).dial_once()
        if connection.is_replica:
            connection.fail("it is a replica")
            raise Disconnected(f"{master[0]}:{master[1]} is a replica still", maybe_executed=False)
        return connection

    async def _find_master(self) -> Host:
        """Return where the first sentinel that answers says the master is.

        Raises:
            Disconnected: None does.
            AuthenticationError: One does not accept the password.
            ResponseError: Those that answer do not know the service.
        """
        unknown, reason = False, ""
        for _ in range(len(self._sentinels)):
            sentinel = self._sentinels[0]
            try:
                master = await self._ask(sentinel)
            except AuthenticationError:
                raise
            except (OSError, RedisConnectionError, ResponseError) as error:
                reason = f"{sentinel[0]}:{sentinel[1]}: {reason_of(error)}"
            else:
                if master is not None:
                    self.patience = self.address.response_timeout
                    return master
                unknown = True
            self._sentinels.rotate(-1)
        if unknown:
            raise ResponseError(f"the sentinels do not know a service {self.address.service!r}")
        self.patience = PATIENCE
        raise Disconnected(f"no sentinel answers; the last one, {reason}", maybe_executed=False)

    async def _ask(self, sentinel: Host) -> Host | None:
        # A clock of its own: tasks go by the time of the master.
        asking = Dialer(self.address.at_sentinel(sentinel), ServerClock())
        with anyio.fail_after(self.address.connect_timeout):
            connection = await asking.dial_once()
            try:
                slot = Slot(pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.address.service)))
                await connection.exchange(slot)
            finally:
                connection.fail("the sentinel was asked")
        match as_reply(slot.replies[0]):
            case [bytes(host), bytes(port)]:
                return host.decode(), int(port)
            case _:
                return None
