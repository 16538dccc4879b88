"""Which part of a cluster a command is for, and who has that part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from docket_anyio._redis.commands import name_of
from docket_anyio._redis.hosts import Host
from docket_anyio._redis.transport import Argument, Command, Reply

# Where the first key stands, in words after the name, where that is not 1.
_PLACES: Final[Mapping[str, int]] = {
    **dict.fromkeys("EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO".split(), 3),
    **dict.fromkeys("XGROUP XINFO OBJECT MEMORY BITOP LMPOP ZMPOP SINTERCARD ZINTER ZUNION ZDIFF".split(), 2),
    **dict.fromkeys("BLMPOP BZMPOP".split(), 3),
}
_COUNTED: Final = frozenset("EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO".split())
_AFTER_STREAMS: Final = frozenset({"XREAD", "XREADGROUP"})
_WITHOUT_KEY: Final = frozenset(
    "PING ECHO TIME INFO ROLE CONFIG CLIENT COMMAND CLUSTER ACL SCRIPT FUNCTION LATENCY SLOWLOG MODULE DEBUG MULTI EXEC"
    " DISCARD SCAN KEYS RANDOMKEY DBSIZE FLUSHDB FLUSHALL SWAPDB SAVE BGSAVE BGREWRITEAOF LASTSAVE SHUTDOWN REPLICAOF"
    " FAILOVER WAIT WAITAOF PUBSUB LOLWUT ASKING READONLY READWRITE HELLO AUTH SELECT".split()
)


def slot_of(command: Command) -> int | None:
    """Return the slot of a command's first key, ``None`` where it has none. A channel counts as a key."""
    name = name_of(command)
    if name in _WITHOUT_KEY:
        return None
    place = _place_of_key(name, command)
    return None if place is None or place >= len(command) else slot_of_key(command[place])


def slot_of_key(key: Argument) -> int:
    """Return the slot of a key."""
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


def _place_of_key(name: str, command: Command) -> int | None:
    if name in _AFTER_STREAMS:
        # The two words after GROUP are names of the user's own, whatever they look like.
        first = 4 if name == "XREADGROUP" else 1
        words = range(first, len(command))
        return next((place + 1 for place in words if name_of(command[place : place + 1]) == "STREAMS"), None)
    if name in _COUNTED and (len(command) < 3 or int(command[2]) == 0):
        return None
    return _PLACES.get(name, 1)


@define(eq=False, repr=False)
class SlotMap:
    """Which master has which slot, as one node of the cluster has said."""

    masters: frozenset[Host]
    nodes: Sequence[Host]
    """All who have slots, masters or not."""
    _owners: Sequence[Host | None]
    closed: bool = field(default=False, init=False)
    """It has turned out to be of yesterday."""

    @classmethod
    def of(cls, reply: Reply, asked: Host) -> SlotMap:
        """Read the answer to CLUSTER SLOTS of the node that was asked."""
        owners: list[Host | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        masters: list[Host] = []
        replicas: list[Host] = []
        for part in reply if isinstance(reply, list) else []:
            match part:
                case [int(first), int(last), list(master), *others]:
                    owner = _host(master, asked)
                    owners[first : last + 1] = [owner] * (last + 1 - first)
                    masters.append(owner)
                    replicas += [_host(each, asked) for each in others if isinstance(each, list)]
                case _:
                    raise TypeError(f"CLUSTER SLOTS answered {part!r}")
        return cls(frozenset(masters), list(dict.fromkeys([*masters, *replicas])), owners)

    def owner(self, slot: int) -> Host | None:
        """Return the master that has a slot."""
        return self._owners[slot]

    def fail(self, reason: str) -> None:  # noqa: ARG002 - as ``Shared`` calls it
        """Use it no more."""
        self.closed = True


def _host(node: Sequence[Reply], asked: Host) -> Host:
    match node:
        case [bytes(name), int(port), *_] if name not in {b"", b"?"}:
            return name.decode(), port
        case [_, int(port), *_]:
            # A node that does not know its own name is where it was found.
            return asked[0], port
        case _:
            raise TypeError(f"CLUSTER SLOTS named a node {node!r}")
