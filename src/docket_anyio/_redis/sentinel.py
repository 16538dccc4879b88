"""Finding the master that sentinels watch over, and following it when it changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import anyio
from attrs import define, field
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from docket_anyio._clock import ServerClock
from docket_anyio._redis.commands import pack
from docket_anyio._redis.connection import Connection, Slot, as_reply
from docket_anyio._redis.dialing import PATIENCE, Dialer
from docket_anyio._redis.errors import Disconnected, reason_of
from docket_anyio._redis.hosts import Host
from docket_anyio._redis.multiplexer import Multiplexer
from docket_anyio._redis.transport import BlockingConnection, Command, Reply, Subscription
from docket_anyio._redis.wire import Wire

_SWITCHES: Final = "+switch-master"
_LOOK_AGAIN: Final = 1.0
"""Seconds after which to ask again, where no sentinel tells by itself."""


@define(eq=False, slots=False, repr=False)
class SentinelDialer(Dialer):
    """Make connections to the master, which the sentinels are asked for each time.

    While they answer there will be a master before long, so a caller waits for it as long as for a reply. The one that
    has answered goes on to tell when there is another master: the old one may not know, or may be cut off.
    """

    _sentinels: deque[Host] = field(init=False)
    """The one that has answered last comes first."""
    _master: Host | None = field(default=None, init=False)
    _news: Wire | None = field(default=None, init=False)
    on_change: Callable[[], None] = field(default=lambda: None, init=False)
    """Called before the first connection to another master than there was."""

    def __attrs_post_init__(self) -> None:
        self._sentinels = deque(self.address.hosts)

    async def dial_once(self) -> Connection:
        """Ask for the master, connect, and greet it.

        Raises:
            OSError: No sentinel answers, or the master does not.
            RedisError: The master is not known, is a replica still, or did not greet back.
        """
        master = await self.find_master()
        connection = await Dialer(self.address.at(master), self.clock).dial_once()
        if connection.is_replica:
            connection.fail("it is a replica")
            raise Disconnected(f"{master[0]}:{master[1]} is a replica still", maybe_executed=False)
        return connection

    @property
    def hears_nothing(self) -> bool:
        """Whether there was a master, and no sentinel would tell of another one."""
        return self._master is not None and self._news is None

    def has_another(self) -> bool:
        """Tell, once, whether a sentinel has named another master. Never waits."""
        if self._news is None:
            return False
        try:
            data = self._news.receive_nowait()
        except OSError:
            self.close()
            return False
        # Whatever is said of the service is a reason to connect anew.
        return data is not None and self.address.service.encode() in data

    def close(self) -> None:
        """Listen to no sentinel any more."""
        if self._news is not None:
            self._news.close()
            self._news = None

    async def find_master(self) -> Host:
        """Return where the first sentinel that answers says the master is, and listen to it from then on.

        Raises:
            Disconnected: None does.
            AuthenticationError: One does not accept the password.
            ResponseError: Those that answer do not know the service, or may not be asked.
        """
        refusal, reason = None, ""
        for _ in range(len(self._sentinels)):
            sentinel = self._sentinels[0]
            try:
                master = await self._ask(sentinel)
            except AuthenticationError:
                raise
            except ResponseError as error:
                refusal = error
            except (OSError, RedisConnectionError) as error:
                reason = f"{sentinel[0]}:{sentinel[1]}: {reason_of(error)}"
            else:
                if self._master not in {None, master}:
                    self.on_change()
                self._master, self.patience = master, self.address.response_timeout
                return master
            self._sentinels.rotate(-1)
        if refusal is not None:
            raise refusal
        self.patience = PATIENCE
        raise Disconnected(f"no sentinel answers; the last one, {reason}", maybe_executed=False)

    async def _ask(self, sentinel: Host) -> Host:
        # A clock of its own: tasks go by the time of the master.
        asking = Dialer(self.address.at_sentinel(sentinel), ServerClock())
        ask = pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.address.service))
        with anyio.fail_after(self.address.connect_timeout):
            connection = await asking.dial_once()
            try:
                # In one piece: a change in between would not be heard of.
                slot = Slot(ask + pack(("SUBSCRIBE", _SWITCHES)), 2)
                await connection.exchange(slot)
                answer = as_reply(slot.replies[0])
            except BaseException:
                connection.fail("the sentinel was not asked")
                raise
        match answer:
            case [bytes(host), bytes(port)]:
                self._listen(connection, slot.replies[1])
                return host.decode(), int(port)
            case _:
                connection.fail("the sentinel does not know the service")
                raise ResponseError(f"the sentinels do not know a service {self.address.service!r}")

    def _listen(self, connection: Connection, subscribed: Reply) -> None:
        self.close()
        if isinstance(subscribed, Exception):
            connection.fail("the sentinel tells nothing")
        else:
            self._news = connection.wire


@define(eq=False, repr=False)
class SentinelTransport:
    """Carry commands to the master, whichever that is. It holds no task, no scope and no group."""

    _dialer: SentinelDialer
    _carrier: Multiplexer = field(init=False)
    _looked_at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._carrier = Multiplexer(self._dialer)
        self._dialer.on_change = self._leave

    @property
    def clock(self) -> ServerClock:
        """See ``Transport``."""
        return self._dialer.clock

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        """See ``Transport``. A cancelled command may still be executed by the server."""
        await self._heed()
        return await self._carrier.execute(command, repeatable=repeatable)

    async def execute_all(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        """See ``Transport``. Cancelled commands may still be executed by the server."""
        await self._heed()
        return await self._carrier.execute_all(commands, repeatable=repeatable)

    def open_blocking(self) -> AbstractAsyncContextManager[BlockingConnection]:
        """See ``Transport``."""
        return self._carrier.open_blocking()

    def open_subscription(
        self, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[Subscription]:
        """See ``Transport``."""
        return self._carrier.open_subscription(channels=channels, patterns=patterns)

    async def aclose(self) -> None:
        """See ``Transport``. Safe to repeat."""
        self._dialer.close()
        await self._carrier.aclose()

    async def _heed(self) -> None:  # noqa: ASYNC910 - private; its callers go on to wait
        """Leave the master if the sentinels have named another one."""
        if self._dialer.hears_nothing and anyio.current_time() - self._looked_at > _LOOK_AGAIN:
            self._looked_at = anyio.current_time()
            with suppress(OSError, RedisError):  # the master may well be there without them
                await self._dialer.find_master()
        if self._dialer.has_another():
            self._leave()

    def _leave(self) -> None:
        self._carrier.drop("the sentinels have named another master")
