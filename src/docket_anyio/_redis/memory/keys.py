"""Commands that ask about keys, whatever they hold: which there are, and until when."""

from __future__ import annotations

from typing import Final

from docket_anyio._redis.memory.errors import NO_SUCH_KEY, OK, SYNTAX, Refused, Status
from docket_anyio._redis.memory.keyspace import Command, Hash, Keyspace, List, Set, Value
from docket_anyio._redis.memory.parsing import MAX_INT, MIN_INT, glob, integer
from docket_anyio._redis.memory.sorted_set import SortedSet
from docket_anyio._redis.memory.stream import Stream
from docket_anyio._redis.transport import Reply

_TYPES: Final[dict[type, Status]] = {
    bytes: Status(b"string"),
    Hash: Status(b"hash"),
    Set: Status(b"set"),
    List: Status(b"list"),
    SortedSet: Status(b"zset"),
    Stream: Status(b"stream"),
}
_NONE: Final = Status(b"none")


def type_name(value: Value | None) -> Status:
    """Return what TYPE answers for a value."""
    return _NONE if value is None else _TYPES[type(value)]


def _type(keys: Keyspace, args: list[bytes]) -> Reply:
    return type_name(keys.values.get(args[0]))


def _exists(keys: Keyspace, args: list[bytes]) -> Reply:
    return sum(key in keys.values for key in args)


def _delete(keys: Keyspace, args: list[bytes]) -> Reply:
    return sum(keys.remove(key) for key in args)


def _expire_flags(words: list[bytes]) -> set[bytes]:
    flags = {word.upper() for word in words}
    for word, flag in ((word, word.upper()) for word in words):
        if flag not in (b"NX", b"XX", b"GT", b"LT"):
            raise Refused(f"ERR Unsupported option {word.decode(errors='replace')}")
    if b"NX" in flags and len(flags) > 1:
        raise Refused("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= flags:
        raise Refused("ERR GT and LT options at the same time are not compatible")
    return flags


def _may_expire(flags: set[bytes], before: int | None, when: int) -> bool:
    if (b"NX" in flags and before is not None) or (b"XX" in flags and before is None):
        return False
    # A key without an expiry counts as one that expires never.
    if b"GT" in flags and (before is None or when <= before):
        return False
    return not (b"LT" in flags and before is not None and when >= before)


def _set_expiry(keys: Keyspace, args: list[bytes], *, unit: int, absolute: bool, name: str) -> Reply:
    flags = _expire_flags(args[2:])
    when = integer(args[1]) * unit + (0 if absolute else keys.now)
    if not MIN_INT <= when <= MAX_INT or not MIN_INT <= integer(args[1]) * unit <= MAX_INT:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    key = args[0]
    if key not in keys.values or not _may_expire(flags, keys.expiry.get(key), when):
        return 0
    if when <= keys.now:
        keys.remove(key)
    else:
        keys.expire(key, when)
    return 1


def _expire(keys: Keyspace, args: list[bytes]) -> Reply:
    return _set_expiry(keys, args, unit=1000, absolute=False, name="expire")


def _pexpire(keys: Keyspace, args: list[bytes]) -> Reply:
    return _set_expiry(keys, args, unit=1, absolute=False, name="pexpire")


def _expireat(keys: Keyspace, args: list[bytes]) -> Reply:
    return _set_expiry(keys, args, unit=1000, absolute=True, name="expireat")


def _pexpireat(keys: Keyspace, args: list[bytes]) -> Reply:
    return _set_expiry(keys, args, unit=1, absolute=True, name="pexpireat")


def _left(keys: Keyspace, key: bytes) -> int:
    if key not in keys.values:
        return -2
    when = keys.expiry.get(key)
    return -1 if when is None else max(0, when - keys.now)


def _pttl(keys: Keyspace, args: list[bytes]) -> Reply:
    return _left(keys, args[0])


def _ttl(keys: Keyspace, args: list[bytes]) -> Reply:
    left = _left(keys, args[0])
    return left if left < 0 else (left + 500) // 1000


def _pexpiretime(keys: Keyspace, args: list[bytes]) -> Reply:
    return keys.expiry.get(args[0], -1) if args[0] in keys.values else -2


def _expiretime(keys: Keyspace, args: list[bytes]) -> Reply:
    when = keys.expiry.get(args[0], -1) if args[0] in keys.values else -2
    return when if when < 0 else (when + 500) // 1000


def _persist(keys: Keyspace, args: list[bytes]) -> Reply:
    return int(keys.expiry.pop(args[0], None) is not None)


def _rename(keys: Keyspace, args: list[bytes]) -> Reply:
    source, target = args
    value = keys.values.get(source)
    if value is None:
        raise Refused(NO_SUCH_KEY)
    if source != target:
        when = keys.expiry.get(source)
        keys.remove(source)
        keys.remove(target)
        keys.store(target, value)
        if when is not None:
            keys.expire(target, when)
    return OK


def _keys(keys: Keyspace, args: list[bytes]) -> Reply:
    matches = glob(args[0]).match
    return [key for key in keys.values if matches(key)]


def _scan(keys: Keyspace, args: list[bytes]) -> Reply:
    """Reply with everything at once, which the contract of SCAN allows, so that no cursor has to outlive a change."""
    if not args[0].isdigit():
        raise Refused("ERR invalid cursor")
    found = list(keys.values)
    options = args[1:]
    for option, value in zip(options[::2], options[1::2], strict=False):
        match option.upper():
            case b"MATCH":
                matches = glob(value).match
                found = [key for key in found if matches(key)]
            case b"TYPE":
                found = [key for key in found if type_name(keys.values[key]) == value.lower()]
            case b"COUNT":
                if integer(value) < 1:
                    raise Refused(SYNTAX)
            case _:
                raise Refused(SYNTAX)
    if len(options) % 2:
        raise Refused(SYNTAX)
    return [b"0", list[Reply](found)]


def _dbsize(keys: Keyspace, _: list[bytes]) -> Reply:
    return len(keys.values)


def _flush(keys: Keyspace, args: list[bytes]) -> Reply:
    if len(args) > 1 or (args and args[0].upper() not in (b"ASYNC", b"SYNC")):
        raise Refused(SYNTAX)
    keys.clear()
    return OK


def _time(keys: Keyspace, _: list[bytes]) -> Reply:
    microseconds = int(keys.clock.timestamp() * 1_000_000)
    return [b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)]


COMMANDS: Final[dict[bytes, Command]] = {
    b"TYPE": Command(_type, 2),
    b"EXISTS": Command(_exists, -2),
    b"DEL": Command(_delete, -2),
    b"UNLINK": Command(_delete, -2),
    b"TOUCH": Command(_exists, -2),
    b"EXPIRE": Command(_expire, -3),
    b"PEXPIRE": Command(_pexpire, -3),
    b"EXPIREAT": Command(_expireat, -3),
    b"PEXPIREAT": Command(_pexpireat, -3),
    b"TTL": Command(_ttl, 2),
    b"PTTL": Command(_pttl, 2),
    b"EXPIRETIME": Command(_expiretime, 2),
    b"PEXPIRETIME": Command(_pexpiretime, 2),
    b"PERSIST": Command(_persist, 2),
    b"RENAME": Command(_rename, 3),
    b"KEYS": Command(_keys, 2),
    b"SCAN": Command(_scan, -2),
    b"DBSIZE": Command(_dbsize, 1),
    b"FLUSHALL": Command(_flush, -1),
    b"FLUSHDB": Command(_flush, -1),
    b"TIME": Command(_time, 1),
}
