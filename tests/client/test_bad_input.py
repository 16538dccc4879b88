"""Bad input: an error of our own at the call that made it, which says what to do, and nothing half-written."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docket_anyio import Cron, Docket, Execution, ExecutionCancelled, Perpetual, Retry, Timeout, Worker, WorkerThread
from docket_anyio.exceptions import (
    DocketError,
    DuplicateTask,
    InvalidArguments,
    InvalidKey,
    InvalidSetting,
    InvalidTask,
    InvalidTime,
    InvalidURL,
    NotSerializable,
    RedisRefused,
    RedisUnavailable,
    UnknownTask,
)
from tests.conftest import StartRedis
from tests.dockets import contents, run_all, running

ZERO, SECOND, HOUR = timedelta(0), timedelta(seconds=1), timedelta(hours=1)


async def send(to: str, *, copies: int = 1) -> None: ...


def same_name() -> Any:
    async def send(to: str) -> None: ...

    return send


@asynccontextmanager
async def nothing_written(docket: Docket) -> AsyncGenerator[None]:
    before = await contents(docket)
    yield
    assert await contents(docket) == before


# --- adding -------------------------------------------------------------------------------------------------------


async def test_an_unknown_name(docket: Docket) -> None:
    async with nothing_written(docket):
        with pytest.raises(
            UnknownTask, match=r"^no task is registered under the name 'sent'; call docket.register\(function\) first$"
        ) as caught:
            docket.add("sent")
    assert caught.value.name == "sent"
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'to'"),
        (("ann", "bob"), {}, "too many positional arguments"),
        (("ann",), {"copy": 2}, "got an unexpected keyword argument 'copy'"),
        (("ann",), {"to": "bob"}, "multiple values for argument 'to'"),
    ],
)
async def test_arguments_that_do_not_fit(
    docket: Docket, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    async with nothing_written(docket):
        with pytest.raises(InvalidArguments, match=f"^task 'send' cannot be called like that: {words}") as caught:
            await docket.add(send)(*args, **kwargs)
    assert isinstance(caught.value, TypeError)


def make_generator() -> Any:
    return (each for each in ())


@pytest.mark.parametrize("make", [threading.Lock, make_generator, threading.current_thread])
async def test_arguments_that_cannot_be_pickled(docket: Docket, make: Callable[[], Any]) -> None:
    value = make()
    async with nothing_written(docket):
        with pytest.raises(NotSerializable, match=r"^the arguments of task 'send' cannot be pickled: TypeError: "):
            await docket.add(send)(value)


@pytest.mark.parametrize(
    "key", ["stream", "queue", "strikes", "workers", "runs:x", "results:x", "known:x", "a:concurrency:b"]
)
async def test_a_key_of_the_dockets_own(docket: Docket, key: str) -> None:
    async with nothing_written(docket):
        with pytest.raises(InvalidKey, match=f"^the key '{key}' would collide .* put a prefix before it$"):
            docket.add(send, key=key)
        with pytest.raises(InvalidKey, match="would collide"):
            await docket.cancel(key)
        with pytest.raises(InvalidKey, match="would collide"):
            await docket.get_execution(key)


@pytest.mark.parametrize("key", ["", "\udcff"])
async def test_a_key_that_is_none(docket: Docket, key: str) -> None:
    async with nothing_written(docket):
        with pytest.raises(InvalidKey):
            docket.add(send, key=key)


async def test_two_functions_under_one_name(docket: Docket) -> None:
    docket.register(send)
    other = same_name()
    async with nothing_written(docket):
        for register in (docket.add, docket.register, docket.task):
            with pytest.raises(DuplicateTask, match=r"the task name 'send' belongs to .* under a name of its own"):
                register(other)
    assert docket.tasks["send"] is send
    docket.register(other, names=["send-2"])


async def test_a_time_without_a_zone(docket: Docket) -> None:
    async with nothing_written(docket):
        with pytest.raises(InvalidTime, match=r"^when is datetime.*, which has no time zone; use datetime.now\(UTC\)"):
            docket.add(send, when=datetime(2030, 1, 1))  # noqa: DTZ001 - the point


# --- tasks --------------------------------------------------------------------------------------------------------


def several(to: str) -> Iterator[str]:
    yield to


async def several_later(to: str) -> AsyncIterator[str]:
    yield to


@functools.wraps(send)
def forgot_to_await(to: str) -> object:
    return send(to)


async def in_which_thread(to: str, thread: WorkerThread = WorkerThread()) -> None: ...


def in_two_threads(a: WorkerThread = WorkerThread(), b: WorkerThread = WorkerThread()) -> None: ...


class NoName:
    async def __call__(self) -> None: ...


async def two_retries(a: Retry = Retry(attempts=2), b: Retry = Retry(attempts=3)) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (several, "task 'several' is <function several.*>, which is a generator function"),
        (several_later, "task 'several_later' is <function several_later.*>, which is a generator function"),
        (forgot_to_await, "which is a def around an async def"),
        (int, "task 'int' is <class 'int'>, which is not a function"),
        (in_which_thread, "task 'in_which_thread': 'thread' asks for a WorkerThread, and the task is an async def"),
        (in_two_threads, "Only one WorkerThread dependency is allowed, and task 'in_two_threads' has more than one"),
        (NoName(), r"has no name; register it with names=\[\.\.\.\]"),
        (two_retries, "Only one Retry dependency is allowed, and task 'two_retries' has more than one: Retry at "),
    ],
)
async def test_a_function_that_cannot_be_a_task(docket: Docket, function: Any, words: str) -> None:
    async with nothing_written(docket):
        with pytest.raises(InvalidTask, match=words):
            docket.add(function)
        with pytest.raises(InvalidTask, match=words):
            docket.register(function)
    assert set(docket.tasks) == {"trace", "fail", "sleep"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tests.client.collections_of_tasks", "is not of the form module:name"),
        (":tasks", "is not of the form module:name"),
        ("tests.client.nowhere:tasks", "'tests.client.nowhere:tasks' cannot be loaded: No module named"),
        (
            "tests.client.collections_of_tasks:nothing",
            "the module 'tests.client.collections_of_tasks' has no 'nothing'",
        ),
        ("tests.client.collections_of_tasks:no_collection", "is 5, not a collection of functions"),
        ("tests.client.collections_of_tasks:with_a_number", "holds 5, which is not a function"),
        ("tests.client.collections_of_tasks:with_a_generator", "which is a generator function"),
    ],
)
async def test_a_collection_that_is_none(docket: Docket, path: str, words: str) -> None:
    with pytest.raises(InvalidTask, match=words):
        docket.register_collection(path)
    assert set(docket.tasks) == {"trace", "fail", "sleep"}


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "the URL has no scheme"),
        ("localhost:6379", "the scheme 'localhost' is unknown"),
        ("http://localhost", "the scheme 'http' is unknown"),
        ("redis://localhost:port", "the port in the URL"),
        ("redis://localhost:99999", "the port in the URL"),
        ("redis://localhost/db", "the number of a database"),
        ("redis://localhost?nonsense=1", "unknown option 'nonsense'"),
        ("unix://", "needs the path of the socket"),
        ("redis://[::1", "its host is malformed"),
    ],
)
def test_a_bad_url(url: str, words: str) -> None:
    with pytest.raises(InvalidURL, match=words):
        Docket("d", url)


def test_a_password_is_in_no_message() -> None:
    for url in ("redis://:s3cret@localhost:port", "http://:s3cret@localhost", "redis://:s3cret@localhost?x=s3cret"):
        with pytest.raises(InvalidURL) as caught:
            Docket("d", url)
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Docket("d", "redis://:s3cret@localhost"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": ""}, "a docket needs a name"),
        ({"heartbeat_interval": ZERO}, "heartbeat_interval must be longer than zero"),
        ({"missed_heartbeats": 0}, "missed_heartbeats must be at least 1, not 0"),
        ({"execution_ttl": -SECOND}, "execution_ttl must not be negative"),
    ],
)
def test_a_docket_with_a_setting_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        Docket(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"concurrency": 0}, "concurrency must be at least 1, not 0"),
        ({"concurrency": -5}, "concurrency must be at least 1, not -5"),
        ({"message_batch": 0}, "message_batch must be at least 1, not 0"),
        ({"redelivery_timeout": ZERO}, "redelivery_timeout must be longer than zero"),
        ({"reconnection_delay": ZERO}, "reconnection_delay must be longer than zero"),
        ({"minimum_check_interval": -SECOND}, "minimum_check_interval must be longer than zero"),
        ({"scheduling_resolution": ZERO}, "scheduling_resolution must be longer than zero"),
        ({"grace": -SECOND}, "grace must not be negative"),
    ],
)
def test_a_worker_with_a_setting_out_of_range(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        Worker(Docket("d", "memory://"), **options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Retry(attempts=0), "the attempts of a Retry must be at least 1, not 0"),
        (lambda: Retry(attempts=2, delay=-SECOND), "the delay of a Retry must not be negative"),
        (lambda: Timeout(ZERO), "a Timeout must be longer than zero"),
        (lambda: Perpetual(every=-SECOND), "the interval of a Perpetual must not be negative"),
        (lambda: Cron("61 * * * *"), "is no crontab expression that ever matches"),
        (lambda: Cron("0 0 30 2 *"), "no crontab expression that ever matches"),
    ],
)
def test_a_policy_with_a_setting_out_of_range(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        make()


WISHES: dict[str, tuple[Callable[[Any], object], type[Exception], str]] = {
    "retry.after": (lambda policy: policy.after(-SECOND), InvalidSetting, "the delay of a retry must not be negative"),
    "retry.in_": (lambda policy: policy.in_(-SECOND), InvalidSetting, "the delay of a retry must not be negative"),
    "retry.at": (lambda policy: policy.at(datetime(2030, 1, 1)), InvalidTime, "has no time zone"),  # noqa: DTZ001
    "perpetual.after": (lambda policy: policy.after(-SECOND), InvalidSetting, "must not be negative"),
    "perpetual.at": (lambda policy: policy.at(datetime(2030, 1, 1)), InvalidTime, "has no time zone"),  # noqa: DTZ001
}


@pytest.mark.parametrize("name", WISHES)
async def test_a_body_that_asks_for_a_time_that_is_none(docket: Docket, name: str) -> None:
    """It is told at the call; nothing is scheduled by it."""
    ask, error, words = WISHES[name]
    policies: list[object] = []

    async def wish(retry: Retry = Retry(attempts=2)) -> None:
        policies.append(retry)
        ask(retry)

    async def repeat(perpetual: Perpetual = Perpetual()) -> None:
        policies.append(perpetual)
        perpetual.cancel()
        ask(perpetual)

    execution = await docket.add(wish if name.startswith("retry") else repeat)()
    await run_all(docket)
    with pytest.raises(error, match=words):
        await execution.get_result()
    assert len(policies) == (2 if name.startswith("retry") else 1)  # an error as any other, to be tried again


async def test_an_interval_of_zero_leaves_room_for_others(docket: Docket) -> None:
    """It means: again at once, for ever."""
    runs = 0

    async def poll(perpetual: Perpetual = Perpetual(every=ZERO)) -> None:
        nonlocal runs
        runs += 1

    async with running(docket, concurrency=1):
        await docket.add(poll, key="poll")()
        for number in range(5):
            execution = await docket.add(echo)(number)
            assert await execution.get_result(timeout=5 * SECOND) == number
        await docket.cancel("poll")
        with pytest.raises(ExecutionCancelled):
            await (await found(docket, "poll")).get_result(timeout=5 * SECOND)
        before = runs
        assert await (await docket.add(echo)(1)).get_result(timeout=5 * SECOND) == 1
    assert before == runs >= 5


async def echo(value: object) -> object:
    return value


async def found(docket: Docket, key: str) -> Execution[Any]:
    execution = await docket.get_execution(key)
    assert execution is not None
    return execution


# --- Redis --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock"])
async def test_a_redis_that_cannot_be_reached(anyio_backend: object, url: str) -> None:
    async with Docket("d", url) as docket:
        with pytest.raises(RedisUnavailable) as caught:
            await docket.add(send)("ann")
        assert caught.value.maybe_executed is False
        with pytest.raises(RedisUnavailable):
            await docket.cancel("key")


async def test_a_redis_that_refuses(anyio_backend: object, start_redis: StartRedis) -> None:
    with start_redis(password="right") as server:
        for credentials in ("", ":wrong@", "nobody:wrong@"):
            async with Docket("d", f"redis://{credentials}127.0.0.1:{server.port}/0") as docket:
                with pytest.raises(RedisRefused) as caught:
                    await docket.add(send)("ann")
                assert "wrong@" not in str(caught.value)
        async with Docket("d", server.url) as docket:
            assert await contents(docket) == {}
            await docket.add(send)("ann")


async def add_too_much(docket: Docket) -> None:
    for _ in range(100):
        await docket.add(send)("x" * 100_000)


async def test_a_redis_that_is_full(anyio_backend: object, start_redis: StartRedis) -> None:
    with start_redis("--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as server:
        async with Docket("d", server.url) as docket:
            with pytest.raises(RedisRefused, match="maxmemory"):
                await add_too_much(docket)
            found = await contents(docket)
            entries = found.pop("d:stream", [])
            assert len(found) == len(entries)  # a record for each message, and nothing else


def test_all_of_them_are_ours() -> None:
    for error in (UnknownTask, InvalidArguments, NotSerializable, InvalidKey, DuplicateTask, InvalidTime, InvalidURL):
        assert issubclass(error, DocketError)


async def test_a_good_call_after_bad_ones(docket: Docket) -> None:
    with pytest.raises(InvalidArguments):
        await docket.add(send, key="one")()
    execution = await docket.add(send, key="one", when=datetime.now(UTC) + HOUR)("ann", copies=2)
    assert execution.generation == 1
    await docket.cancel("one")
