"""Blocked clients: served in the order in which they blocked, by the very command that brings what they wait for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from anyio import Event, move_on_after
from attrs import define, field

from docket_anyio._redis.errors import Disconnected
from docket_anyio._redis.memory.errors import Refused
from docket_anyio._redis.memory.keyspace import Keyspace, Wait
from docket_anyio._redis.transport import Reply

_UNBLOCKED: Final = "UNBLOCKED client unblocked via CLIENT UNBLOCK"


@define(eq=False)
class Waiter:
    """A blocked client, and its answer once it has one."""

    client: int
    wants: Wait
    answer: Reply | Refused | Disconnected = field(default=None, init=False)
    _served: Event = field(factory=Event, init=False)

    def serve(self, answer: Reply | Refused | Disconnected) -> None:
        """Give the answer, which ends the wait."""
        self.answer = answer
        self._served.set()

    async def wait(self) -> None:
        """Wait for the answer; it stays ``None`` when the client's time was up first."""
        with move_on_after(self.wants.milliseconds / 1000 or None):
            await self._served.wait()


@define(eq=False)
class Waiters:
    """The blocked clients by the keys they wait for."""

    keys: Keyspace
    _by_key: dict[bytes, dict[Waiter, None]] = field(factory=dict[bytes, dict[Waiter, None]], init=False)
    _by_client: dict[int, Waiter] = field(factory=dict[int, Waiter], init=False)

    def __attrs_post_init__(self) -> None:
        self.keys.awaited = self._by_key.keys()

    def add(self, client: int, wants: Wait) -> Waiter:
        """Block a client."""
        waiter = Waiter(client, wants)
        for key in wants.looks:
            self._by_key.setdefault(key, {})[waiter] = None
        self._by_client[client] = waiter
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Block a client no longer, whether it was served or not."""
        if self._by_client.pop(waiter.client, None) is None:
            return
        for key in waiter.wants.looks:
            waiting = self._by_key[key]
            del waiting[waiter]
            if not waiting:
                del self._by_key[key]

    def serve_ready(self) -> None:
        """Serve whoever waits for a key that was touched."""
        ready = self.keys.ready
        while ready:
            key = next(iter(ready))
            del ready[key]
            for waiter in tuple(self._by_key.get(key, ())):
                self._look_again(waiter, key)

    def _look_again(self, waiter: Waiter, key: bytes) -> None:
        try:
            entries = waiter.wants.looks[key]()
        except Refused as refused:
            self._end(waiter, refused)
        else:
            if entries is not None:
                self._end(waiter, [[key, entries]])

    def unblock(self, client: int, *, with_error: bool) -> bool:
        """End the wait of a client and tell whether it did wait."""
        waiter = self._by_client.get(client)
        if waiter is None:
            return False
        self._end(waiter, Refused(_UNBLOCKED) if with_error else None)
        return True

    def disconnect(self, clients: Iterable[int]) -> None:
        """End the waits of clients whose connection was closed."""
        for client in clients:
            waiter = self._by_client.get(client)
            if waiter is not None:
                self._end(waiter, Disconnected("the connection was closed", maybe_executed=True))

    def _end(self, waiter: Waiter, answer: Reply | Refused | Disconnected) -> None:
        # Forget it before its task runs: what comes in the meantime belongs to the next one in line.
        self.forget(waiter)
        waiter.serve(answer)
