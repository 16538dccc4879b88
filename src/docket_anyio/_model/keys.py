"""The keys that users give, and those that are made for them."""

from __future__ import annotations

import re
import secrets
from uuid import UUID

from docket_anyio.exceptions import InvalidKey

# A parked message lives at "<docket>:<key>", among the docket's own keys: WIRE section 1.
_TAKEN = re.compile(
    r"(stream|queue|strikes|workers)\Z"
    r"|(runs|progress|results|task-workers|worker-tasks|perpetual|leases|known|stream-id|anyio):"
    r"|(ratelimit|cooldown|debounce):"
    r"|(.*:)?concurrency:",
    re.DOTALL,
)


def new_key(now: float) -> str:
    """Return a UUIDv7 as text, so that keys sort by the time they were made (RFC 9562, section 5.7).

    Args:
        now: Seconds since the epoch.
    """
    milliseconds = int(now * 1000) & (1 << 48) - 1
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=value))


def check_key(key: str) -> str:
    """Return the key that a user gave.

    Raises:
        InvalidKey: It is empty, is not UTF-8 text, or would collide with a key of the docket's own.
    """
    if not key:
        raise InvalidKey("a task's key must not be empty; leave it out to have one made")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(f"the key {key!r} cannot be encoded as UTF-8") from error
    if _TAKEN.match(key):
        raise InvalidKey(f"the key {key!r} would collide with one of the docket's own keys; put a prefix before it")
    return key
