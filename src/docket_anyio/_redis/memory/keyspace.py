"""The keys of the server: their values, when they expire, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias, TypeVar

from attrs import define, field, frozen

from docket_anyio._clock import ServerClock
from docket_anyio._redis.memory.errors import WRONG_TYPE, Refused
from docket_anyio._redis.memory.sorted_set import SortedSet
from docket_anyio._redis.memory.stream import Stream
from docket_anyio._redis.transport import Reply

_SLACK: Final = 64


class Hash(dict[bytes, bytes]):
    """Values by field."""


class Set(set[bytes]):
    """Members without order."""


class List(list[bytes]):
    """Items in order."""


Value: TypeAlias = bytes | Hash | Set | List | SortedSet | Stream
V = TypeVar("V", Hash, Set, List, SortedSet, Stream)


@define(eq=False)
class Keyspace:
    """Values by key.

    The time stands still during a command, a transaction and a script, and what has expired is gone before the first
    of them looks: so no command needs to think of expiry.
    """

    clock: ServerClock
    now: int = field(default=0, init=False)
    in_script: bool = field(default=False, init=False)
    values: dict[bytes, Value] = field(factory=dict[bytes, Value], init=False)
    expiry: dict[bytes, int] = field(factory=dict[bytes, int], init=False)
    awaited: Collection[bytes] = field(factory=tuple[bytes, ...])
    """The keys that somebody is blocked on. Only these are ever noted in ``ready``."""
    ready: dict[bytes, None] = field(factory=dict[bytes, None], init=False)
    _next_to_expire: list[tuple[int, bytes]] = field(factory=list[tuple[int, bytes]], init=False)

    def begin(self) -> None:
        """Take the time for the command to come, and drop what has expired by then."""
        self.now = int(self.clock.timestamp() * 1000)
        while self._next_to_expire and self._next_to_expire[0][0] < self.now:
            when, key = heappop(self._next_to_expire)
            if self.expiry.get(key) == when:
                self.remove(key)

    def store(self, key: bytes, value: Value) -> None:
        """Put a value at a key, which keeps its expiry."""
        self.values[key] = value
        self.touched(key)

    def remove(self, key: bytes) -> bool:
        """Remove a key and tell whether it was there."""
        if self.values.pop(key, None) is None:
            return False
        self.expiry.pop(key, None)
        self.touched(key)
        return True

    def touched(self, key: bytes) -> None:
        """Note that whoever waits for the key should look again."""
        if key in self.awaited:
            self.ready[key] = None

    def expire(self, key: bytes, when: int) -> None:
        """Let a key expire at a time in milliseconds."""
        self.expiry[key] = when
        heappush(self._next_to_expire, (when, key))
        # An expiry that is moved leaves its old entry behind: a lease renewed for days must not grow the heap.
        if len(self._next_to_expire) > 2 * len(self.expiry) + _SLACK:
            self._next_to_expire = [(at, name) for name, at in self.expiry.items()]
            heapify(self._next_to_expire)

    def clear(self) -> None:
        """Remove every key."""
        for key in list(self.values):
            self.remove(key)
        self._next_to_expire.clear()

    def string(self, key: bytes) -> bytes | None:
        """Return the string at a key."""
        value = self.values.get(key)
        if value is None or isinstance(value, bytes):
            return value
        raise Refused(WRONG_TYPE)

    def find(self, key: bytes, kind: type[V]) -> V | None:
        """Return the value at a key, which must be of that kind."""
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        raise Refused(WRONG_TYPE)

    def find_or_new(self, key: bytes, kind: type[V]) -> V:
        """Return the value at a key, or store a new one of that kind."""
        value = self.find(key, kind)
        if value is None:
            value = kind()
            self.values[key] = value
        return value


@frozen
class Command:
    """How a command is run, and how many words it may have, itself included; at least that many if negative."""

    run: Callable[[Keyspace, list[bytes]], Reply | Wait]
    arity: int

    def takes(self, words: int) -> bool:
        """Tell whether the number of words is right."""
        return words == self.arity if self.arity >= 0 else words >= -self.arity


@frozen
class Wait:
    """The answer of a command that wants to block: where to look when which key was touched."""

    looks: Mapping[bytes, Callable[[], Reply]]
    milliseconds: int
