"""Commands on consumer groups and on what they have pending."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from docket_anyio._redis.memory.errors import OK, SYNTAX, Refused
from docket_anyio._redis.memory.keyspace import Command, Keyspace
from docket_anyio._redis.memory.parsing import integer
from docket_anyio._redis.memory.stream import Consumer, Group, Pending, Stream, write_id
from docket_anyio._redis.memory.stream_reads import consumer_of
from docket_anyio._redis.memory.streams import read_end, read_id, read_start, write_entries
from docket_anyio._redis.transport import Reply

_MUST_EXIST: Final = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option "
    "to create an empty stream automatically."
)


def _find_group(keys: Keyspace, key: bytes, name: bytes) -> tuple[Stream, Group]:
    stream = keys.find(key, Stream)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise Refused(
            f"NOGROUP No such key '{key.decode(errors='replace')}' or consumer group '{name.decode(errors='replace')}'"
        )
    return stream, group


def _existing_group(keys: Keyspace, key: bytes, name: bytes) -> Group:
    """Return a group for XGROUP, whose refusals have words of their own."""
    group = _existing_stream(keys, key).groups.get(name)
    if group is None:
        raise Refused(
            f"NOGROUP No such consumer group '{name.decode(errors='replace')}' "
            f"for key name '{key.decode(errors='replace')}'"
        )
    return group


def _existing_stream(keys: Keyspace, key: bytes) -> Stream:
    stream = keys.find(key, Stream)
    if stream is None:
        raise Refused(_MUST_EXIST)
    return stream


@define
class _GroupOptions:
    make: bool = False
    entries_read: int | None = None


def _group_options(words: list[bytes], *, may_make: bool) -> _GroupOptions:
    options, at = _GroupOptions(), 0
    while at < len(words):
        word = words[at].upper()
        if word == b"MKSTREAM" and may_make:
            options.make = True
            at += 1
        elif word == b"ENTRIESREAD" and at + 1 < len(words):
            read = integer(words[at + 1])
            if read < -1:
                raise Refused("ERR value for ENTRIESREAD must be positive or -1")
            options.entries_read = None if read == -1 else read
            at += 2
        else:
            name = "CREATE" if may_make else "SETID"
            raise Refused(f"ERR unknown subcommand or wrong number of arguments for '{name}'. Try XGROUP HELP.")
    return options


def _xgroup_create(keys: Keyspace, args: list[bytes]) -> Reply:
    options = _group_options(args[3:], may_make=True)
    stream = keys.find(args[0], Stream) if options.make else _existing_stream(keys, args[0])
    last = (0 if stream is None else stream.last) if args[2] == b"$" else read_id(args[2])
    if stream is None:
        stream = keys.find_or_new(args[0], Stream)
        keys.touched(args[0])
    if args[1] in stream.groups:
        raise Refused("BUSYGROUP Consumer Group name already exists")
    stream.groups[args[1]] = Group(last, options.entries_read)
    return OK


def _xgroup_setid(keys: Keyspace, args: list[bytes]) -> Reply:
    options = _group_options(args[3:], may_make=False)
    group = _existing_group(keys, args[0], args[1])
    group.last = _existing_stream(keys, args[0]).last if args[2] == b"$" else read_id(args[2])
    group.entries_read = options.entries_read
    return OK


def _xgroup_destroy(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = _existing_stream(keys, args[0])
    if stream.groups.pop(args[1], None) is None:
        return 0
    keys.touched(args[0])
    return 1


def _xgroup_createconsumer(keys: Keyspace, args: list[bytes]) -> Reply:
    group = _existing_group(keys, args[0], args[1])
    if args[2] in group.consumers:
        return 0
    group.consumers[args[2]] = Consumer(args[2], keys.now)
    return 1


def _xgroup_delconsumer(keys: Keyspace, args: list[bytes]) -> Reply:
    group = _existing_group(keys, args[0], args[1])
    consumer = group.consumers.pop(args[2], None)
    if consumer is None:
        return 0
    for identifier in consumer.pending:
        del group.pending[identifier]
    return len(consumer.pending)


def _xack(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.find(args[0], Stream)
    group = None if stream is None else stream.groups.get(args[1])
    if group is None:
        return 0
    ids = [read_id(text) for text in args[2:]]
    return sum(group.take_back(identifier) for identifier in ids)


def _xpending(keys: Keyspace, args: list[bytes]) -> Reply:
    if len(args) == 2:
        _, group = _find_group(keys, args[0], args[1])
        return _pending_summary(group)
    words, idle = args[2:], 0
    if not 3 <= len(words) <= 6:
        raise Refused(SYNTAX)
    if words[0].upper() == b"IDLE":
        idle = integer(words[1])
        words = words[2:]
        if len(words) < 3:
            raise Refused(SYNTAX)
    count = max(0, integer(words[2]))
    low, high = read_start(words[0]), read_end(words[1])
    _, group = _find_group(keys, args[0], args[1])
    pending = group.pending
    if len(words) > 3:
        consumer = group.consumers.get(words[3])
        pending = {} if consumer is None else consumer.pending
    found: list[Reply] = []
    # Asking for one of many is what each start of a run does.
    for identifier in sorted(pending.keys() & {low} if low == high else pending):
        if len(found) >= count:
            break
        entry = pending[identifier]
        age = max(0, keys.now - entry.delivered_at)
        if low <= identifier <= high and age >= idle:
            found.append([write_id(identifier), entry.consumer.name, age, entry.deliveries])
    return found


def _pending_summary(group: Group) -> Reply:
    if not group.pending:
        return [0, None, None, None]
    busy: list[Reply] = [
        [name, b"%d" % len(consumer.pending)] for name, consumer in sorted(group.consumers.items()) if consumer.pending
    ]
    return [len(group.pending), write_id(min(group.pending)), write_id(max(group.pending)), busy]


@define
class _Claim:
    """What XCLAIM asks for."""

    minimum_idle: int
    ids: list[int] = field(factory=list[int])
    delivered_at: int = 0
    deliveries: int | None = None
    last: int = 0
    force: bool = False
    only_ids: bool = False


def _read_claim(keys: Keyspace, args: list[bytes]) -> _Claim:
    wanted = _Claim(max(0, integer(args[3], "ERR Invalid min-idle-time argument for XCLAIM")), delivered_at=keys.now)
    at = 4
    while at < len(args):
        try:
            wanted.ids.append(read_id(args[at]))
        except Refused:
            break
        at += 1
    while at < len(args):
        option, value = args[at].upper(), args[at + 1] if at + 1 < len(args) else None
        if option == b"FORCE":
            wanted.force = True
        elif option == b"JUSTID":
            wanted.only_ids = True
        elif value is not None and option in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID"):
            at += 1
            _read_claim_value(wanted, option, value, keys.now)
        else:
            raise Refused(f"ERR Unrecognized XCLAIM option '{args[at].decode(errors='replace')}'")
        at += 1
    if not 0 <= wanted.delivered_at <= keys.now:
        wanted.delivered_at = keys.now
    return wanted


def _read_claim_value(wanted: _Claim, option: bytes, value: bytes, now: int) -> None:
    if option == b"LASTID":
        wanted.last = read_id(value)
        return
    given = integer(value, f"ERR Invalid {option.decode()} option argument for XCLAIM")
    if option == b"IDLE":
        wanted.delivered_at = now - given
    elif option == b"TIME":
        wanted.delivered_at = given
    else:
        wanted.deliveries = given if given >= 0 else None


def _move(identifier: int, entry: Pending, consumer: Consumer) -> None:
    if entry.consumer is not consumer:
        del entry.consumer.pending[identifier]
        entry.consumer = consumer
        consumer.pending[identifier] = entry


def _xclaim(keys: Keyspace, args: list[bytes]) -> Reply:
    stream, group = _find_group(keys, args[0], args[1])
    wanted = _read_claim(keys, args)
    group.last = max(group.last, wanted.last)
    claimed: list[int] = []
    for identifier in wanted.ids:
        entry = group.pending.get(identifier)
        if identifier not in stream.entries:
            # Nobody could read it any more, so it's not pending either.
            group.take_back(identifier)
            continue
        if entry is None:
            if not wanted.force:
                continue
        elif keys.now - entry.delivered_at < wanted.minimum_idle:
            continue
        # A claim that claims nothing makes no consumer.
        consumer = consumer_of(group, args[2], keys.now)
        if entry is None:
            entry = Pending(consumer, wanted.delivered_at)
            group.hand_out(identifier, entry)
        _move(identifier, entry, consumer)
        entry.delivered_at = wanted.delivered_at
        if wanted.deliveries is not None:
            entry.deliveries = wanted.deliveries
        elif not wanted.only_ids:
            entry.deliveries += 1
        claimed.append(identifier)
    return [write_id(identifier) for identifier in claimed] if wanted.only_ids else write_entries(stream, claimed)


def _xautoclaim(keys: Keyspace, args: list[bytes]) -> Reply:
    minimum_idle = max(0, integer(args[3], "ERR Invalid min-idle-time argument for XAUTOCLAIM"))
    start, count, only_ids, at = read_start(args[4]), 100, False, 5
    while at < len(args):
        option = args[at].upper()
        if option == b"COUNT" and at + 1 < len(args):
            count = integer(args[at + 1], "ERR COUNT must be > 0")
            if not 0 < count < 2**63 // 16:
                raise Refused("ERR COUNT must be > 0")
            at += 1
        elif option == b"JUSTID":
            only_ids = True
        else:
            raise Refused(SYNTAX)
        at += 1
    stream, group = _find_group(keys, args[0], args[1])
    # Redis looks at ten times as many entries as it may claim, then leaves the rest to the next call.
    looks, claimed, deleted, cursor = count * 10, list[int](), list[int](), 0
    for identifier in sorted(identifier for identifier in group.pending if identifier >= start):
        if not looks or not count:
            cursor = identifier
            break
        looks -= 1
        entry = group.pending[identifier]
        if identifier not in stream.entries:
            group.take_back(identifier)
            deleted.append(identifier)
            count -= 1
        elif keys.now - entry.delivered_at >= minimum_idle:
            _move(identifier, entry, consumer_of(group, args[2], keys.now))
            entry.delivered_at = keys.now
            entry.deliveries += not only_ids
            claimed.append(identifier)
            count -= 1
    found = [write_id(each) for each in claimed] if only_ids else write_entries(stream, claimed)
    return [write_id(cursor), list[Reply](found), [write_id(each) for each in deleted]]


COMMANDS: Final[dict[bytes, Command]] = {
    b"XACK": Command(_xack, -4),
    b"XPENDING": Command(_xpending, -3),
    b"XCLAIM": Command(_xclaim, -6),
    b"XAUTOCLAIM": Command(_xautoclaim, -6),
    b"XGROUP|CREATE": Command(_xgroup_create, -5),
    b"XGROUP|SETID": Command(_xgroup_setid, -5),
    b"XGROUP|DESTROY": Command(_xgroup_destroy, 4),
    b"XGROUP|CREATECONSUMER": Command(_xgroup_createconsumer, 5),
    b"XGROUP|DELCONSUMER": Command(_xgroup_delconsumer, 5),
}
