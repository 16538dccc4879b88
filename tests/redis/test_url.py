from __future__ import annotations

import pytest

from docket_anyio._redis.url import Address, TlsOptions, parse_url
from docket_anyio.exceptions import InvalidURL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", {"kind": "tcp", "host": "localhost", "port": 6379, "db": 0}),
        ("redis://example.org", {"host": "example.org", "port": 6379, "tls": None}),
        ("redis://example.org:7000/3", {"host": "example.org", "port": 7000, "db": 3}),
        ("redis://example.org/3?db=4", {"db": 4}),
        ("redis://[::1]:7000/0", {"host": "::1", "port": 7000}),
        ("redis://:pass@example.org", {"username": None, "password": "pass"}),
        ("redis://user:p%40ss%2F@example.org", {"username": "user", "password": "p@ss/"}),
        ("redis://example.org?username=u&password=p", {"username": "u", "password": "p"}),
        ("redis://h?client_name=me&socket_connect_timeout=0.5", {"client_name": "me", "connect_timeout": 0.5}),
        ("redis://h?socket_timeout=7&max_connections=50&protocol=3", {"response_timeout": 7.0}),
        ("unix:///run/redis.sock?db=2", {"kind": "unix", "path": "/run/redis.sock", "db": 2}),
        ("unix://:pass@/run/redis.sock", {"path": "/run/redis.sock", "password": "pass"}),
        ("redis+cluster://example.org", {"kind": "cluster", "hosts": (("example.org", 6379),), "tls": None}),
        (
            "redis+cluster://user:p%40ss@a:7000,[::1]:7001,b?socket_timeout=7",
            {
                "hosts": (("a", 7000), ("::1", 7001), ("b", 6379)),
                "username": "user",
                "password": "p@ss",
                "response_timeout": 7.0,
            },
        ),
        ("rediss+cluster://h/0?ssl_ca_certs=/ca.pem", {"kind": "cluster", "tls": TlsOptions(ca_certs="/ca.pem")}),
        (
            "redis+sentinel://:pass@a,b:26380/the-master",
            {"kind": "sentinel", "hosts": (("a", 26379), ("b", 26380)), "service": "the-master", "db": 0},
        ),
        ("redis+sentinel://h/the%20master/3", {"service": "the master", "db": 3, "sentinel_password": None}),
        (
            "rediss+sentinel://me:pass@h/m?sentinel_username=s&sentinel_password=t&client_name=c",
            {
                "username": "me",
                "password": "pass",
                "sentinel_username": "s",
                "sentinel_password": "t",
                "client_name": "c",
                "tls": TlsOptions(),
            },
        ),
        ("memory://", {"kind": "memory", "url": "memory://"}),
        ("memory://some-name", {"kind": "memory", "url": "memory://some-name"}),
        ("rediss://h", {"kind": "tcp", "tls": TlsOptions()}),
        ("rediss://h?ssl_cert_reqs=none", {"tls": TlsOptions(verify="none", check_hostname=False)}),
        ("rediss://h?ssl_check_hostname=false", {"tls": TlsOptions(check_hostname=False)}),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            {"tls": TlsOptions(ca_certs="/ca.pem", certfile="/c.pem", keyfile="/k.pem")},
        ),
    ],
)
def test_reads_what_redis_py_reads(url: str, expected: dict[str, object]) -> None:
    address = parse_url(url)
    assert {name: getattr(address, name) for name in expected} == expected


def test_verifies_certificates_unless_told_otherwise() -> None:
    assert parse_url("rediss://h").tls == TlsOptions(verify="required", check_hostname=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "the URL has no scheme"),
        ("localhost:6379", "the scheme 'localhost' is unknown"),
        ("http://secret@host", "the scheme 'http' is unknown"),
        ("redis+http://:secret@host", "the scheme 'redis\\+http' is unknown; use .*redis\\+cluster"),
        ("redis+cluster://:secret@host/1", "a cluster has the database 0 only"),
        ("redis+cluster://:secret@host:7000,host:port", "the port in the URL"),
        ("redis+cluster://:secret@host:0", "the port in the URL"),
        ("redis+cluster://:secret@one,,two", "an empty place in its list of hosts"),
        ("redis+cluster://:secret@", "an empty place in its list of hosts"),
        ("redis+cluster://:secret@::1", "an IPv6 host in brackets"),
        ("redis+cluster://:secret@host?ssl_cert_reqs=none", "use a rediss:// URL"),
        ("redis+cluster://:secret@host?sentinel_password=x", "unknown option 'sentinel_password'"),
        ("redis+sentinel://:secret@host", "names no service of the sentinels"),
        ("redis+sentinel://:secret@host/", "names no service of the sentinels"),
        ("redis+sentinel://:secret@host/the-master/zero", "must be the number of a database"),
        ("redis+sentinel://:sec/ret@host/the-master", "the port in the URL"),
        ("redis://:secret@host:port", "the port in the URL"),
        ("redis://:secret@host:0", "the port in the URL"),
        ("redis://:secret@host:70000", "the port in the URL"),
        ("redis://:sec/ret@host", "the port in the URL"),
        ("redis://:secret@[::1", "its host is malformed"),
        ("redis://:secret@host/zero", "must be the number of a database"),
        ("redis://:secret@host?db=zero", "option that cannot be read: db"),
        ("redis://:secret@host?db=-1", "must not be negative"),
        ("redis://:secret@host?color=red", "unknown option 'color'"),
        ("redis://:1234?secret@host", "unknown option$"),
        ("redis://:secret@host?decode_responses=true", "unknown option 'decode_responses'"),
        ("redis://:secret@host?socket_timeout=soon", "option that cannot be read: socket_timeout"),
        ("redis://:secret@host?socket_connect_timeout=0", "'socket_connect_timeout' .* above 0"),
        ("redis://:secret@host?ssl_cert_reqs=none", "use a rediss:// URL"),
        ("rediss://:secret@host?ssl_cert_reqs=maybe", "'ssl_cert_reqs' .* none, optional or required"),
        ("unix://:secret@", "needs the path of the socket"),
    ],
)
def test_says_what_is_wrong_without_the_password(url: str, words: str) -> None:
    with pytest.raises(InvalidURL, match=words) as caught:
        parse_url(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("redis://user:secret@host:7000/3?client_name=x", "redis://user:***@host:7000/3"),
        ("redis://:secret@host", "redis://:***@host:6379/0"),
        ("rediss://[::1]", "rediss://[::1]:6379/0"),
        ("redis://host?password=secret", "redis://:***@host:6379/0"),
        ("unix://:secret@/run/redis.sock?db=1", "unix://:***@/run/redis.sock?db=1"),
        ("redis+cluster://me:secret@a,[::1]:7000", "redis+cluster://me:***@a:6379,[::1]:7000"),
        (
            "rediss+sentinel://:secret@a,b:7000/m?sentinel_password=secret",
            "rediss+sentinel://:***@a:26379,b:7000/m/0",
        ),
        ("memory://x", "memory://x"),
    ],
)
def test_keeps_the_password_out_of_messages(url: str, redacted: str) -> None:
    address = parse_url(url)
    assert address.redacted == redacted
    assert "secret" not in repr(address)


def test_addresses_are_values() -> None:
    assert parse_url("redis://h") == parse_url("redis://h")
    assert isinstance(parse_url("redis://h"), Address)
