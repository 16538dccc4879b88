"""Commands on strings and hashes."""

from __future__ import annotations

from typing import Final

from attrs import define

from docket_anyio._redis.memory.errors import OK, OVERFLOW, SYNTAX, Refused, wrong_arity
from docket_anyio._redis.memory.keyspace import Command, Hash, Keyspace
from docket_anyio._redis.memory.parsing import MAX_INT, MIN_INT, bounded, integer
from docket_anyio._redis.transport import Reply

_UNITS: Final = {b"EX": (1000, False), b"PX": (1, False), b"EXAT": (1000, True), b"PXAT": (1, True)}


@define
class _SetOptions:
    expires_at: int | None = None
    only_if: bytes | None = None
    keep_expiry: bool = False
    answer_old: bool = False


def _expires_at(keys: Keyspace, text: bytes, option: bytes, name: str) -> int:
    unit, absolute = _UNITS[option]
    given = integer(text)
    when = given * unit + (0 if absolute else keys.now)
    if given <= 0 or given * unit > MAX_INT or when > MAX_INT:
        raise Refused(f"ERR invalid expire time in '{name}' command")
    return when


def _set_options(keys: Keyspace, words: list[bytes]) -> _SetOptions:
    options = _SetOptions()
    timed: tuple[bytes, bytes] | None = None
    rest = iter(words)
    for word in rest:
        option = word.upper()
        if option in (b"NX", b"XX") and options.only_if in (None, option):
            options.only_if = option
        elif option == b"GET":
            options.answer_old = True
        elif option == b"KEEPTTL" and timed is None:
            options.keep_expiry = True
        elif option in _UNITS and timed is None and not options.keep_expiry:
            value = next(rest, None)
            if value is None:
                raise Refused(SYNTAX)
            timed = (option, value)
        else:
            raise Refused(SYNTAX)
    if timed is not None:
        options.expires_at = _expires_at(keys, timed[1], timed[0], "set")
    return options


def _put(keys: Keyspace, key: bytes, value: bytes, *, keep_expiry: bool = False) -> None:
    if not keep_expiry:
        keys.expiry.pop(key, None)
    keys.store(key, value)


def _set(keys: Keyspace, args: list[bytes]) -> Reply:
    key, value = args[0], args[1]
    if len(args) == 2:
        _put(keys, key, value)
        return OK
    options = _set_options(keys, args[2:])
    old = keys.string(key) if options.answer_old else None
    if options.only_if is not None and (key in keys.values) != (options.only_if == b"XX"):
        return old
    _put(keys, key, value, keep_expiry=options.keep_expiry)
    if options.expires_at is not None:
        keys.expire(key, options.expires_at)
    return old if options.answer_old else OK


def _setnx(keys: Keyspace, args: list[bytes]) -> Reply:
    if args[0] in keys.values:
        return 0
    _put(keys, args[0], args[1])
    return 1


def _setex(keys: Keyspace, args: list[bytes]) -> Reply:
    when = _expires_at(keys, args[1], b"EX", "setex")
    _put(keys, args[0], args[2])
    keys.expire(args[0], when)
    return OK


def _psetex(keys: Keyspace, args: list[bytes]) -> Reply:
    when = _expires_at(keys, args[1], b"PX", "psetex")
    _put(keys, args[0], args[2])
    keys.expire(args[0], when)
    return OK


def _get(keys: Keyspace, args: list[bytes]) -> Reply:
    return keys.string(args[0])


def _getdel(keys: Keyspace, args: list[bytes]) -> Reply:
    value = keys.string(args[0])
    keys.remove(args[0])
    return value


def _mget(keys: Keyspace, args: list[bytes]) -> Reply:
    values = (keys.values.get(key) for key in args)
    return [value if isinstance(value, bytes) else None for value in values]


def _mset(keys: Keyspace, args: list[bytes]) -> Reply:
    if len(args) % 2:
        raise wrong_arity("mset")
    for key, value in zip(args[::2], args[1::2], strict=True):
        _put(keys, key, value)
    return OK


def _add(keys: Keyspace, key: bytes, amount: int) -> int:
    text = keys.string(key)
    value = 0 if text is None else integer(text)
    if not MIN_INT <= value + amount <= MAX_INT:
        raise Refused(OVERFLOW)
    keys.store(key, b"%d" % (value + amount))
    return value + amount


def _incr(keys: Keyspace, args: list[bytes]) -> Reply:
    return _add(keys, args[0], 1)


def _decr(keys: Keyspace, args: list[bytes]) -> Reply:
    return _add(keys, args[0], -1)


def _incrby(keys: Keyspace, args: list[bytes]) -> Reply:
    return _add(keys, args[0], integer(args[1]))


