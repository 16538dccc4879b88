"""Scripts: the very same Lua that a real Redis runs, through lupa, compiled once each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha1
from importlib import import_module, resources
from typing import Any, Final, Protocol, TypeAlias, cast

from attrs import define, field

from docket_anyio._redis.memory.errors import NO_SCRIPT, Refused, Status
from docket_anyio._redis.memory.parsing import integer
from docket_anyio._redis.transport import Reply

_log: Final = logging.getLogger("docket_anyio.redis.memory")
_LEVELS: Final = {0: logging.DEBUG, 1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING}
# Redis's own Lua first; LuaJIT speaks the same language. Later versions do not.
_LUA_MODULES: Final = ("lupa.lua51", "lupa.luajit21", "lupa.luajit20")
_STATUS, _ERROR, _FLAT, _NESTED = 1, 2, 3, 4
_LONGEST_FLAT: Final = 1000
# As many as Redis 7.4 keeps of scripts that came by EVAL. Those that were loaded stay until SCRIPT FLUSH, since their
# clients rely on it.
_MAX_EVALUATED: Final = 500
_BAD_ARGUMENT: Final = "ERR Lua redis lib command arguments must be strings or integers"
_NO_ARGUMENT: Final = b"ERR Please specify at least one argument for this redis lib call"


Execute: TypeAlias = Callable[[list[bytes]], Reply]


class _Table(Protocol):
    def __getitem__(self, key: int | bytes) -> object: ...


class _Runtime(Protocol):
    def execute(self, code: bytes, *args: object) -> Any: ...
    def table_from(self, items: list[object]) -> _Table: ...


def _new_runtime() -> _Runtime:
    def refuse(_object: object, name: object, *_setting: object) -> object:
        raise AttributeError(name)

    for name in _LUA_MODULES:
        try:
            module = import_module(name)
        except ImportError:
            continue
        return cast(  # lupa has no types
            "_Runtime",
            module.LuaRuntime(
                encoding=None,
                unpack_returned_tuples=True,
                register_eval=False,
                register_builtins=False,
                attribute_filter=refuse,
            ),
        )
    raise ImportError("memory:// needs Lua 5.1 or LuaJIT for its scripts, and this build of lupa has neither")


def _file(name: str) -> bytes:
    return resources.files(__package__ or "").joinpath(name).read_bytes()


def _log_line(level: float, text: bytes) -> None:
    _log.log(_LEVELS.get(int(level), logging.WARNING), "%s", text.decode(errors="replace"))


@define(eq=False)
class _Host:
    """What a script may call. It holds the server only while a script runs.

    Python's garbage collector does not see into Lua, so a reference that stayed there would keep the server forever.
    """

    runtime: _Runtime | None = None
    execute: Execute | None = None

    def call(self, *words: object) -> object:
        """Execute a command and return its reply as the sandbox expects it."""
        execute, runtime = self.execute, self.runtime
        if execute is None or runtime is None:
            raise RuntimeError("a script called Redis although none is running")
        if not words:
            return _NO_ARGUMENT, _ERROR
        try:
            reply = execute([word if type(word) is bytes else _word(word) for word in words])
        except Refused as refused:
            return refused.text.encode(), _ERROR
        kind = type(reply)
        if kind is bytes or kind is int:
            return reply
        if reply is None:
            return False
        if isinstance(reply, list):
            return _list_to_lua(runtime, reply)
        return reply, _STATUS


def _word(word: object) -> bytes:
    if isinstance(word, (int, float)) and not isinstance(word, bool):
        return b"%.17g" % word
    raise Refused(_BAD_ARGUMENT)


def _list_to_lua(runtime: _Runtime, reply: list[Reply]) -> tuple[object, ...]:
    if len(reply) > _LONGEST_FLAT:
        return _to_table(runtime, reply), _NESTED
    for item in reply:
        if type(item) is list:
            return _to_table(runtime, reply), _NESTED
    return (False, _FLAT, *[False if item is None else item for item in reply])


def _to_table(runtime: _Runtime, reply: list[Reply]) -> _Table:
    items = [_to_table(runtime, item) if isinstance(item, list) else False if item is None else item for item in reply]
    return runtime.table_from(cast("list[object]", items))


def _sha1hex(text: bytes) -> bytes:
    return sha1(text, usedforsecurity=False).hexdigest().encode()


@define(eq=False)
class _Lua:
    """One Lua with its sandbox, and the scripts that it has compiled."""

    compile: Callable[[bytes], object]
    run: Callable[..., object]
    run_with: Callable[..., object]
    runtime: _Runtime
    host: _Host
    scripts: dict[bytes, object] = field(factory=dict[bytes, object], init=False)
    evaluated: dict[bytes, None] = field(factory=dict[bytes, None], init=False)

    def learn(self, sha: bytes, text: bytes) -> None:
        """Compile a script that is not known yet."""
        script = self.compile(text)
        if isinstance(script, tuple):
            problem = cast("tuple[None, bytes]", script)[1]
            raise Refused(f"ERR Error compiling script (new function): {problem.decode(errors='replace')}")
        self.scripts[sha] = script

    def used(self, sha: bytes) -> None:
        """Note that a script that came by EVAL was used, and forget the one that was not for longest."""
        self.evaluated.pop(sha, None)
        self.evaluated[sha] = None
        if len(self.evaluated) > _MAX_EVALUATED:
            oldest = next(iter(self.evaluated))
            del self.evaluated[oldest], self.scripts[oldest]

    def execute(self, sha: bytes, key_count: int, words: list[bytes], execute: Execute) -> Reply:
        """Run a script that is known."""
        host, script = self.host, self.scripts[sha]
        host.execute, host.runtime = execute, self.runtime
        try:
            if len(words) <= _LONGEST_FLAT:
                result = self.run(script, key_count, *words[1:])
            else:
                table, keys, argv = self.runtime.table_from, words[1 : key_count + 1], words[key_count + 1 :]
                result = self.run_with(script, table([*keys]), table([*argv]))
        finally:
            host.execute = host.runtime = None
        return _from_lua(result, sha)


def _open_lua() -> _Lua:
    runtime = _new_runtime()
    host = _Host()
    cjson = runtime.execute(_file("cjson.lua"))
    compile_, run, run_with = runtime.execute(_file("sandbox.lua"), host.call, _sha1hex, _log_line, cjson)
    return _Lua(compile_, run, run_with, runtime, host)


@define(eq=False)
class Scripts:
    """The scripts of a server. Lua is opened with the first of them."""

    _lua: _Lua | None = field(default=None, init=False)

    def load(self, text: bytes) -> bytes:
        """Compile a script that is to stay, and return its SHA-1."""
        sha, lua = _sha1hex(text), self._open()
        if sha not in lua.scripts:
            lua.learn(sha, text)
        lua.evaluated.pop(sha, None)
        return sha

    def known(self, sha: bytes) -> bool:
        """Tell whether a script can be called by its SHA-1."""
        return self._lua is not None and sha.lower() in self._lua.scripts

    def flush(self) -> None:
        """Forget every script."""
        self._lua = None

    def evaluate(self, text: bytes, words: list[bytes], execute: Execute) -> Reply:
        """Run a script given as text; it executes commands by ``execute``."""
        key_count = _key_count(words)
        sha, lua = _sha1hex(text), self._open()
        if sha not in lua.scripts:
            lua.learn(sha, text)
            lua.used(sha)
        elif sha in lua.evaluated:
            lua.used(sha)
        return lua.execute(sha, key_count, words, execute)

    def evaluate_sha(self, sha: bytes, words: list[bytes], execute: Execute) -> Reply:
        """Run a script given by its SHA-1; it executes commands by ``execute``."""
        key_count = _key_count(words)
        sha, lua = sha.lower(), self._lua
        if lua is None or sha not in lua.scripts:
            raise Refused(NO_SCRIPT)
        if sha in lua.evaluated:
            lua.used(sha)
        return lua.execute(sha, key_count, words, execute)

    def _open(self) -> _Lua:
        if self._lua is None:
            self._lua = _open_lua()
        return self._lua


def _key_count(words: list[bytes]) -> int:
    count = integer(words[0])
    if count > len(words) - 1:
        raise Refused("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise Refused("ERR Number of keys can't be negative")
    return count


def _from_lua(result: object, sha: bytes) -> Reply:
    """Turn what the sandbox returned into a reply."""
    if type(result) is not tuple:
        return _scalar(result)
    answer: tuple[Any, ...] = result  # pyright: ignore[reportUnknownVariableType]  # whatever Lua returned
    kind = answer[1]
    if kind == _FLAT:
        return [item if type(item) is bytes else _scalar(item) for item in answer[2:]]
    if kind == _NESTED:
        return _from_table(answer[0])
    if kind == _STATUS:
        return Status(answer[0])
    text = answer[0].decode(errors="replace")
    line = answer[2]
    raise Refused(f"{text} script: {sha.decode()}, on @user_script:{line}." if line else text)


def _scalar(value: object) -> Reply:
    if type(value) is bytes:
        return value
    if isinstance(value, (bool, type(None))):
        return 1 if value else None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        # As the C cast does with what no integer can hold.
        return int(value) if -(2.0**63) <= value < 2.0**63 else -(2**63)
    return None


def _from_table(table: _Table) -> Reply:
    error, status = table[b"err"], table[b"ok"]
    if type(error) is bytes:
        return Refused(error.decode(errors="replace")).as_reply()
    if type(status) is bytes:
        return status
    items: list[Reply] = []
    while (item := table[len(items) + 1]) is not None:
        items.append(_from_table(cast("_Table", item)) if hasattr(type(item), "keys") else _scalar(item))
    return items
