"""Scripts on memory://: conversions and errors as Redis has them, and no way out of the sandbox."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from hashlib import sha1
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError

from docket_anyio._redis.memory import lua
from docket_anyio._redis.memory.server import Server
from docket_anyio._redis.memory.transport import MemoryTransport, open_memory_transport
from docket_anyio._redis.transport import Argument


@pytest.fixture
async def memory(anyio_backend: object, unique: str) -> AsyncGenerator[MemoryTransport]:
    transport = open_memory_transport(f"memory://{unique}")
    yield transport
    await transport.aclose()


async def run(memory: MemoryTransport, text: str, *args: Argument) -> Any:
    return await memory.execute(["EVAL", text, 0, *args])


async def test_keys_and_arguments(memory: MemoryTransport) -> None:
    reply = await memory.execute(["EVAL", "return {KEYS[2], ARGV[1], #KEYS, #ARGV}", 2, "k1", b"\x00\xff", "argument"])
    assert reply == [b"\x00\xff", b"argument", 2, 1]
    many = [str(number) for number in range(9000)]
    assert await memory.execute(["EVAL", "return {#ARGV, ARGV[9000], #KEYS}", 1, "key", *many]) == [9000, b"8999", 1]


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("return 3.9", 3),
        ("return -3.9", -3),
        ("return 1/0", -(2**63)),
        ("return 2^53", 2**53),
        ("return true", 1),
        ("return false", None),
        ("return nil", None),
        ("return", None),
        ("return {}", []),
        ("return print == nil", "nonexistent global variable 'print'"),
        ("return {1, 'two', {3, {ok = 'FOUR'}}, false, true, 5.9, nil, 6}", [1, b"two", [3, b"FOUR"], None, 1, 5]),
        ("return {ok = 'FINE'}", b"FINE"),
        ("return redis.status_reply('FINE')", b"FINE"),
        ("return {err = 'MY words'}", "^MY words$"),
        ("return redis.error_reply('MY words')", "^MY words$"),
        ("return redis.error_reply('-MY words')", "^MY words$"),
        ("return redis.error_reply('words')", "^words$"),
        ("return redis.error_reply()", "wrong number or type of arguments"),
        ("return redis.status_reply(1)", "wrong number or type of arguments"),
        ("return redis.sha1hex('x')", sha1(b"x", usedforsecurity=False).hexdigest().encode()),
        ("return redis.sha1hex()", "wrong number of arguments"),
        ("return function() end", None),
        ("return #redis.call('KEYS', '*')", 0),
        ("return tostring(redis.call('GET', 'missing'))", b"false"),
        ("return type(redis.call('SET', 'a', 1).ok)", b"string"),
        ("redis.call('SET', 'a', 1e17) return redis.call('GET', 'a')", b"1e+17"),
        ("redis.call('SET', 'a', 0.1) return redis.call('GET', 'a')", b"0.10000000000000001"),
        ("return redis.call('SET', 'a', true)", "arguments must be strings or integers"),
        ("return redis.call()", "Please specify at least one argument"),
        ("return redis.call('NOSUCH')", "Unknown Redis command called from script"),
        ("return redis.call('GET')", "Wrong number of args calling Redis command from script"),
        ("return redis.call('MULTI')", "not allowed from script"),
        ("return redis.call('EVAL', 'return 1', 0)", "not allowed from script"),
        ("redis.call('LPUSH', 'list', 1) return redis.call('GET', 'list')", "^WRONGTYPE Operation"),
        (
            "redis.call('LPUSH', 'list', 1) return {redis.pcall('GET', 'list').err}",
            [b"WRONGTYPE Operation against a key holding the wrong kind of value"],
        ),
        ("local ok, problem = pcall(error, {err = 'MY words'}) return problem", b"MY words"),
        ("local ok, problem = pcall(error, 'words') return problem", b"words"),
        ("error('words')", "^user_script:1: words script: [0-9a-f]{40}, on @user_script:1.$"),
        ("\n\nerror({err = 'MY words'})", "^MY words script: [0-9a-f]{40}, on @user_script:3.$"),
        ("this is no Lua", "Error compiling script .*user_script:1:"),
        ("redis.replicate_commands() redis.set_repl(redis.REPL_ALL) redis.setresp(2) return 'x'", b"x"),
        ("return redis.setresp(4)", "RESP version"),
        ("return coroutine.wrap(function() return redis.call('PING').ok end)()", b"PONG"),
        ("return ('x'):upper() .. string.rep('y', 2) .. table.concat({1, 2}, ',') .. math.floor(1.5)", b"Xyy1,21"),
        ("return {(xpcall(function() error('x') end, function(problem) return 'caught' end))}", [None]),
        ("return loadstring('return KEYS[1] or 5')()", 5),
        ("local parts = {'return ', '7'} return load(function() return table.remove(parts, 1) end)()", 7),
        ("return collectgarbage('count') > 0", 1),
    ],
)
async def test_conversions_and_errors(memory: MemoryTransport, text: str, reply: Any) -> None:
    if isinstance(reply, str):
        with pytest.raises(ResponseError, match=reply):
            await run(memory, text)
    else:
        assert await run(memory, text) == reply


async def test_long_and_nested_replies(memory: MemoryTransport) -> None:
    await run(memory, "for n = 1, 3000 do redis.call('RPUSH', 'list', n) end")
    assert await run(memory, "return #redis.call('LRANGE', 'list', 0, -1)") == 3000
    reply = await run(memory, "return redis.call('LRANGE', 'list', 0, -1)")
    assert reply == [b"%d" % number for number in range(1, 3001)]
    await memory.execute(["XADD", "stream", "1-1", "field", "value"])
    assert await run(memory, "return redis.call('XRANGE', 'stream', '-', '+')[1][2][2]") == b"value"
    assert await run(memory, "return redis.call('HMGET', 'hash', 'a', 'b')[2] == false") == 1
    await memory.execute_all([["HSET", "h", "f", "v"]])
    assert await run(memory, "return {{err = 'MY words'}}") != [b"MY words"]


@pytest.mark.parametrize(
    "text",
    [
        "leak = 1",
        "string.leak = 1",
        "redis.call = nil",
        "KEYS = {}",
        "_G.leak = 1",
        "rawset(_G, 'leak', 1)",
        "rawset(string, 'leak', 1)",
        "getmetatable('').__index = nil",
        "setmetatable(_G, {})",
        "setmetatable(string, {})",
        "local _ = getmetatable(_G).__index",
        *(f"return {name}" for name in ("os", "io", "python", "debug", "require", "package", "dofile", "module")),
        *(f"return {name}" for name in ("loadfile", "getfenv", "setfenv", "newproxy", "print")),
        "return loadstring('return os')()",
        "return load(function() return nil end).os",
        "return loadstring(string.dump(function() return os end))()",
        "return redis.call.__class__",
        "return cjson.null.__class__",
        "return loadstring('leak = 1')()",
        "return coroutine.wrap(function() return os end)()",
    ],
)
async def test_nothing_leads_out_of_the_sandbox_or_to_another_script(memory: MemoryTransport, text: str) -> None:
    with pytest.raises(ResponseError):
        await run(memory, text)
    assert await run(memory, "return {rawget(_G, 'leak') == nil, string.leak == nil, type(redis.call)}") == [
        1,
        1,
        b"function",
    ]


async def test_arguments_of_one_script_are_gone_in_the_next(memory: MemoryTransport) -> None:
    await run(memory, "ARGV[5] = 'left' return ARGV[1]", "argument")
    assert await run(memory, "return {#ARGV, ARGV[1] or 'none', ARGV[5] or 'none'}") == [0, b"none", b"none"]


async def test_a_fault_of_our_own_is_not_an_error_of_the_script(
    memory: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(server: Server, words: list[bytes]) -> None:
        raise ZeroDivisionError(words)

    monkeypatch.setattr(Server, "_run_from_script", fail)
    with pytest.raises(ZeroDivisionError):
        await run(memory, "return redis.call('PING')")
    monkeypatch.undo()
    assert await run(memory, "return 1") == 1


def test_nothing_is_executed_outside_a_script() -> None:
    with pytest.raises(RuntimeError, match="none is running"):
        lua._Host().call(b"PING")


def test_a_lupa_without_any_such_lua(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lua, "_LUA_MODULES", ("lupa.none",))
    with pytest.raises(ImportError, match=r"needs Lua 5\.1"):
        lua._new_runtime()


def test_scripts_cannot_reach_into_objects() -> None:
    runtime = lua._new_runtime()
    with pytest.raises(AttributeError):
        runtime.execute(b"local object = ... return object.__class__", lua._Host())


async def test_scripts_by_their_hash(memory: MemoryTransport) -> None:
    text = "return ARGV[1]"
    sha = sha1(text.encode(), usedforsecurity=False).hexdigest()
    with pytest.raises(NoScriptError):
        await memory.execute(["EVALSHA", sha, 0, "x"])
    assert await memory.execute(["SCRIPT", "LOAD", text]) == sha.encode()
    assert await memory.execute(["EVALSHA", sha.upper(), 0, "x"]) == b"x"
    assert await memory.execute(["SCRIPT", "EXISTS", sha, "0" * 40]) == [1, 0]
    await memory.execute(["SCRIPT", "LOAD", text])
    await memory.execute(["SCRIPT", "FLUSH"])
    with pytest.raises(NoScriptError):
        await memory.execute(["EVALSHA", sha, 0, "x"])
    assert await run(memory, text, "y") == b"y"
    assert await memory.execute(["EVALSHA", sha, 0, "z"]) == b"z"
    assert await memory.execute(["SCRIPT", "LOAD", text]) == sha.encode()


@pytest.mark.parametrize("count", ["-1", "2", "x", "1.5", "--1"])
async def test_the_number_of_keys_is_checked(memory: MemoryTransport, count: str) -> None:
    with pytest.raises(ResponseError, match=r"Number of keys can't|not an integer"):
        await memory.execute(["EVAL", "return 1", count, "key"])


async def test_scripts_that_came_by_eval_are_bounded_and_loaded_ones_stay(memory: MemoryTransport) -> None:
    loaded = await memory.execute(["SCRIPT", "LOAD", "return 'loaded'"])
    for number in range(lua._MAX_EVALUATED + 20):
        await run(memory, f"return {number}")
        await run(memory, "return 'used'")
    assert len(memory._server.scripts._lua.scripts) == lua._MAX_EVALUATED + 1
    used = sha1(b"return 'used'", usedforsecurity=False).hexdigest()
    assert isinstance(loaded, bytes)
    assert await memory.execute(["SCRIPT", "EXISTS", loaded, used]) == [1, 1]


async def test_cjson(memory: MemoryTransport) -> None:
    text = r"""return cjson.encode({1, 'x/"\n\127\\', cjson.null, 1.5, 1e20, true, {}, {key = {2}}})"""
    assert await run(memory, text) == rb'[1,"x\/\"\n\u007f\\",null,1.5,1e+20,true,{},{"key":[2]}]'
    again = "return cjson.encode(cjson.decode(ARGV[1]))"
    for text in ('[1,2.5,{"a":null},"é",[],-3e2,false]', '"\U0001f600"', '{"a":{"b":["c"]}}', " [ 1 , 2 ] "):
        assert await run(memory, again, text)
    assert (
        await run(memory, "return cjson.decode(ARGV[1])[1]", r'["\ud83d\ude00\u00e9\n\/"]') == "\U0001f600é\n/".encode()
    )
    for text in (
        "[1,",
        "{1:2}",
        '{"a" 1}',
        "nul",
        '"open',
        "[1] 2",
        '["\\x"]',
        '["\\ud83d"]',
        "[1 2]",
        '{"a":1 "b"}',
        "01x",
    ):
        with pytest.raises(ResponseError, match="Expected"):
            await run(memory, "return cjson.decode(ARGV[1])", text)
    for value in ("1/0", "function() end", "{[1] = 1, [100] = 2}", "{[true] = 1}"):
        with pytest.raises(ResponseError, match="Cannot serialise"):
            await run(memory, f"return cjson.encode({value})")


async def test_the_log(memory: MemoryTransport, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await run(memory, "redis.log(redis.LOG_WARNING, 'careful', 5)")
        await run(memory, "redis.log(redis.LOG_DEBUG, 'detail')")
    assert [(record.levelname, record.getMessage()) for record in caplog.records if "memory" in record.name] == [
        ("WARNING", "careful 5"),
        ("DEBUG", "detail"),
    ]
    with pytest.raises(ResponseError, match="requires two arguments"):
        await run(memory, "redis.log('careful')")
