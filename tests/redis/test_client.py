from __future__ import annotations

import enum

import anyio
import pytest
from redis.exceptions import DataError, ExecAbortError, NoPermissionError, RedisError, ResponseError

from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.script import Script
from docket_anyio._redis.url import parse_url
from tests.conftest import StartRedis
from tests.servers import RedisServer

GREET = Script("return {KEYS[1], ARGV[1], 7, redis.status_reply('FINE')}")


class Word(enum.StrEnum):
    HELLO = "hello"


class Number(enum.IntEnum):
    SEVEN = 7


async def test_has_the_commands_of_redis_py_and_bytes_as_values(redis: Redis, unique: str) -> None:
    assert await redis.set(unique, "x", ex=60) is True
    assert await redis.get(unique) == b"x"
    assert await redis.hset(unique + "h", mapping={"a": 1, "b": 2.5}) == 2
    assert await redis.hgetall(unique + "h") == {b"a": b"1", b"b": b"2.5"}
    assert await redis.zadd(unique + "z", {"m": 1.5}) == 1
    assert await redis.zrange(unique + "z", 0, -1, withscores=True) == [(b"m", 1.5)]
    assert await redis.mget([]) == []
    assert (await redis.info("server"))["tcp_port"]


async def test_names_of_two_words_and_streams(redis: Redis, unique: str) -> None:
    assert await redis.xgroup_create(unique, "group", mkstream=True) is True
    identifier = await redis.xadd(unique, {"field": "value"})
    entries = await redis.xreadgroup("group", "consumer", {unique: ">"}, count=1)
    assert entries == [[unique.encode(), [(identifier, {b"field": b"value"})]]]
    assert (await redis.xpending(unique, "group"))["pending"] == 1
    assert await redis.xack(unique, "group", identifier) == 1


async def test_scans(redis: Redis, unique: str) -> None:
    await redis.mset({f"{unique}{number}": number for number in range(200)})
    found = [key async for key in redis.scan_iter(match=f"{unique}*", count=17)]
    assert len(set(found)) == 200


async def test_takes_what_redis_py_takes(redis: Redis, unique: str) -> None:
    for value, expected in [
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ("\N{SNOWMAN}", "\N{SNOWMAN}".encode()),
        (1.5, b"1.5"),
        (Word.HELLO, b"hello"),
        (Number.SEVEN, b"7"),
    ]:
        await redis.execute_command("SET", unique, value)
        assert await redis.get(unique) == expected
    for value in (None, True, ["x"]):
        with pytest.raises(DataError, match=f"cannot hold a {type(value).__name__}"):
            await redis.execute_command("SET", unique, value)


async def test_a_command_that_blocks_holds_nobody_up(redis: Redis, unique: str) -> None:
    popped: list[object] = []

    async def pop() -> None:
        popped.append(await redis.blpop(unique, timeout=0))
        popped.append(await redis.xread({unique + "s": "$"}, block=20))

    async with anyio.create_task_group() as group:
        group.start_soon(pop)
        await anyio.wait_all_tasks_blocked()
        await redis.rpush(unique, "item")
    assert popped == [(unique.encode(), b"item"), []] or popped == [[unique.encode(), b"item"], []]


@pytest.mark.parametrize(
    "command",
    [("SUBSCRIBE", "x"), ("watch", "x"), ("MULTI",), (b"SELECT", 1), ("AUTH", "x"), ("CLIENT REPLY", "OFF"), ("QUIT",)],
)
async def test_what_would_change_the_connection_is_refused(
    redis: Redis, command: tuple[str | bytes | int, ...]
) -> None:
    with pytest.raises(RedisError, match="changes the connection"):
        await redis.execute_command(*command)


async def test_scripts_are_loaded_when_the_server_does_not_know_them(redis: Redis, unique: str) -> None:
    for _ in range(2):
        await redis.script_flush()
        for _ in range(2):
            assert await redis.run_script(GREET, [unique], ["x"]) == [unique.encode(), b"x", 7, b"FINE"]
    with pytest.raises(ResponseError, match="oh no"):
        await redis.run_script(Script("return redis.error_reply('oh no')"), [], [])


async def test_redis_pys_scripts_work(redis: Redis, unique: str) -> None:
    script = redis.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert await script(keys=[unique], args=[3]) == 3


async def test_errors_are_redis_pys(start_redis: StartRedis) -> None:
    with start_redis("--user", "limited", "on", ">pw", "~*", "+@connection", "+get") as server:
        async with connect(parse_url(f"redis://limited:pw@127.0.0.1:{server.port}")) as client:
            assert await client.get("x") is None
            with pytest.raises(NoPermissionError):
                await client.set("x", 1)
            with pytest.raises(ResponseError):
                await client.execute_command("NOSUCHCOMMAND")


class TestPipeline:
    @pytest.mark.parametrize("transaction", [True, False])
    async def test_returns_results_in_order(self, redis: Redis, unique: str, *, transaction: bool) -> None:
        async with redis.pipeline(transaction=transaction) as pipe:
            pipe.set(unique, 1).incr(unique).mget([])
            pipe.hset(unique + "h", mapping={"a": 1})
            pipe.hgetall(unique + "h")
            assert len(pipe) == 5
            assert await pipe.execute() == [True, 2, [], 1, {b"a": b"1"}]
            assert len(pipe) == 0
            assert await pipe.execute() == []

    @pytest.mark.parametrize("transaction", [True, False])
    async def test_an_error_is_raised_or_returned(self, redis: Redis, unique: str, *, transaction: bool) -> None:
        pipe = redis.pipeline(transaction)
        with pytest.raises(
            ResponseError, match=f"Command # 2 \\(INCRBY {unique} 1\\) of pipeline caused error: .*integer"
        ):
            await pipe.set(unique, "x").incr(unique).get(unique).execute()
        first, error, last = await pipe.set(unique, "x").incr(unique).get(unique).execute(raise_on_error=False)
        assert (first, type(error), last) == (True, ResponseError, b"x")

    async def test_a_refused_transaction_does_nothing(self, redis: Redis, unique: str) -> None:
        pipe = redis.pipeline()
        pipe.set(unique, "x").execute_command("NOSUCHCOMMAND")
        with pytest.raises(ResponseError, match="Command # 2 \\(NOSUCHCOMMAND\\)"):
            await pipe.execute()
        assert await redis.get(unique) is None
        assert not issubclass(ResponseError, ExecAbortError)

    async def test_a_transaction_is_not_mixed_with_other_callers(self, redis: Redis, unique: str) -> None:
        async def transfer(amount: int) -> None:
            for _ in range(20):
                pipe = redis.pipeline()
                results = await pipe.incrby(unique + "a", amount).decrby(unique + "b", amount).execute()
                assert sum(results) == 0

        async with anyio.create_task_group() as group:
            for amount in range(10):
                group.start_soon(transfer, amount)

    async def test_has_no_watch(self, redis: Redis, unique: str) -> None:
        with pytest.raises(RedisError, match="changes the connection"):
            redis.pipeline().execute_command("WATCH", unique)

    def test_an_empty_pipeline_is_true(self, redis_server: RedisServer) -> None:
        async def main() -> None:
            assert connect(parse_url(redis_server.url)).pipeline()

        anyio.run(main)
