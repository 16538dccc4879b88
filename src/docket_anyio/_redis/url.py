"""What a URL says about where a Redis is and how to talk to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit

from attrs import evolve, field, frozen
from redis.asyncio.connection import parse_url as parse_as_redis_py

from docket_anyio._redis.hosts import Host, split_hosts
from docket_anyio.abc import CredentialProvider
from docket_anyio.exceptions import InvalidSetting, InvalidURL

Kind = Literal["tcp", "unix", "memory", "cluster", "sentinel"]

_KINDS: Final[Mapping[str, Kind]] = {
    "redis": "tcp",
    "rediss": "tcp",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "unix": "unix",
    "memory": "memory",
}
_TLS_OPTIONS: Final = frozenset(
    "ssl_cert_reqs ssl_ca_certs ssl_ca_path ssl_certfile ssl_keyfile ssl_password ssl_check_hostname".split()
)
_OPTIONS: Final = frozenset("db username password client_name socket_connect_timeout socket_timeout".split())
# They tune redis-py's pool of connections or its parser. Here there is nothing to tune, and no result depends on them.
_NEEDLESS: Final = frozenset(
    "max_connections socket_read_size socket_keepalive health_check_interval retry_on_timeout protocol".split()
)
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
_CERT_REQS: Final = frozenset({"none", "optional", "required"})


@frozen
class TlsOptions:
    """How to check the server's certificate, and which one to show."""

    verify: Literal["none", "optional", "required"] = "required"
    check_hostname: bool = True
    ca_certs: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)


@frozen
class Address:
    """Where a Redis is, and how to talk to it."""

    kind: Kind
    url: str = field(repr=False)
    host: str = "localhost"
    port: int = 6379
    path: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: CredentialProvider | None = field(default=None, repr=False)
    """Asked in the place of username and password."""
    client_name: str | None = None
    connect_timeout: float = 5.0
    response_timeout: float = 30.0
    """For how long the server may say nothing while a reply is due."""
    tls: TlsOptions | None = None
    hosts: tuple[Host, ...] = ()
    """Nodes of the cluster to begin with, or the sentinels."""
    service: str = ""
    """Whose master the sentinels are asked for."""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def redacted(self) -> str:
        """The address for messages: without a password, and without options."""
        if self.kind == "memory":
            return self.url
        user = f"{self.username or ''}{':***' if self.password else ''}"
        at = f"{user}@" if user else ""
        scheme = "rediss" if self.tls else "redis"
        match self.kind:
            case "unix":
                return f"unix://{at}{self.path}?db={self.db}"
            case "cluster":
                return f"{scheme}+cluster://{at}{_listed(self.hosts)}"
            case "sentinel":
                return f"{scheme}+sentinel://{at}{_listed(self.hosts)}/{self.service}/{self.db}"
            case _:
                return f"{scheme}://{at}{_listed([(self.host, self.port)])}/{self.db}"

    def at(self, host: Host) -> Address:
        """Return the address of one server of a cluster, or of the master that a sentinel has named."""
        return evolve(self, kind="tcp", host=host[0], port=host[1], hosts=(), service="")

    def at_sentinel(self, host: Host) -> Address:
        """Return the address of a sentinel."""
        return evolve(
            self.at(host),
            username=self.sentinel_username,
            password=self.sentinel_password,
            credentials=None,
            db=0,
            response_timeout=self.connect_timeout,
        )


def _listed(hosts: Iterable[Host]) -> str:
    return ",".join(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name, port in hosts)


def parse_url(url: str, credentials: CredentialProvider | None = None) -> Address:
    """Read a URL by redis-py's rules, but without passing over what is wrong.

    Args:
        url: Where the Redis is.
        credentials: Knows the credentials, so that there are none in the URL.

    Raises:
        InvalidURL: It does not name a Redis that can be reached.
        InvalidSetting: There are credentials in the URL and beside it.
    """
    address = _parse(url)
    if credentials is None:
        return address
    if address.username is not None or address.password is not None:
        raise InvalidSetting("give credentials in the URL or a credential_provider, not both")
    return evolve(address, credentials=credentials)


def _parse(url: str) -> Address:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    match _KINDS.get(scheme):
        case "cluster":
            return _of_cluster(scheme, rest, url)
        case "sentinel":
            return _of_sentinel(scheme, rest, url)
        case _:
            return _of_one_server(url)


