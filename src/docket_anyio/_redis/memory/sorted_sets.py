"""Commands on sorted sets."""

from __future__ import annotations

import math
from typing import Final

from attrs import define, frozen

from docket_anyio._redis.memory.errors import SYNTAX, Refused
from docket_anyio._redis.memory.keyspace import Command, Keyspace
from docket_anyio._redis.memory.parsing import bounded, integer, number, write_number
from docket_anyio._redis.memory.sorted_set import ScoreRange, SortedSet
from docket_anyio._redis.transport import Reply

_NOT_A_RANGE: Final = "ERR min or max is not a float"
_NOT_A_NUMBER: Final = "ERR resulting score is not a number (NaN)"


@frozen
class _AddOptions:
    flags: frozenset[bytes]

    def settle(self, before: float | None, given: float) -> float | None:
        """Return the score to store, or ``None`` to leave things as they are."""
        if before is None:
            return None if b"XX" in self.flags else given
        if b"NX" in self.flags:
            return None
        score = before + given if b"INCR" in self.flags else given
        if math.isnan(score):
            raise Refused(_NOT_A_NUMBER)
        if (b"GT" in self.flags and score <= before) or (b"LT" in self.flags and score >= before):
            return None
        return score


def _zadd(keys: Keyspace, args: list[bytes]) -> Reply:
    at, flags = 1, set[bytes]()
    while at < len(args) and (flag := args[at].upper()) in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"):
        flags.add(flag)
        at += 1
    words = args[at:]
    if not words or len(words) % 2:
        raise Refused(SYNTAX)
    if {b"NX", b"XX"} <= flags:
        raise Refused("ERR XX and NX options at the same time are not compatible")
    if len(flags & {b"GT", b"LT", b"NX"}) > 1:
        raise Refused("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in flags and len(words) > 2:
        raise Refused("ERR INCR option supports a single increment-element pair")
    scores = [number(word) for word in words[::2]]
    found = keys.find(args[0], SortedSet)
    if found is None and b"XX" in flags:
        return None if b"INCR" in flags else 0
    members = found or keys.find_or_new(args[0], SortedSet)
    options, added, changed = _AddOptions(frozenset(flags)), 0, 0
    score: float | None = None
    for member, given in zip(words[1::2], scores, strict=True):
        before = members.scores.get(member)
        score = options.settle(before, given)
        if score is not None:
            added += before is None
            changed += before != score
            members.put(member, score)
    if b"INCR" in flags:
        return None if score is None else write_number(score)
    return changed if b"CH" in flags else added


def _zincrby(keys: Keyspace, args: list[bytes]) -> Reply:
    given = number(args[1])
    members = keys.find_or_new(args[0], SortedSet)
    score = members.scores.get(args[2], 0.0) + given
    if math.isnan(score):
        raise Refused(_NOT_A_NUMBER)
    members.put(args[2], score)
    return write_number(score)


def _zrem(keys: Keyspace, args: list[bytes]) -> Reply:
    members = keys.find(args[0], SortedSet)
    if members is None:
        return 0
    gone = sum(members.discard(member) for member in args[1:])
    if not members.scores:
        keys.remove(args[0])
    return gone


def _zcard(keys: Keyspace, args: list[bytes]) -> Reply:
    members = keys.find(args[0], SortedSet)
    return 0 if members is None else len(members.scores)


def _zscore(keys: Keyspace, args: list[bytes]) -> Reply:
    members = keys.find(args[0], SortedSet)
    score = None if members is None else members.scores.get(args[1])
    return None if score is None else write_number(score)


def _zrank(keys: Keyspace, args: list[bytes]) -> Reply:
    members = keys.find(args[0], SortedSet)
    return None if members is None else members.rank(args[1])


def _score_range(low: bytes, high: bytes) -> ScoreRange:
    without_low, without_high = low[:1] == b"(", high[:1] == b"("
    return ScoreRange(_bound(low[without_low:]), _bound(high[without_high:]), without_low, without_high)


def _bound(text: bytes) -> float:
    # Redis reads a bound by strtod alone, for which no text at all is zero.
    return number(text, _NOT_A_RANGE) if text else 0.0


def _zcount(keys: Keyspace, args: list[bytes]) -> Reply:
    wanted = _score_range(args[1], args[2])
    members = keys.find(args[0], SortedSet)
    if members is None:
        return 0
    start, stop = members.within(wanted)
    return stop - start


def _remove(keys: Keyspace, key: bytes, members: SortedSet, start: int, stop: int) -> int:
    gone = members.remove_slice(start, stop)
    if not members.scores:
        keys.remove(key)
    return gone


def _zremrangebyscore(keys: Keyspace, args: list[bytes]) -> Reply:
    wanted = _score_range(args[1], args[2])
    members = keys.find(args[0], SortedSet)
    return 0 if members is None else _remove(keys, args[0], members, *members.within(wanted))


def _zremrangebyrank(keys: Keyspace, args: list[bytes]) -> Reply:
    start, stop = integer(args[1]), integer(args[2])
    members = keys.find(args[0], SortedSet)
    if members is None:
        return 0
    return _remove(keys, args[0], members, *bounded(start, stop, len(members.order)))


def _zpopmin(keys: Keyspace, args: list[bytes]) -> Reply:
    if len(args) > 2:
        raise Refused(SYNTAX)
    out_of_range = "ERR value is out of range, must be positive"
    count = integer(args[1], out_of_range) if len(args) == 2 else 1
    if count < 0:
        raise Refused(out_of_range)
    members = keys.find(args[0], SortedSet)
    if members is None:
        return []
    taken = members.order[:count]
    _remove(keys, args[0], members, 0, count)
    return _with_scores(taken)


@define
class _Range:
    """What a range command asks for."""

    by_score: bool = False
    backwards: bool = False
    with_scores: bool = False
    limit: tuple[int, int] | None = None


def _range_options(words: list[bytes], wanted: _Range, *, newer: bool) -> _Range:
    """Read the options; ``newer`` are those that only ZRANGE itself knows."""
    at = 0
    while at < len(words):
        word = words[at].upper()
        if word == b"WITHSCORES":
            wanted.with_scores = True
        elif word == b"LIMIT" and at + 2 < len(words):
            wanted.limit = (integer(words[at + 1]), integer(words[at + 2]))
            at += 2
        elif newer and word == b"REV" and not wanted.backwards:
            wanted.backwards = True
        elif newer and word == b"BYSCORE" and not wanted.by_score:
            wanted.by_score = True
        else:
            raise Refused(SYNTAX)
        at += 1
    # To Redis a limit of -1 is as good as none.
    if wanted.limit is not None and wanted.limit[1] != -1 and not wanted.by_score:
        raise Refused("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    return wanted


def _range(keys: Keyspace, key: bytes, low: bytes, high: bytes, wanted: _Range) -> Reply:
    if wanted.by_score:
        scores = _score_range(high, low) if wanted.backwards else _score_range(low, high)
        members = keys.find(key, SortedSet)
        if members is None:
            return []
        start, stop = members.within(scores)
        found = members.order[start:stop]
        if wanted.backwards:
            found.reverse()
        if wanted.limit is not None:
            found = _limited(found, *wanted.limit)
    else:
        first, last = integer(low), integer(high)
        members = keys.find(key, SortedSet)
        if members is None:
            return []
        start, stop = bounded(first, last, len(members.order))
        found = members.order[::-1][start:stop] if wanted.backwards else members.order[start:stop]
    return _with_scores(found) if wanted.with_scores else [member for _, member in found]


def _limited(found: list[tuple[float, bytes]], offset: int, count: int) -> list[tuple[float, bytes]]:
    if offset < 0:
        return []
    return found[offset:] if count < 0 else found[offset : offset + count]


def _with_scores(found: list[tuple[float, bytes]]) -> list[Reply]:
    return [part for score, member in found for part in (member, write_number(score))]


def _zrange(keys: Keyspace, args: list[bytes]) -> Reply:
    return _range(keys, args[0], args[1], args[2], _range_options(args[3:], _Range(), newer=True))


def _zrevrange(keys: Keyspace, args: list[bytes]) -> Reply:
    return _range(keys, args[0], args[1], args[2], _range_options(args[3:], _Range(backwards=True), newer=False))


def _zrangebyscore(keys: Keyspace, args: list[bytes]) -> Reply:
    return _range(keys, args[0], args[1], args[2], _range_options(args[3:], _Range(by_score=True), newer=False))


def _zrevrangebyscore(keys: Keyspace, args: list[bytes]) -> Reply:
    wanted = _range_options(args[3:], _Range(by_score=True, backwards=True), newer=False)
    return _range(keys, args[0], args[1], args[2], wanted)


COMMANDS: Final[dict[bytes, Command]] = {
    b"ZADD": Command(_zadd, -4),
    b"ZINCRBY": Command(_zincrby, 4),
    b"ZREM": Command(_zrem, -3),
    b"ZCARD": Command(_zcard, 2),
    b"ZSCORE": Command(_zscore, 3),
    b"ZRANK": Command(_zrank, 3),
    b"ZCOUNT": Command(_zcount, 4),
    b"ZREMRANGEBYSCORE": Command(_zremrangebyscore, 4),
    b"ZREMRANGEBYRANK": Command(_zremrangebyrank, 4),
    b"ZPOPMIN": Command(_zpopmin, -2),
    b"ZRANGE": Command(_zrange, -4),
    b"ZREVRANGE": Command(_zrevrange, -4),
    b"ZRANGEBYSCORE": Command(_zrangebyscore, -4),
    b"ZREVRANGEBYSCORE": Command(_zrevrangebyscore, -4),
}
