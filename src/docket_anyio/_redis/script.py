"""A Lua script, known to the server by its hash."""

from __future__ import annotations

from hashlib import sha1

from attrs import Factory, field, frozen


def _sha_of(script: Script) -> str:
    return sha1(script.text.encode(), usedforsecurity=False).hexdigest()


@frozen
class Script:
    """The text of a Lua script and its SHA-1, computed once."""

    text: str
    sha: str = field(init=False, default=Factory(_sha_of, takes_self=True))