def _of_cluster(scheme: str, rest: str, url: str) -> Address:
    split = split_hosts(scheme.removesuffix("+cluster"), rest, default_port=6379, with_service=False)
    address = _of_one_server(split.url)
    if address.db:
        raise InvalidURL("a cluster has the database 0 only")
    return evolve(address, kind="cluster", url=url, hosts=split.hosts)


def _of_sentinel(scheme: str, rest: str, url: str) -> Address:
    split = split_hosts(scheme.removesuffix("+sentinel"), rest, default_port=26379, with_service=True)
    base, mark, query = split.url.partition("?")
    options = parse_qs(query, keep_blank_values=True)
    name, password = (options.pop(each, [""])[0] or None for each in _SENTINEL_OPTIONS)
    address = _of_one_server(f"{base}{mark}{urlencode(options, doseq=True)}")
    return evolve(
        address,
        kind="sentinel",
        url=url,
        hosts=split.hosts,
        service=split.service,
        sentinel_username=name,
        sentinel_password=password,
    )


def _of_one_server(url: str) -> Address:
    # Errors of the parsers below quote what they could not read, which may be the password: they are not chained.
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidURL("the URL cannot be read: its host is malformed") from None
    kind = _kind_of(parts.scheme)
    if kind == "memory":
        return Address(kind, url)
    port = _port_of(parts)
    _check_options(parts)
    try:
        options = cast("dict[str, Any]", parse_as_redis_py(url))
    except ValueError as error:
        raise InvalidURL(f"the URL has an option that cannot be read: {_name_of_option(error)}") from None
    options.pop("connection_class", None)
    if kind == "unix" and not options.get("path"):
        raise InvalidURL("a unix:// URL needs the path of the socket: unix:///run/redis.sock")
    return Address(
        kind,
        url,
        host=options.get("host", "localhost"),
        port=port,
        path=options.get("path", ""),
        db=_db_of(parts, options, kind),
        username=options.get("username"),
        password=options.get("password"),
        client_name=options.get("client_name"),
        connect_timeout=_seconds(options, "socket_connect_timeout", 5.0),
        response_timeout=_seconds(options, "socket_timeout", 30.0),
        tls=_tls_of(options) if parts.scheme == "rediss" else None,
    )


def _kind_of(scheme: str) -> Kind:
    if scheme in _KINDS:
        return _KINDS[scheme]
    named = f"the scheme {scheme!r} is unknown" if scheme else "the URL has no scheme"
    raise InvalidURL(f"{named}; use {', '.join(_KINDS)}")


def _port_of(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise InvalidURL("the port in the URL must be a number from 1 to 65535")
    return port or 6379


def _check_options(parts: SplitResult) -> None:
    for name in parse_qs(parts.query, keep_blank_values=True):
        if name in _TLS_OPTIONS:
            if parts.scheme != "rediss":
                raise InvalidURL(f"the option {name!r} is for TLS; use a rediss:// URL")
        elif name not in _OPTIONS and name not in _NEEDLESS:
            # With an unescaped question mark in the password, the "options" are its second half.
            named = "" if "@" in parts.query else f" {name!r}"
            raise InvalidURL(f"the URL has an unknown option{named}")


def _name_of_option(error: ValueError) -> str:
    words = str(error).split("'")
    return words[1] if len(words) == 3 else "its query"


def _db_of(parts: SplitResult, options: Mapping[str, Any], kind: Kind) -> int:
    path = parts.path.strip("/") if kind == "tcp" else ""
    if path and not path.isdecimal() and "db=" not in parts.query:
        raise InvalidURL("the path of the URL must be the number of a database, as in redis://localhost:6379/0")
    db = int(options.get("db", 0))
    if db < 0:
        raise InvalidURL("the number of the database in the URL must not be negative")
    return db


def _seconds(options: Mapping[str, Any], name: str, default: float) -> float:
    seconds = float(options.get(name, default))
    if not seconds > 0:
        raise InvalidURL(f"the option {name!r} in the URL must be a number of seconds above 0")
    return seconds


def _tls_of(options: Mapping[str, Any]) -> TlsOptions:
    verify = options.get("ssl_cert_reqs", "required")
    if verify not in _CERT_REQS:
        raise InvalidURL("the option 'ssl_cert_reqs' in the URL must be none, optional or required")
    check = options.get("ssl_check_hostname")
    return TlsOptions(
        verify=verify,
        check_hostname=verify != "none" and check is not False,
        ca_certs=options.get("ssl_ca_certs"),
        ca_path=options.get("ssl_ca_path"),
        certfile=options.get("ssl_certfile"),
        keyfile=options.get("ssl_keyfile"),
        password=options.get("ssl_password"),
    )
