"""The Lua scripts, one per transition, each behind the same prelude."""

from __future__ import annotations

from importlib.resources import files

from docket_anyio._redis.script import Script

_FOLDER = files("docket_anyio._broker") / "lua"
_PRELUDE = (_FOLDER / "_prelude.lua").read_text("utf-8")


def load(name: str) -> Script:
    """Return the script in ``lua/<name>.lua``."""
    return Script(_PRELUDE + (_FOLDER / f"{name}.lua").read_text("utf-8"))
