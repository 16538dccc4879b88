"""Commands made up at random, weighted by what dockets use: what the differential test feeds to both servers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

Words = list[bytes]
Strategy = st.SearchStrategy[Words]

KEYS = {
    "string": [b"str1", b"str2", b"n1"],
    "hash": [b"h1", b"h2"],
    "zset": [b"z1", b"z2"],
    "stream": [b"s1", b"s2"],
    "set": [b"set1", b"set2"],
    "list": [b"l1"],
}
ALL_KEYS = [key for keys in KEYS.values() for key in keys] + [b"missing"]
VALUES = [b"a", b"b", b"", b"10", b"-3", b"x y", b"\x80\x00\xff", b"9223372036854775807", b"3.5"]
MEMBERS = [b"m1", b"m2", b"m3", b"m4"]
SCORES = [b"0", b"1", b"2", b"2.5", b"-1", b"1795319404.0835", b"+inf", b"-inf", b"1e3"]
IDS = [b"1-1", b"1-2", b"2-1", b"3-0", b"5-5", b"7", b"9-1", b"12-3", b"15-0"]
GROUPS = [b"g1", b"g2"]
CONSUMERS = [b"c1", b"c2"]
JUNK = [
    b"x",
    b"-1",
    b"1.5",
    b"",
    b"9223372036854775808",
    b"0",
    b"count",
    b"nan",
    b"1-",
    b"*",
    b"$",
    b"(1",
    b"-",
    b"1-1-1",
]
# Far enough apart that the milliseconds between two servers do not decide.
LONG_IDLE, SHORT_IDLE = b"5000000", b"1000000"


def key(kind: str) -> st.SearchStrategy[bytes]:
    """A key that mostly holds that kind of value."""
    own = st.sampled_from(KEYS[kind])
    return st.one_of(*[own] * 11, st.sampled_from(ALL_KEYS))


def pick(*values: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(values)


def of(values: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    return st.sampled_from(values)


def optional(*words: bytes | st.SearchStrategy[bytes]) -> Strategy:
    return st.one_of(st.just([]), command(*words))


def some(values: Sequence[bytes], most: int = 3) -> Strategy:
    return st.lists(of(values), min_size=1, max_size=most)


def command(*parts: bytes | st.SearchStrategy[bytes] | Strategy) -> Strategy:
    """Words, one after the other, each of them fixed, drawn, or a drawn list."""

    def flatten(drawn: tuple[bytes | Words, ...]) -> Words:
        return [word for part in drawn for word in (part if isinstance(part, list) else [part])]

    return st.tuples(*[st.just(part) if isinstance(part, bytes) else part for part in parts]).map(flatten)


def pairs_of(first: Sequence[bytes], second: Sequence[bytes], most: int = 3) -> Strategy:
    return st.lists(st.tuples(of(first), of(second)), min_size=1, max_size=most).map(
        lambda pairs: [word for pair in pairs for word in pair]
    )


indexes = of([b"0", b"1", b"2", b"-1", b"-2", b"5", b"-9"])
bounds = st.one_of(of(SCORES), of([b"(1", b"(2", b"-inf", b"+inf", b"(2.5", b"inf"]))
counts = of([b"1", b"2", b"3", b"10", b"0"])
expiries = of([b"100000", b"50000", b"0", b"-1", b"1000000"])
range_ids = st.one_of(of(IDS), of([b"-", b"+", b"(2-1", b"(5", b"0", b"99"]))
limit = optional(b"LIMIT", of([b"0", b"1", b"-1"]), of([b"1", b"2", b"-1", b"0"]))
with_scores = optional(b"WITHSCORES")
fields = pairs_of([b"f1", b"f2", b"f3"], VALUES)


def string_commands() -> list[Strategy]:
    k = key("string")
    when = st.one_of(
        st.just([]),
        st.just([b"KEEPTTL"]),
        command(pick(b"EX", b"PX", b"px"), of([b"100000", b"500000", b"0", b"-5"])),
        command(b"PXAT", of([b"99999999999999", b"0"])),
    )
    flags = st.lists(pick(b"NX", b"XX", b"GET", b"nx"), max_size=2)
    return [
        command(b"SET", k, of(VALUES)),
        command(b"SET", k, of(VALUES), flags, when),
        command(b"SET", k, of(VALUES), when, flags),
        command(b"GET", k),
        command(pick(b"GETDEL", b"STRLEN"), k),
        command(pick(b"INCR", b"DECR"), k),
        command(pick(b"INCRBY", b"DECRBY"), k, of([b"1", b"-7", b"9223372036854775807"])),
        command(b"APPEND", k, of(VALUES)),
        command(b"SETNX", k, of(VALUES)),
        command(pick(b"SETEX", b"PSETEX"), k, expiries, of(VALUES)),
        command(b"MGET", st.lists(of(ALL_KEYS), min_size=1, max_size=3)),
        command(b"MSET", pairs_of(KEYS["string"], VALUES, 2)),
        command(b"GETRANGE", k, indexes, indexes),
    ]


def key_commands() -> list[Strategy]:
    k = of(ALL_KEYS)
    return [
        command(pick(b"DEL", b"UNLINK", b"EXISTS"), st.lists(k, min_size=1, max_size=2)),
        command(pick(b"TYPE", b"TTL", b"PTTL", b"PERSIST", b"EXPIRETIME", b"PEXPIRETIME"), k),
        command(pick(b"EXPIRE", b"PEXPIRE"), k, expiries, st.lists(pick(b"NX", b"XX", b"GT", b"LT"), max_size=2)),
        command(pick(b"EXPIREAT", b"PEXPIREAT"), k, of([b"99999999999", b"1", b"9223372036854775807"])),
        command(b"RENAME", k, k),
        command(pick(b"DBSIZE", b"PING")),
        command(b"KEYS", of([b"*", b"s*", b"?1", b"[hz]1", b"s[^0]*", b"\\s1", b"str[1-1]", b"[", b"h1"])),
        command(
            b"SCAN",
            b"0",
            optional(b"MATCH", of([b"*1", b"s*"])),
            optional(b"TYPE", pick(b"hash", b"zset")),
            b"COUNT",
            b"1000",
        ),
    ]


def hash_commands() -> list[Strategy]:
    k, name = key("hash"), of([b"f1", b"f2", b"f3"])
    return [
        command(b"HSET", k, fields),
        command(b"HSETNX", k, name, of(VALUES)),
        command(b"HGET", k, name),
        command(b"HMGET", k, some([b"f1", b"f2", b"f9"])),
        command(pick(b"HGETALL", b"HLEN", b"HKEYS", b"HVALS"), k),
        command(b"HDEL", k, some([b"f1", b"f2", b"f3"])),
        command(b"HEXISTS", k, name),
        command(b"HINCRBY", k, name, of([b"1", b"-2", b"9223372036854775807", b"x"])),
        command(b"HMSET", k, fields),
    ]


def zset_commands() -> list[Strategy]:
    k, member = key("zset"), of(MEMBERS)
    flags = st.lists(pick(b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"), max_size=2)
    return [
        command(b"ZADD", k, pairs_of(SCORES, MEMBERS)),
        command(b"ZADD", k, pairs_of(SCORES, MEMBERS)),
        command(b"ZADD", k, flags, pairs_of(SCORES, MEMBERS, 2)),
        command(b"ZREM", k, some(MEMBERS, 2)),
        command(b"ZCARD", k),
        command(b"ZCOUNT", k, bounds, bounds),
        command(pick(b"ZSCORE", b"ZRANK"), k, member),
        command(b"ZINCRBY", k, of(SCORES), member),
        command(b"ZRANGE", k, indexes, indexes, optional(b"REV"), with_scores),
        command(b"ZRANGE", k, bounds, bounds, b"BYSCORE", optional(b"REV"), limit, with_scores),
        command(b"ZRANGEBYSCORE", k, bounds, bounds, with_scores, limit),
        command(b"ZREVRANGEBYSCORE", k, bounds, bounds, with_scores, limit),
        command(b"ZREVRANGE", k, indexes, indexes, with_scores),
        command(b"ZREMRANGEBYSCORE", k, bounds, bounds),
        command(b"ZREMRANGEBYRANK", k, indexes, indexes),
        command(b"ZPOPMIN", k, st.one_of(st.just([]), counts.map(lambda count: [count]))),
    ]


def list_set_commands() -> list[Strategy]:
    items, members = key("list"), key("set")
    return [
        command(pick(b"LPUSH", b"RPUSH"), items, some(VALUES)),
        command(pick(b"LPOP", b"RPOP"), items, st.one_of(st.just([]), counts.map(lambda count: [count]))),
        command(pick(b"LRANGE", b"LTRIM"), items, indexes, indexes),
        command(b"LLEN", items),
        command(b"LREM", items, of([b"0", b"1", b"-1", b"2"]), of(VALUES)),
        command(pick(b"SADD", b"SREM"), members, some(VALUES)),
        command(pick(b"SMEMBERS", b"SCARD"), members),
        command(b"SISMEMBER", members, of(VALUES)),
    ]


def stream_commands() -> list[Strategy]:
    k = key("stream")
    trim = st.one_of(
        st.just([]),
        command(b"MAXLEN", optional(b"="), of([b"0", b"1", b"3"])),
        command(b"MINID", of(IDS)),
        st.just([b"NOMKSTREAM"]),
    )
    new_id = st.one_of(of(IDS), of([b"0-0", b"3-*", b"20-*", b"0"]), st.integers(16, 99).map(lambda ms: b"%d-1" % ms))
    add = command(b"XADD", k, trim, new_id, fields)
    return [
        add,
        add,
        add,
        command(b"XLEN", k),
        command(b"XDEL", k, some(IDS)),
        command(b"XTRIM", k, pick(b"MAXLEN", b"MINID"), of([b"0", b"1", b"2", b"5", b"5-5"])),
        command(pick(b"XRANGE", b"XREVRANGE"), k, range_ids, range_ids, optional(b"COUNT", counts)),
        command(b"XREAD", optional(b"COUNT", counts), b"STREAMS", k, of([b"0", b"1-1", b"$", b"5-5", b">"])),
        command(b"XREAD", b"STREAMS", k, k, of([b"0", b"1-1"]), of([b"0", b"$"])),
        command(b"XINFO", b"STREAM", k),
        command(b"XINFO", b"STREAM", k, b"FULL", optional(b"COUNT", counts)),
        command(b"XINFO", b"GROUPS", k),
    ]


def group_commands() -> list[Strategy]:
    k, group, consumer = key("stream"), of(GROUPS), of(CONSUMERS)
    start = of([b"0", b"$", b"1-2", b"0-0", b"99-9"])
    idle = of([b"0", LONG_IDLE, SHORT_IDLE])
    claim_options = st.lists(
        st.one_of(
            st.just([b"FORCE"]),
            st.just([b"JUSTID"]),
            command(b"IDLE", of([b"0", LONG_IDLE])),
            command(b"RETRYCOUNT", of([b"0", b"7"])),
            command(b"LASTID", of(IDS)),
            command(b"TIME", of([b"1000", b"99999999999999"])),
        ),
        max_size=2,
    ).map(lambda options: [word for option in options for word in option])
    read_ids = of([b">", b">", b">", b"0", b"1-1"])
    read = command(
        *(b"XREADGROUP", b"GROUP", group, consumer, optional(b"COUNT", counts), optional(b"NOACK"), b"STREAMS"),
        *(k, read_ids),
    )
    create = command(
        b"XGROUP", b"CREATE", k, group, start, optional(b"MKSTREAM"), optional(b"ENTRIESREAD", of([b"3", b"-1"]))
    )
    return [
        create,
        create,
        read,
        read,
        read,
        command(b"XREADGROUP", b"GROUP", group, consumer, b"STREAMS", k, k, read_ids, read_ids),
        command(b"XACK", k, group, some(IDS)),
        command(b"XPENDING", k, group),
        command(
            b"XPENDING", k, group, optional(b"IDLE", idle), range_ids, range_ids, counts, st.lists(consumer, max_size=1)
        ),
        command(b"XCLAIM", k, group, consumer, idle, some(IDS), claim_options),
        command(b"XCLAIM", k, group, consumer, b"0", some(IDS), b"IDLE", LONG_IDLE),
        command(
            b"XAUTOCLAIM",
            k,
            group,
            consumer,
            idle,
            of([b"0", b"0-0", b"2-1", b"-"]),
            optional(b"COUNT", counts),
            optional(b"JUSTID"),
        ),
        command(b"XGROUP", pick(b"CREATECONSUMER", b"DELCONSUMER"), k, group, consumer),
        command(b"XGROUP", b"SETID", k, group, start, optional(b"ENTRIESREAD", of([b"2", b"-2"]))),
        command(b"XGROUP", b"DESTROY", k, group),
        command(b"XINFO", b"CONSUMERS", k, group),
    ]


@st.composite
def spoilt(draw: Callable[[st.SearchStrategy[object]], object], commands: Strategy) -> Words:
    """A command with a word too many, too few, or a wrong one."""
    words = list(draw(commands))  # type: ignore[arg-type, call-overload]
    at = draw(st.integers(1, max(1, len(words) - 1)))
    how = draw(st.sampled_from(["drop", "junk", "double"]))
    if how == "drop":
        del words[at : at + 1]
    elif how == "junk":
        words[at : at + 1] = [draw(of(JUNK))]
    else:
        words[at:at] = words[at : at + 1]
    return words


plain = st.one_of(
    *[st.one_of(*group_commands())] * 6,
    *[st.one_of(*stream_commands())] * 4,
    *[st.one_of(*zset_commands())] * 3,
    *[st.one_of(*hash_commands())] * 3,
    *[st.one_of(*string_commands())] * 2,
    st.one_of(*key_commands()),
    st.one_of(*list_set_commands()),
)
commands = st.one_of(*[plain] * 8, spoilt(plain))

# What makes a stream with a history, which random commands alone seldom get to.
history = st.one_of(
    *[command(b"XADD", of(KEYS["stream"]), st.integers(0, 20).map(lambda ms: b"%d-*" % ms), fields)] * 3,
    command(b"XGROUP", b"CREATE", of(KEYS["stream"]), of(GROUPS), of([b"0", b"$"]), b"MKSTREAM"),
    *[
        command(
            *(b"XREADGROUP", b"GROUP", of(GROUPS), of(CONSUMERS), b"COUNT", of([b"1", b"2"]), b"STREAMS"),
            *(of(KEYS["stream"]), b">"),
        )
    ]
    * 2,
)
