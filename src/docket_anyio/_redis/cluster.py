"""A transport to a cluster: each command goes to the master that has its key, and follows it when it moves."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain, repeat
from typing import Any, Final, cast

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from docket_anyio._clock import ServerClock
from docket_anyio._redis.commands import READ_ONLY, name_of, pack
from docket_anyio._redis.connection import Slot, as_reply
from docket_anyio._redis.dialing import PATIENCE, Dialer
from docket_anyio._redis.errors import Disconnected, reason_of
from docket_anyio._redis.hosts import Host
from docket_anyio._redis.multiplexer import Multiplexer
from docket_anyio._redis.routing import SlotMap, slot_of
from docket_anyio._redis.sharing import Shared
from docket_anyio._redis.transport import BlockingConnection, Command, Reply, Subscription
from docket_anyio._redis.url import Address

_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between the tries of one caller, about; the last one again and again."""
_ELSEWHERE: Final = (AskError, TryAgainError, ClusterDownError, BusyLoadingError)
"""Answers which say that nothing was done: it is to be tried elsewhere (MOVED is a kind of ASK), or later."""
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})


@define(eq=False, repr=False)
class _Effort:
    """What one caller has tried."""

    patience: float
    """For how many seconds it goes on while a node of the cluster answers."""
    executed: bool = False
    """A try may have been executed, although its answer was lost, or a part of it was."""
    moved: bool = False
    """It was sent elsewhere once, which costs no time."""
    _begun: float = field(factory=anyio.current_time, init=False)
    _pauses: Iterator[float] = field(factory=lambda: chain(_PAUSES, repeat(_PAUSES[-1])), init=False)

    async def pause(self, error: RedisError, patience: float | None = None) -> None:
        """Wait before the next try.

        Raises:
            Disconnected: There is no time for one.
        """
        # Many clients lose a node at once; they should not come back at once.
        pause = next(self._pauses) * random.uniform(0.5, 1.0)  # noqa: S311
        if anyio.current_time() - self._begun + pause > (self.patience if patience is None else patience):
            raise Disconnected(str(error), maybe_executed=self.executed) from error
        await anyio.sleep(pause)


