"""URLs that name several hosts, taken apart: the hosts, and the URL that is left with the first of them."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from attrs import frozen

from docket_anyio.exceptions import InvalidURL

Host: TypeAlias = tuple[str, int]
"""A host and its port."""


@frozen
class Hosts:
    """What a URL with a list of hosts says."""

    hosts: tuple[Host, ...]
    service: str
    """The first part of its path, if it was to be taken from there."""
    url: str
    """The rest, as a URL of the first host."""


def split_hosts(scheme: str, rest: str, *, default_port: int, with_service: bool) -> Hosts:
    """Take a URL with a list of hosts apart.

    Args:
        scheme: The scheme of the URL that is left, such as ``redis``.
        rest: What follows the ``://``.
        default_port: The port of a host that comes without one.
        with_service: The path begins with the name of a service.

    Raises:
        InvalidURL: A host or a port cannot be read, or the service is missing.
    """
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    user, at, members = rest[:end].rpartition("@")
    hosts = tuple(_host(each, default_port) for each in members.split(","))
    path, mark, query = rest[end:].partition("?")
    service = ""
    if with_service:
        service, _, number = path.lstrip("/").partition("/")
        if not service:
            raise InvalidURL("the URL names no service of the sentinels, as redis+sentinel://host:26379/mymaster does")
        path = f"/{number}"
    name, port = hosts[0]
    shown = f"[{name}]" if ":" in name else name
    return Hosts(hosts, unquote(service), f"{scheme}://{user}{at}{shown}:{port}{path}{mark}{query}")


def _host(member: str, default_port: int) -> Host:
    # Errors of urlsplit quote what they could not read, which may be a part of the password: they are not chained.
    try:
        parts = urlsplit(f"//{member.strip()}")
        name, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidURL("the port in the URL must be a number from 1 to 65535, and an IPv6 host in brackets") from None
    if port == 0:
        raise InvalidURL("the port in the URL must be a number from 1 to 65535")
    if not name:
        raise InvalidURL("the URL has an empty place in its list of hosts")
    return name, port or default_port
