"""XINFO: what a stream, its groups and their consumers look like."""

from __future__ import annotations

from typing import Final

from docket_anyio._redis.memory.errors import NO_SUCH_KEY, Refused
from docket_anyio._redis.memory.keyspace import Command, Keyspace
from docket_anyio._redis.memory.parsing import integer
from docket_anyio._redis.memory.stream import Consumer, Group, Stream, write_id
from docket_anyio._redis.memory.streams import write_entries
from docket_anyio._redis.transport import Reply

_FULL_COUNT: Final = 10


def _find(keys: Keyspace, key: bytes) -> Stream:
    stream = keys.find(key, Stream)
    if stream is None:
        raise Refused(NO_SUCH_KEY)
    return stream


def _head(stream: Stream) -> list[Reply]:
    # The sizes of the radix tree are Redis's own affair; a tree of one node is as good an answer as any.
    return [
        *(b"length", len(stream.ids)),
        *(b"radix-tree-keys", 1 if stream.ids else 0),
        *(b"radix-tree-nodes", 2 if stream.ids else 1),
        *(b"last-generated-id", write_id(stream.last)),
        *(b"max-deleted-entry-id", write_id(stream.highest_deleted)),
        *(b"entries-added", stream.added),
        *(b"recorded-first-entry-id", write_id(stream.first)),
    ]


def _xinfo_stream(keys: Keyspace, args: list[bytes]) -> Reply:
    stream, options = _find(keys, args[0]), args[1:]
    if [word.upper() for word in options[:2]] != [b"FULL", b"COUNT"][: len(options)] or len(options) not in (0, 1, 3):
        raise Refused("ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.")
    count = integer(options[2]) if len(options) == 3 else _FULL_COUNT
    if options:
        return _full(stream, _FULL_COUNT if count < 0 else count or None)
    first = write_entries(stream, stream.ids[:1])
    last = write_entries(stream, stream.ids[-1:])
    return [
        *_head(stream),
        *(b"groups", len(stream.groups)),
        *(b"first-entry", first[0] if first else None),
        *(b"last-entry", last[0] if last else None),
    ]


def _full(stream: Stream, count: int | None) -> Reply:
    return [
        *_head(stream),
        *(b"entries", write_entries(stream, stream.ids[:count])),
        *(b"groups", [_full_group(stream, name, group, count) for name, group in sorted(stream.groups.items())]),
    ]


def _full_group(stream: Stream, name: bytes, group: Group, count: int | None) -> Reply:
    pending: list[Reply] = [
        [write_id(at), group.pending[at].consumer.name, group.pending[at].delivered_at, group.pending[at].deliveries]
        for at in sorted(group.pending)[:count]
    ]
    return [
        *(b"name", name),
        *(b"last-delivered-id", write_id(group.last)),
        *(b"entries-read", group.entries_read),
        *(b"lag", stream.lag(group)),
        *(b"pel-count", len(group.pending)),
        *(b"pending", pending),
        *(b"consumers", [_full_consumer(consumer, count) for _, consumer in sorted(group.consumers.items())]),
    ]


def _full_consumer(consumer: Consumer, count: int | None) -> Reply:
    pending: list[Reply] = [
        [write_id(at), consumer.pending[at].delivered_at, consumer.pending[at].deliveries]
        for at in sorted(consumer.pending)[:count]
    ]
    return [
        *(b"name", consumer.name),
        *(b"seen-time", consumer.seen_at),
        *(b"pel-count", len(consumer.pending)),
        *(b"pending", pending),
    ]


def _xinfo_groups(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = _find(keys, args[0])
    return [
        [
            *(b"name", name),
            *(b"consumers", len(group.consumers)),
            *(b"pending", len(group.pending)),
            *(b"last-delivered-id", write_id(group.last)),
            *(b"entries-read", group.entries_read),
            *(b"lag", stream.lag(group)),
        ]
        for name, group in sorted(stream.groups.items())
    ]


def _xinfo_consumers(keys: Keyspace, args: list[bytes]) -> Reply:
    group = _find(keys, args[0]).groups.get(args[1])
    if group is None:
        raise Refused(
            f"NOGROUP No such consumer group '{args[1].decode(errors='replace')}' "
            f"for key name '{args[0].decode(errors='replace')}'"
        )
    return [
        [
            *(b"name", name),
            *(b"pending", len(consumer.pending)),
            *(b"idle", max(0, keys.now - consumer.seen_at)),
        ]
        for name, consumer in sorted(group.consumers.items())
    ]


COMMANDS: Final[dict[bytes, Command]] = {
    b"XINFO|STREAM": Command(_xinfo_stream, -3),
    b"XINFO|GROUPS": Command(_xinfo_groups, 3),
    b"XINFO|CONSUMERS": Command(_xinfo_consumers, 4),
}