@define(eq=False, repr=False)
class ClusterTransport:
    """Carry commands to the masters of a cluster. It holds no task, no scope and no group.

    While a node of the cluster answers, a slot without a master will have one before long, so a caller waits for that
    as long as for a reply.

    Args:
        address: The nodes to begin with.
        home: The slot whose master gets what is about no key, and by whose clock tasks go.
    """

    address: Address
    home: int
    clock: ServerClock = field(factory=ServerClock, init=False)
    _map: Shared[SlotMap] = field(init=False)
    _known: deque[Host] = field(init=False)
    """Whom to ask where the slots are, in this order."""
    _nodes: dict[Host, Multiplexer] = field(factory=dict[Host, Multiplexer], init=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._map = Shared(self._fetch_map)
        self._known = deque(self.address.hosts)

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        """See ``Transport``. A cancelled command may still be executed."""
        repeatable = repeatable or name_of(command) in READ_ONLY
        slot = slot_of(command)
        slot = self.home if slot is None else slot
        (reply,) = await self._carry((command,), slot, self.effort(), repeatable=repeatable)
        return as_reply(reply)

    async def execute_all(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        """See ``Transport``. Outside of a transaction those for different slots go out one slot after the other.

        Raises:
            ClusterCrossSlotError: A transaction is about different slots.
        """
        if not commands:
            await checkpoint()
            return []
        slots = [slot_of(each) for each in commands]
        first = next((each for each in slots if each is not None), self.home)
        effort = self.effort()
        if name_of(commands[0]) == "MULTI":
            if any(each not in {None, first} for each in slots):
                raise ClusterCrossSlotError("CROSSSLOT the keys of a transaction are not in the same slot")
            return await self._carry(commands, first, effort, repeatable=repeatable)
        replies: list[Reply] = [None] * len(commands)
        for slot in dict.fromkeys(first if each is None else each for each in slots):
            places = [place for place, each in enumerate(slots) if each == slot or (each is None and slot == first)]
            some = await self._carry([commands[place] for place in places], slot, effort, repeatable=repeatable)
            effort.executed = True
            for place, reply in zip(places, some, strict=True):
                replies[place] = reply
        return replies

    @asynccontextmanager
    async def open_blocking(self) -> AsyncGenerator[BlockingConnection]:
        """See ``Transport``."""
        async with AsyncExitStack() as stack:
            blocking = ClusterBlockingConnection(self, stack)
            await blocking.connect()
            yield blocking

    @asynccontextmanager
    async def open_subscription(
        self, *, channels: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> AsyncGenerator[Subscription]:
        """See ``Transport``. The nodes pass on to each other what is published, so it does not matter where."""
        effort = self.effort()
        async with AsyncExitStack() as stack:
            while True:
                host, node = await self.find(self.home, effort)
                try:
                    opened = node.open_subscription(channels=channels, patterns=patterns)
                    subscription = await stack.enter_async_context(opened)
                    break
                except (Disconnected, *_ELSEWHERE) as error:
                    await self.recover(effort, host, error)
            yield subscription

    async def aclose(self) -> None:
        """See ``Transport``. Safe to repeat."""
        reason, self._closed = "the client was closed", True
        self._map.close(reason)
        for each in self._nodes.values():
            each.close(reason)
        await checkpoint()

    async def _carry(self, commands: Sequence[Command], slot: int, effort: _Effort, *, repeatable: bool) -> list[Reply]:
        """Have commands for one slot executed, by whoever has it, as soon as somebody has."""
        replies: list[Reply] = [None] * len(commands)
        places, asking = list(range(len(commands))), None
        while True:
            host, node = await self.find(slot, effort) if asking is None else (asking, self._node(asking))
            sent = [commands[place] for place in places]
            try:
                some = await _send(node, sent, asking=asking is not None, repeatable=repeatable)
            except Disconnected as error:
                effort.executed = effort.executed or error.maybe_executed
                if error.maybe_executed and not repeatable:
                    self.distrust(host)
                    raise
                asking = await self.recover(effort, host, error)
                continue
            for place, reply in zip(places, some, strict=True):
                replies[place] = reply
            refusal = next((each for each in some if isinstance(each, _ELSEWHERE)), None)
            if refusal is None:
                return replies
            places = _to_repeat(commands, replies)
            if type(refusal) is AskError and any(name_of(commands[place]) in _SCRIPTS for place in places):
                # Where the slot is to be, a script would miss the keys that have not come yet.
                refusal = TryAgainError(str(refusal))
            effort.executed = effort.executed or len(places) < len(replies)
            asking = await self.recover(effort, host, refusal)

    async def find(self, slot: int, effort: _Effort) -> tuple[Host, Multiplexer]:
        """Return the master that has a slot, as soon as there is one."""
        while True:
            try:
                slots = await self._map.get()
            except Disconnected as error:
                if self._closed:
                    raise
                await effort.pause(error, PATIENCE)
                continue
            if (host := slots.owner(slot)) is not None:
                return host, self._node(host)
            slots.fail("it is not whole")
            await effort.pause(ClusterDownError(f"no node of {self.address.redacted} has the slot {slot}"))

    async def recover(self, effort: _Effort, host: Host, error: RedisError) -> Host | None:
        """Do what an answer says that no reply is, or what a lost connection calls for, before the next try.

        Returns:
            Who is to be asked this once, if the map is still right.
        """
        if self._closed:
            raise error
        match error:
            case MovedError():
                self.distrust(host, prefer=_named(error, host))
                if not effort.moved:
                    effort.moved = True
                    return None
            case AskError():
                return _named(error, host)
            case TryAgainError():
                pass
            case _:
                self.distrust(host)
        await effort.pause(error)
        return None

    def effort(self) -> _Effort:
        """Begin to try."""
        return _Effort(self.address.response_timeout)

    def distrust(self, host: Host, *, prefer: Host | None = None) -> None:
        """Ask for the map anew, and whoever was wrong, or is gone, last."""
        if self._map.value is not None:
            self._map.value.fail("it was wrong")
        if host in self._known:
            self._known.remove(host)
            self._known.append(host)
        if prefer is not None:
            self._known.appendleft(prefer)

    async def _fetch_map(self) -> SlotMap:
        """Ask one node after the other where the slots are.

        Raises:
            Disconnected: Nobody answers.
            AuthenticationError: One does not accept the password.
            ResponseError: One is not in a cluster, or may not be asked.
        """
        reason = ""
        for host in list(dict.fromkeys([*self._known, *self.address.hosts])):
            try:
                slots = SlotMap.of(await self._ask(host), host)
            except AuthenticationError:
                raise
            except (OSError, RedisConnectionError) as error:
                reason = f"{host[0]}:{host[1]}: {reason_of(error)}"
            else:
                self._adopt(slots, host)
                return slots
        raise Disconnected(f"no node of {self.address.redacted} answers; the last one, {reason}", maybe_executed=False)

    async def _ask(self, host: Host) -> Reply:
        # A connection of its own: on the shared one the question would wait behind what nobody answers any more.
        with anyio.fail_after(self.address.connect_timeout):
            connection = await Dialer(self.address.at(host), ServerClock()).dial_once()
            try:
                slot = Slot(pack(("CLUSTER", "SLOTS")))
                await connection.exchange(slot)
            finally:
                connection.fail("the node was asked")
        return as_reply(slot.replies[0])

    def _adopt(self, slots: SlotMap, asked: Host) -> None:
        self._known = deque(dict.fromkeys([asked, *slots.nodes]))
        for host in [each for each in self._nodes if each not in slots.masters]:
            # It may be cut off from the others, and would never say that nothing happens there any more.
            self._nodes.pop(host).close("the node is not a master any more")
        for host, node in self._nodes.items():
            node.dialer.clock = self._clock_of(host, slots)

    def _node(self, host: Host) -> Multiplexer:
        if host not in self._nodes:
            slots = self._map.value
            clock = ServerClock() if slots is None else self._clock_of(host, slots)
            self._nodes[host] = Multiplexer(Dialer(self.address.at(host), clock, patience=0.0))
        return self._nodes[host]

    def _clock_of(self, host: Host, slots: SlotMap) -> ServerClock:
        return self.clock if slots.owner(self.home) == host else ServerClock()


@define(eq=False, repr=False)
class ClusterBlockingConnection:
    """See ``BlockingConnection``. It is with the master that has the key of the last command."""

    _cluster: ClusterTransport
    _stack: AsyncExitStack
    _node: Multiplexer | None = field(default=None, init=False)
    _connection: BlockingConnection | None = field(default=None, init=False)
    _leftovers: deque[Reply] = field(factory=deque[Reply], init=False)

    async def connect(self) -> None:
        """Connect to where most commands will go."""
        effort = self._cluster.effort()
        while True:
            host, node = await self._cluster.find(self._cluster.home, effort)
            try:
                await self._at(node)
            except Disconnected as error:
                await self._cluster.recover(effort, host, error)
            else:
                return

    async def execute(self, command: Command) -> Reply:
        """See ``BlockingConnection``.

        Raises:
            ResponseError: The server refused the command.
            Disconnected: The connection was lost; it says whether the server may have executed the command.
        """
        effort, slot = self._cluster.effort(), slot_of(command)
        while True:
            host, node = await self._cluster.find(self._cluster.home if slot is None else slot, effort)
            try:
                return await (await self._at(node)).execute(command)
            except Disconnected as error:
                if error.maybe_executed:
                    self._cluster.distrust(host)
                    raise
                await self._cluster.recover(effort, host, error)
            except _ELSEWHERE as error:
                # Where ASK sends nobody can block: the slot will have moved before long.
                if await self._cluster.recover(effort, host, error) is not None:
                    await effort.pause(error)

    async def _at(self, node: Multiplexer) -> BlockingConnection:
        if self._connection is None or self._node is not node:
            self._keep_leftovers()
            await self._stack.aclose()
            self._connection = await self._stack.enter_async_context(node.open_blocking())
            self._node = node
        return self._connection

    def _keep_leftovers(self) -> None:
        while self._connection is not None and (reply := self._connection.take_leftover()) is not None:
            self._leftovers.append(reply)

    def take_leftover(self) -> Reply:
        """See ``BlockingConnection``."""
        self._keep_leftovers()
        return self._leftovers.popleft() if self._leftovers else None


async def _send(node: Multiplexer, commands: Sequence[Command], *, asking: bool, repeatable: bool) -> list[Reply]:
    """Send commands for one slot; ``asking`` for one that is on its way to this node."""
    if not asking:
        return await node.execute_all(commands, repeatable=repeatable)
    if name_of(commands[0]) == "MULTI":
        _, *replies = await node.execute_all((("ASKING",), *commands), repeatable=repeatable)
        return replies
    asked: list[Command] = [word for each in commands for word in (("ASKING",), each)]
    return (await node.execute_all(asked, repeatable=repeatable))[1::2]


def _to_repeat(commands: Sequence[Command], replies: Sequence[Reply]) -> list[int]:
    """Return the places of the commands that are to be sent again: those that were not executed where they went."""
    if name_of(commands[0]) == "MULTI":
        return list(range(len(commands)))
    # The next server may not know a script that was loaded by this.
    return [
        place
        for place, (command, reply) in enumerate(zip(commands, replies, strict=True))
        if isinstance(reply, _ELSEWHERE) or name_of(command) == "SCRIPT"
    ]


def _named(error: AskError, answered: Host) -> Host:
    """Return the node that a redirection names; without a name it is where the node is that has answered."""
    name, port = cast("Host", cast("Any", error).node_addr)  # redis-py leaves it untyped
    return (name if name not in {"", "?"} else answered[0]), port
