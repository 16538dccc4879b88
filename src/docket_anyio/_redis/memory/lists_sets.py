"""Commands on lists and sets."""

from __future__ import annotations

from typing import Final

from docket_anyio._redis.memory.errors import OK, Refused, wrong_arity
from docket_anyio._redis.memory.keyspace import Command, Keyspace, List, Set
from docket_anyio._redis.memory.parsing import bounded, integer
from docket_anyio._redis.transport import Reply


def _sadd(keys: Keyspace, args: list[bytes]) -> Reply:
    members = keys.find_or_new(args[0], Set)
    before = len(members)
    members.update(args[1:])
    return len(members) - before


def _srem(keys: Keyspace, args: list[bytes]) -> Reply:
    members = keys.find(args[0], Set)
    if members is None:
        return 0
    before = len(members)
    members.difference_update(args[1:])
    if not members:
        keys.remove(args[0])
    return before - len(members)


def _smembers(keys: Keyspace, args: list[bytes]) -> Reply:
    return list(keys.find(args[0], Set) or ())


def _sismember(keys: Keyspace, args: list[bytes]) -> Reply:
    return int(args[1] in (keys.find(args[0], Set) or ()))


def _scard(keys: Keyspace, args: list[bytes]) -> Reply:
    return len(keys.find(args[0], Set) or ())


def _lpush(keys: Keyspace, args: list[bytes]) -> Reply:
    items = keys.find_or_new(args[0], List)
    items[:0] = args[:0:-1]
    return len(items)


def _rpush(keys: Keyspace, args: list[bytes]) -> Reply:
    items = keys.find_or_new(args[0], List)
    items.extend(args[1:])
    return len(items)


def _pop(keys: Keyspace, args: list[bytes], *, from_left: bool) -> Reply:
    if len(args) > 2:
        raise wrong_arity("lpop" if from_left else "rpop")
    count = None
    if len(args) == 2:
        count = integer(args[1], "ERR value is out of range, must be positive")
        if count < 0:
            raise Refused("ERR value is out of range, must be positive")
    items = keys.find(args[0], List)
    if items is None:
        return None
    wanted = 1 if count is None else min(count, len(items))
    taken = items[:wanted] if from_left else items[len(items) - wanted :][::-1]
    if from_left:
        del items[:wanted]
    else:
        del items[len(items) - wanted :]
    if not items:
        keys.remove(args[0])
    return taken[0] if count is None else list[Reply](taken)


def _lpop(keys: Keyspace, args: list[bytes]) -> Reply:
    return _pop(keys, args, from_left=True)


def _rpop(keys: Keyspace, args: list[bytes]) -> Reply:
    return _pop(keys, args, from_left=False)


def _lrange(keys: Keyspace, args: list[bytes]) -> Reply:
    start, stop = integer(args[1]), integer(args[2])
    items = keys.find(args[0], List) or List()
    first, last = bounded(start, stop, len(items))
    return list(items[first:last])


def _llen(keys: Keyspace, args: list[bytes]) -> Reply:
    return len(keys.find(args[0], List) or ())


def _lrem(keys: Keyspace, args: list[bytes]) -> Reply:
    count, wanted = integer(args[1]), args[2]
    items = keys.find(args[0], List)
    if items is None:
        return 0
    places = [at for at, item in enumerate(items) if item == wanted]
    places = places[count:] if count < 0 else places[: count or None]
    for at in reversed(places):
        del items[at]
    if not items:
        keys.remove(args[0])
    return len(places)


def _ltrim(keys: Keyspace, args: list[bytes]) -> Reply:
    start, stop = integer(args[1]), integer(args[2])
    items = keys.find(args[0], List)
    if items is not None:
        first, last = bounded(start, stop, len(items))
        items[:] = items[first:last]
        if not items:
            keys.remove(args[0])
    return OK


COMMANDS: Final[dict[bytes, Command]] = {
    b"SADD": Command(_sadd, -3),
    b"SREM": Command(_srem, -3),
    b"SMEMBERS": Command(_smembers, 2),
    b"SISMEMBER": Command(_sismember, 3),
    b"SCARD": Command(_scard, 2),
    b"LPUSH": Command(_lpush, -3),
    b"RPUSH": Command(_rpush, -3),
    b"LPOP": Command(_lpop, -2),
    b"RPOP": Command(_rpop, -2),
    b"LRANGE": Command(_lrange, 4),
    b"LLEN": Command(_llen, 2),
    b"LREM": Command(_lrem, 4),
    b"LTRIM": Command(_ltrim, 4),
}
