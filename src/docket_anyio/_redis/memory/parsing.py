"""Arguments as text, read as strictly as Redis reads them, and numbers written as it writes them."""

from __future__ import annotations

import math
import re
from typing import Final

from docket_anyio._redis.memory.errors import NOT_A_FLOAT, NOT_AN_INTEGER, Refused

MAX_INT: Final = 2**63 - 1
MIN_INT: Final = -(2**63)
_SPACE: Final = b" \t\n\v\f\r"


def integer(text: bytes, refusal: str = NOT_AN_INTEGER) -> int:
    """Read a signed 64-bit number, without spaces, a plus or leading zeros."""
    try:
        value = int(text)
    except ValueError:
        raise Refused(refusal) from None
    if b"%d" % value != text or not MIN_INT <= value <= MAX_INT:
        raise Refused(refusal)
    return value


def number(text: bytes, refusal: str = NOT_A_FLOAT) -> float:
    """Read a floating-point number; ``inf`` is one, ``nan`` is not."""
    try:
        value = float(text)
    except ValueError:
        raise Refused(refusal) from None
    # Python reads digits grouped by underscores and spaces around them, strtod does not.
    if math.isnan(value) or b"_" in text or text[:1] in _SPACE or text[-1:] in _SPACE:
        raise Refused(refusal)
    return value


def write_number(value: float) -> bytes:
    """Write a score as Redis 7.0 does: with 17 significant digits."""
    return b"%.17g" % value


def bounded(start: int, stop: int, size: int) -> tuple[int, int]:
    """Turn the two inclusive, perhaps negative indexes of a range command into a slice."""
    first = max(0, start + size) if start < 0 else start
    last = stop + size if stop < 0 else stop
    return first, max(first, min(last, size - 1) + 1)


def glob(pattern: bytes) -> re.Pattern[bytes]:
    r"""Compile a pattern with ``*``, ``?``, ``[a-z]`` and ``\`` as Redis understands them."""
    parts: list[bytes] = []
    at, size = 0, len(pattern)
    while at < size:
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            parts.append(b".*")
        elif char == b"?":
            parts.append(b".")
        elif char == b"[":
            part, at = _char_class(pattern, at)
            parts.append(part)
        else:
            if char == b"\\" and at < size:
                char = pattern[at : at + 1]
                at += 1
            parts.append(re.escape(char))
    return re.compile(b"".join(parts) + rb"\Z", re.DOTALL)


def _char_class(pattern: bytes, at: int) -> tuple[bytes, int]:
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            members.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    wanted = set(range(256)) - members if negated else members
    if not wanted:
        return b"(?!)", at + 1
    return b"[" + b"".join(b"\\x%02x" % code for code in sorted(wanted)) + b"]", at + 1
