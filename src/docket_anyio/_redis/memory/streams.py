"""Commands on the entries of a stream, and how ids are written."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from attrs import define

from docket_anyio._redis.memory.errors import SYNTAX, Refused, wrong_arity
from docket_anyio._redis.memory.keyspace import Command, Keyspace
from docket_anyio._redis.memory.parsing import integer
from docket_anyio._redis.memory.stream import MAX_ID, MAX_PART, SEQUENCE_BITS, Stream, write_id
from docket_anyio._redis.transport import Reply

INVALID_ID: Final = "ERR Invalid stream ID specified as stream command argument"
_TOO_SMALL: Final = "ERR The ID specified in XADD is equal or smaller than the target stream top item"


def _id_part(text: bytes) -> int:
    if not text.isdigit() or int(text) > MAX_PART:
        raise Refused(INVALID_ID)
    return int(text)


def read_id(text: bytes, missing_sequence: int = 0) -> int:
    """Read an id in full or without its sequence; not ``-`` and ``+``."""
    milliseconds, dash, sequence = text.partition(b"-")
    return _id_part(milliseconds) << SEQUENCE_BITS | (_id_part(sequence) if dash else missing_sequence)


def read_bound(text: bytes, missing_sequence: int) -> int:
    """Read an id, or ``-`` for the lowest there is and ``+`` for the highest."""
    if text == b"-":
        return 0
    if text == b"+":
        return MAX_ID
    return read_id(text, missing_sequence)


def read_start(text: bytes) -> int:
    """Read the id at which a range starts; after it where a parenthesis precedes it."""
    if text[:1] != b"(":
        return read_bound(text, 0)
    identifier = read_id(text[1:], 0)
    if identifier == MAX_ID:
        raise Refused("ERR invalid start ID for the interval")
    return identifier + 1


def read_end(text: bytes) -> int:
    """Read the id at which a range ends; before it where a parenthesis precedes it."""
    if text[:1] != b"(":
        return read_bound(text, MAX_PART)
    identifier = read_id(text[1:], MAX_PART)
    if identifier == 0:
        raise Refused("ERR invalid end ID for the interval")
    return identifier - 1


def write_entries(stream: Stream, ids: list[int]) -> list[Reply]:
    """Return entries as a reply has them."""
    return [[write_id(identifier), list[Reply](stream.entries[identifier])] for identifier in ids]


@define
class _Trim:
    """What a stream is to be cut down to: a number of entries, or the ids from one on."""

    strategy: bytes | None = None
    threshold: int = 0
    approximate: bool = False
    limit: int | None = None
    create: bool = True

    def apply(self, stream: Stream) -> int:
        """Drop entries; an approximate trim is as exact as the other, which its contract allows."""
        if self.strategy == b"MAXLEN":
            return stream.trim(max(0, len(stream.ids) - self.threshold))
        if self.strategy == b"MINID":
            return stream.trim(bisect_left(stream.ids, self.threshold))
        return 0

    def check(self) -> None:
        """Refuse options that don't fit together."""
        if self.limit is not None and self.strategy is None:
            raise Refused("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
        if self.limit is not None and not self.approximate:
            raise Refused("ERR syntax error, LIMIT cannot be used without the special ~ option")


def _read_threshold(trim: _Trim, words: list[bytes], at: int) -> int:
    """Read what follows MAXLEN or MINID and return where it ends."""
    if trim.strategy is not None:
        raise Refused("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
    trim.strategy = words[at].upper()
    if words[at + 1] in (b"~", b"=") and at + 2 < len(words):
        trim.approximate = words[at + 1] == b"~"
        at += 1
    if trim.strategy == b"MINID":
        trim.threshold = read_id(words[at + 1])
    else:
        trim.threshold = integer(words[at + 1])
        if trim.threshold < 0:
            raise Refused("ERR The MAXLEN argument must be >= 0.")
    return at + 2


def _read_trim(words: list[bytes], *, trimming: bool) -> tuple[_Trim, int]:
    """Read the options of XADD or XTRIM and return them with the place of the id that follows."""
    trim, at = _Trim(), 0
    while at < len(words):
        option, more = words[at].upper(), len(words) - at - 1
        if not trimming and option == b"*":
            break
        if option in (b"MAXLEN", b"MINID") and more:
            at = _read_threshold(trim, words, at)
        elif option == b"LIMIT" and more:
            trim.limit = integer(words[at + 1])
            if trim.limit < 0:
                raise Refused("ERR The LIMIT argument must be >= 0.")
            at += 2
        elif option == b"NOMKSTREAM" and not trimming:
            trim.create = False
            at += 1
        elif trimming:
            raise Refused(SYNTAX)
        else:
            _check_new_id(words[at])
            break
    trim.check()
    return trim, at


def _check_new_id(text: bytes) -> None:
    if text[-2:] == b"-*":
        _id_part(text[:-2])
    elif read_id(text) == 0 and b"-" in text:
        return
    else:
        read_id(text)


def _new_id(stream: Stream, text: bytes, now: int) -> int:
    """Return the id of an entry to append, which must be above all others."""
    if stream.last == MAX_ID:
        raise Refused("ERR The stream has exhausted the last possible ID, unable to add more items")
    if text == b"*":
        return max(now << SEQUENCE_BITS, stream.last + 1)
    if text[-2:] == b"-*":
        milliseconds = _id_part(text[:-2])
        identifier = max(milliseconds << SEQUENCE_BITS, stream.last + 1)
        if identifier >> SEQUENCE_BITS == milliseconds:
            return identifier
    else:
        identifier = read_id(text)
        if identifier > stream.last:
            return identifier
    raise Refused(_TOO_SMALL)


def _xadd(keys: Keyspace, args: list[bytes]) -> Reply:
    key = args[0]
    if args[1] == b"*":
        trim, at = None, 1
    else:
        trim, at = _read_trim(args[1:], trimming=False)
        at += 1
    fields = args[at + 1 :]
    if not fields or len(fields) % 2:
        raise wrong_arity("xadd")
    identifier = args[at]
    if identifier != b"*" and identifier[-2:] != b"-*" and read_id(identifier) == 0:
        raise Refused("ERR The ID specified in XADD must be greater than 0-0")
    stream = keys.find(key, Stream)
    if stream is None:
        if trim is not None and not trim.create:
            return None
        stream = keys.find_or_new(key, Stream)
    new = _new_id(stream, identifier, keys.now)
    stream.append(new, fields)
    if trim is not None:
        trim.apply(stream)
    keys.touched(key)
    return write_id(new)


def _xtrim(keys: Keyspace, args: list[bytes]) -> Reply:
    trim, _ = _read_trim(args[1:], trimming=True)
    stream = keys.find(args[0], Stream)
    return 0 if stream is None else trim.apply(stream)


def _xlen(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.find(args[0], Stream)
    return 0 if stream is None else len(stream.ids)


def _xdel(keys: Keyspace, args: list[bytes]) -> Reply:
    stream = keys.find(args[0], Stream)
    if stream is None:
        return 0
    ids = [read_id(text) for text in args[1:]]
    return sum(stream.delete(identifier) for identifier in ids)


def _read_range(keys: Keyspace, key: bytes, low: bytes, high: bytes, options: list[bytes], *, backwards: bool) -> Reply:
    start, end = read_start(low), read_end(high)
    count: int | None = None
    at = 0
    while at < len(options):
        if options[at].upper() != b"COUNT" or at + 1 >= len(options):
            raise Refused(SYNTAX)
        count = max(0, integer(options[at + 1]))
        at += 2
    stream = keys.find(key, Stream)
    if stream is None:
        return []
    if count == 0:
        return None
    return write_entries(stream, stream.between(start, end, count, backwards=backwards))


def _xrange(keys: Keyspace, args: list[bytes]) -> Reply:
    return _read_range(keys, args[0], args[1], args[2], args[3:], backwards=False)


def _xrevrange(keys: Keyspace, args: list[bytes]) -> Reply:
    return _read_range(keys, args[0], args[2], args[1], args[3:], backwards=True)


COMMANDS: Final[dict[bytes, Command]] = {
    b"XADD": Command(_xadd, -5),
    b"XLEN": Command(_xlen, 2),
    b"XRANGE": Command(_xrange, -4),
    b"XREVRANGE": Command(_xrevrange, -4),
    b"XDEL": Command(_xdel, -3),
    b"XTRIM": Command(_xtrim, -4),
}
