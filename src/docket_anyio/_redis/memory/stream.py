"""A stream with its consumer groups, as values: entries, what was delivered to whom, what is still pending."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from attrs import define, field

# An id is one number, its milliseconds above its sequence number: compared, hashed and stepped as fast as can be.
SEQUENCE_BITS: Final = 64
MAX_PART: Final = 2**64 - 1
MAX_ID: Final = 2**128 - 1


def write_id(identifier: int) -> bytes:
    """Write an id as ``milliseconds-sequence``."""
    return b"%d-%d" % (identifier >> SEQUENCE_BITS, identifier & MAX_PART)


@define(eq=False)
class Consumer:
    """One reader of a group, and what it has not acknowledged."""

    name: bytes
    seen_at: int
    pending: dict[int, Pending] = field(factory=dict[int, "Pending"], init=False)


@define(eq=False)
class Pending:
    """An entry in a consumer's hands."""

    consumer: Consumer
    delivered_at: int
    deliveries: int = 1


@define(eq=False)
class Group:
    """A consumer group. ``entries_read`` is ``None`` where that can't be known."""

    last: int
    entries_read: int | None
    pending: dict[int, Pending] = field(factory=dict[int, Pending], init=False)
    consumers: dict[bytes, Consumer] = field(factory=dict[bytes, Consumer], init=False)

    def hand_out(self, identifier: int, entry: Pending) -> None:
        """Record that an entry is in the hands of a consumer."""
        self.take_back(identifier)
        self.pending[identifier] = entry
        entry.consumer.pending[identifier] = entry

    def take_back(self, identifier: int) -> bool:
        """Forget a pending entry and tell whether it was pending."""
        entry = self.pending.pop(identifier, None)
        if entry is None:
            return False
        del entry.consumer.pending[identifier]
        return True


@define(eq=False)
class Stream:
    """Entries by id, in order."""

    ids: list[int] = field(factory=list[int], init=False)
    entries: dict[int, list[bytes]] = field(factory=dict[int, list[bytes]], init=False)
    last: int = field(default=0, init=False)
    added: int = field(default=0, init=False)
    highest_deleted: int = field(default=0, init=False)
    groups: dict[bytes, Group] = field(factory=dict[bytes, Group], init=False)

    @property
    def first(self) -> int:
        """The id of the first entry, or 0."""
        return self.ids[0] if self.ids else 0

    def append(self, identifier: int, fields: list[bytes]) -> None:
        """Add an entry after all others."""
        self.ids.append(identifier)
        self.entries[identifier] = fields
        self.last = identifier
        self.added += 1

    def delete(self, identifier: int) -> bool:
        """Delete an entry and tell whether it was there."""
        if self.entries.pop(identifier, None) is None:
            return False
        del self.ids[bisect_left(self.ids, identifier)]
        self.highest_deleted = max(self.highest_deleted, identifier)
        return True

    def trim(self, count: int) -> int:
        """Drop that many of the oldest entries and return how many there were to drop."""
        gone = self.ids[:count]
        del self.ids[:count]
        for identifier in gone:
            del self.entries[identifier]
        return len(gone)

    def between(self, low: int, high: int, count: int | None = None, *, backwards: bool = False) -> list[int]:
        """Return the ids from one to another, both included, at most ``count``."""
        start, stop = bisect_left(self.ids, low), bisect_right(self.ids, high)
        if count is not None and stop - start > count:
            start, stop = (stop - count, stop) if backwards else (start, start + count)
        found = self.ids[start:stop]
        return found[::-1] if backwards else found

    def advance(self, group: Group, identifier: int) -> None:
        """Note that the group was given its next entry."""
        if group.entries_read is not None and not self._deleted_from(identifier):
            group.entries_read += 1
        else:
            group.entries_read = self._position(identifier)
        group.last = identifier

    def lag(self, group: Group) -> int | None:
        """Return how many entries the group has not been given, or ``None`` where that can't be known."""
        if not self.added:
            return 0
        read = group.entries_read
        if read is None or self._deleted_from(group.last):
            read = self._position(group.last)
        return None if read is None else self.added - read

    def _deleted_from(self, identifier: int) -> bool:
        """Tell whether entries were deleted from an id on, other than before the first that is left."""
        return bool(self.ids) and self.highest_deleted >= max(identifier, self.first)

    def _position(self, identifier: int) -> int | None:
        """Return how many entries were ever added up to an id, or ``None`` where deletions hide it."""
        if not self.ids and identifier < self.last:
            return self.added
        if identifier >= self.last:
            return self.added if identifier == self.last else None
        if not self.highest_deleted or self.highest_deleted < self.first:
            if identifier < self.first:
                return self.added - len(self.ids)
            if identifier == self.first:
                return self.added - len(self.ids) + 1
        return None