def _decrby(keys: Keyspace, args: list[bytes]) -> Reply:
    amount = integer(args[1])
    if amount == MIN_INT:
        raise Refused("ERR decrement would overflow")
    return _add(keys, args[0], -amount)


def _strlen(keys: Keyspace, args: list[bytes]) -> Reply:
    return len(keys.string(args[0]) or b"")


def _append(keys: Keyspace, args: list[bytes]) -> Reply:
    value = (keys.string(args[0]) or b"") + args[1]
    keys.store(args[0], value)
    return len(value)


def _getrange(keys: Keyspace, args: list[bytes]) -> Reply:
    start, stop = integer(args[1]), integer(args[2])
    value = keys.string(args[0]) or b""
    if start < 0 and stop < 0 and start > stop:
        return b""
    first, last = bounded(start, max(stop, -len(value)), len(value))
    return value[first:last]


def _hset(keys: Keyspace, args: list[bytes]) -> Reply:
    if len(args) % 2 == 0:
        raise wrong_arity("hset")
    fields = keys.find_or_new(args[0], Hash)
    before = len(fields)
    fields.update(zip(args[1::2], args[2::2], strict=True))
    return len(fields) - before


def _hmset(keys: Keyspace, args: list[bytes]) -> Reply:
    if len(args) % 2 == 0:
        raise wrong_arity("hmset")
    _hset(keys, args)
    return OK


def _hsetnx(keys: Keyspace, args: list[bytes]) -> Reply:
    fields = keys.find_or_new(args[0], Hash)
    if args[1] in fields:
        return 0
    fields[args[1]] = args[2]
    return 1


def _hget(keys: Keyspace, args: list[bytes]) -> Reply:
    fields = keys.find(args[0], Hash)
    return None if fields is None else fields.get(args[1])


def _hmget(keys: Keyspace, args: list[bytes]) -> Reply:
    fields = keys.find(args[0], Hash) or Hash()
    return [fields.get(name) for name in args[1:]]


def _hgetall(keys: Keyspace, args: list[bytes]) -> Reply:
    fields = keys.find(args[0], Hash) or Hash()
    return [part for pair in fields.items() for part in pair]


def _hdel(keys: Keyspace, args: list[bytes]) -> Reply:
    fields = keys.find(args[0], Hash)
    if fields is None:
        return 0
    gone = sum(fields.pop(name, None) is not None for name in args[1:])
    if not fields:
        keys.remove(args[0])
    return gone


def _hexists(keys: Keyspace, args: list[bytes]) -> Reply:
    return int(args[1] in (keys.find(args[0], Hash) or Hash()))


def _hincrby(keys: Keyspace, args: list[bytes]) -> Reply:
    amount = integer(args[2])
    fields = keys.find(args[0], Hash)
    value = integer((fields or Hash()).get(args[1], b"0"), "ERR hash value is not an integer")
    if not MIN_INT <= value + amount <= MAX_INT:
        raise Refused(OVERFLOW)
    keys.find_or_new(args[0], Hash)[args[1]] = b"%d" % (value + amount)
    return value + amount


def _hlen(keys: Keyspace, args: list[bytes]) -> Reply:
    return len(keys.find(args[0], Hash) or ())


def _hkeys(keys: Keyspace, args: list[bytes]) -> Reply:
    return list(keys.find(args[0], Hash) or ())


def _hvals(keys: Keyspace, args: list[bytes]) -> Reply:
    return list((keys.find(args[0], Hash) or Hash()).values())


COMMANDS: Final[dict[bytes, Command]] = {
    b"SET": Command(_set, -3),
    b"SETNX": Command(_setnx, 3),
    b"SETEX": Command(_setex, 4),
    b"PSETEX": Command(_psetex, 4),
    b"GET": Command(_get, 2),
    b"GETDEL": Command(_getdel, 2),
    b"GETRANGE": Command(_getrange, 4),
    b"MGET": Command(_mget, -2),
    b"MSET": Command(_mset, -3),
    b"INCR": Command(_incr, 2),
    b"DECR": Command(_decr, 2),
    b"INCRBY": Command(_incrby, 3),
    b"DECRBY": Command(_decrby, 3),
    b"STRLEN": Command(_strlen, 2),
    b"APPEND": Command(_append, 3),
    b"HSET": Command(_hset, -4),
    b"HMSET": Command(_hmset, -4),
    b"HSETNX": Command(_hsetnx, 4),
    b"HGET": Command(_hget, 3),
    b"HMGET": Command(_hmget, -3),
    b"HGETALL": Command(_hgetall, 2),
    b"HDEL": Command(_hdel, -3),
    b"HEXISTS": Command(_hexists, 3),
    b"HINCRBY": Command(_hincrby, 4),
    b"HLEN": Command(_hlen, 2),
    b"HKEYS": Command(_hkeys, 2),
    b"HVALS": Command(_hvals, 2),
}
