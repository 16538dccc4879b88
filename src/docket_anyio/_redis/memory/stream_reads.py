"""XREAD and XREADGROUP, and what they wait for."""

from __future__ import annotations

from functools import partial
from typing import Final

from attrs import define, field

from docket_anyio._redis.memory.errors import SYNTAX, Refused
from docket_anyio._redis.memory.keyspace import Command, Keyspace, Wait
from docket_anyio._redis.memory.parsing import integer
from docket_anyio._redis.memory.stream import MAX_ID, Consumer, Group, Pending, Stream, write_id
from docket_anyio._redis.memory.streams import read_id, write_entries
from docket_anyio._redis.transport import Reply

_STREAM_GONE: Final = "UNBLOCKED the stream key no longer exists"
_GROUP_GONE: Final = "NOGROUP the consumer group this client was blocked on no longer exists"
_NO_GROUP_GIVEN: Final = (
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
)
_DOLLAR_IN_GROUP: Final = (
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "
    "specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
)


@define
class _Read:
    """What a read asks for."""

    count: int | None = None
    block: int | None = None
    group: bytes | None = None
    consumer: bytes = b""
    acknowledged: bool = False
    streams: list[tuple[bytes, bytes]] = field(factory=list[tuple[bytes, bytes]])


def _read_options(keys: Keyspace, args: list[bytes], name: str) -> _Read:
    wanted, at = _Read(), 0
    while at < len(args):
        option, more = args[at].upper(), len(args) - at - 1
        if option == b"BLOCK" and more:
            if keys.in_script:
                raise Refused(f"ERR {name} command is not allowed with BLOCK option from scripts")
            wanted.block = integer(args[at + 1], "ERR timeout is not an integer or out of range")
            if wanted.block < 0:
                raise Refused("ERR timeout is negative")
            at += 2
        elif option == b"COUNT" and more:
            wanted.count = max(0, integer(args[at + 1])) or None
            at += 2
        elif option == b"STREAMS" and more:
            words = args[at + 1 :]
            if len(words) % 2:
                raise Refused(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
                )
            wanted.streams = list(zip(words[: len(words) // 2], words[len(words) // 2 :], strict=True))
            break
        elif option == b"GROUP" and more >= 2:
            if name != "XREADGROUP":
                raise Refused("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
            wanted.group, wanted.consumer = args[at + 1], args[at + 2]
            at += 3
        elif option == b"NOACK":
            if name != "XREADGROUP":
                raise Refused("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
            wanted.acknowledged = True
            at += 1
        else:
            raise Refused(SYNTAX)
    if not wanted.streams:
        raise Refused(SYNTAX)
    if name == "XREADGROUP" and wanted.group is None:
        raise Refused("ERR Missing GROUP option for XREADGROUP")
    return wanted


def _look(wanted: _Read, streams: list[tuple[bytes, partial[Reply]]]) -> Reply | Wait:
    """Reply from every stream that has something; with none of them wait, where that was asked for."""
    found: list[Reply] = []
    for key, look in streams:
        entries = look()
        if entries is not None:
            found.append([key, entries])
    if found or wanted.block is None:
        return found or None
    return Wait({key: partial(look, woken=True) for key, look in streams}, wanted.block)


def _newer(keys: Keyspace, key: bytes, after: int, count: int | None, *, woken: bool = False) -> Reply:
    stream = keys.values.get(key)
    if not isinstance(stream, Stream) or _newest(stream, woken=woken) <= after:
        return None
    return write_entries(stream, stream.between(after + 1, MAX_ID, count))


def _newest(stream: Stream, *, woken: bool) -> int:
    """Return the id of the newest entry; for a client that was blocked, also of one that is deleted again.

    So Redis wakes it with no entries at all when one was added and deleted in the same transaction.
    """
    if woken:
        return stream.last
    return stream.ids[-1] if stream.ids else 0


def _xread(keys: Keyspace, args: list[bytes]) -> Reply | Wait:
    wanted = _read_options(keys, args, "XREAD")
    looks: list[tuple[bytes, partial[Reply]]] = []
    for key, text in wanted.streams:
        stream = keys.find(key, Stream)
        if text == b">":
            raise Refused(_NO_GROUP_GIVEN)
        if text == b"$":
            after = 0 if stream is None else stream.last
        else:
            after = read_id(text)
        looks.append((key, partial(_newer, keys, key, after, wanted.count)))
    return _look(wanted, looks)


def consumer_of(group: Group, name: bytes, now: int) -> Consumer:
    """Return a consumer of a group, which is made on its first use."""
    consumer = group.consumers.get(name)
    if consumer is None:
        consumer = group.consumers[name] = Consumer(name, now)
    consumer.seen_at = now
    return consumer


def _read_group(keys: Keyspace, key: bytes, wanted: _Read) -> tuple[Stream, Group]:
    """Return what is read from, which may have gone while the client was blocked."""
    stream = keys.values.get(key)
    if not isinstance(stream, Stream):
        raise Refused(_STREAM_GONE)
    group = stream.groups.get(wanted.group or b"")
    if group is None:
        raise Refused(_GROUP_GONE)
    return stream, group


def _undelivered(keys: Keyspace, key: bytes, wanted: _Read, *, woken: bool = False) -> Reply:
    """Hand out entries that nobody of the group was given, or return ``None``."""
    stream, group = _read_group(keys, key, wanted)
    if _newest(stream, woken=woken) <= group.last:
        return None
    consumer = consumer_of(group, wanted.consumer, keys.now)
    ids = stream.between(group.last + 1, MAX_ID, wanted.count)
    for identifier in ids:
        stream.advance(group, identifier)
        if not wanted.acknowledged:
            group.hand_out(identifier, Pending(consumer, keys.now))
    return write_entries(stream, ids)


def _history(keys: Keyspace, key: bytes, after: int, wanted: _Read) -> Reply:
    """Return what the consumer has pending after an id; a deleted entry without its fields."""
    stream, group = _read_group(keys, key, wanted)
    consumer = consumer_of(group, wanted.consumer, keys.now)
    found: list[Reply] = []
    for identifier in sorted(identifier for identifier in consumer.pending if identifier > after)[: wanted.count]:
        fields = stream.entries.get(identifier)
        if fields is not None:
            entry = consumer.pending[identifier]
            entry.delivered_at = keys.now
            entry.deliveries += 1
        found.append([write_id(identifier), None if fields is None else list[Reply](fields)])
    return found


def _xreadgroup(keys: Keyspace, args: list[bytes]) -> Reply | Wait:
    wanted = _read_options(keys, args, "XREADGROUP")
    looks: list[tuple[bytes, partial[Reply]]] = []
    for key, text in wanted.streams:
        stream = keys.find(key, Stream)
        if stream is None or wanted.group not in stream.groups:
            raise Refused(
                f"NOGROUP No such key '{key.decode(errors='replace')}' or consumer group "
                f"'{(wanted.group or b'').decode(errors='replace')}' in XREADGROUP with GROUP option"
            )
        if text == b"$":
            raise Refused(_DOLLAR_IN_GROUP)
        if text == b">":
            looks.append((key, partial(_undelivered, keys, key, wanted)))
        else:
            looks.append((key, partial(_history, keys, key, read_id(text), wanted)))
    return _look(wanted, looks)


COMMANDS: Final[dict[bytes, Command]] = {
    b"XREAD": Command(_xread, -4),
    b"XREADGROUP": Command(_xreadgroup, -7),
}
