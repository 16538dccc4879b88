"""``get_result``: what a task returned or raised, as itself, however and whenever it is asked for."""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from attrs import define, evolve, field

from docket_anyio import Docket, Execution, ExecutionCancelled, ExecutionState, Retry
from docket_anyio._broker.broker import Broker
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Command, Reply, Transport
from docket_anyio.exceptions import DocketError, ExecutionGone, InvalidTime, NotSerializable, TaskFailed
from tests.clocks import Stopwatch, virtual_time
from tests.conftest import Store
from tests.dockets import open_docket, run_all, running

SHORT, LONG = timedelta(milliseconds=20), timedelta(minutes=5)


class Refused(Exception):
    """An exception of a user, with more to it than its message."""

    def __init__(self, who: str, code: int) -> None:
        super().__init__(who, code)
        self.who, self.code = who, code


class NeedsMore(Exception):
    """Pickles well, and cannot be made again from its arguments."""

    def __init__(self, who: str, code: int) -> None:
        super().__init__(f"{who} {code}")


class Holds(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def give(value: Any) -> Any:
    return value


async def throw(error: Exception) -> None:
    raise error


async def throw_one_of(kind: str) -> None:
    raise {"needs more": NeedsMore("Ann", 5), "holds": Holds("no"), "speechless": Speechless()}[kind]


VALUES = [
    1, 0, "", "text", b"bytes \xff", False, 1.5, [1, [2]], {"a": (1, 2)}, {1, 2}, datetime(2026, 11, 22, tzinfo=UTC),
    ..., "x" * 1_000_000,
]  # fmt: skip


async def test_values(docket: Docket) -> None:
    async with running(docket):
        executions = [await docket.add(give)(value) for value in VALUES]
        assert [await execution.get_result() for execution in executions] == VALUES


async def test_none(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(give)(None)
        assert await execution.get_result() is None
        assert execution.result_key is None


async def test_a_class_that_cannot_be_imported(docket: Docket) -> None:
    async with running(docket):

        class Local:
            x = 5

        async def make() -> Any:
            return Local()

        assert (await (await docket.add(make)()).get_result()).x == 5


async def test_the_result_can_be_asked_for_again(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(give)([1])
        first, second = await execution.get_result(), await execution.get_result()
        assert first == second == [1]
        assert first is not second


async def test_the_handle_is_up_to_date_with_the_result(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(give)(1)
        await execution.get_result()
        assert execution.state is ExecutionState.COMPLETED
        assert execution.completed_at is not None


# --- exceptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError(2, "gone"), TimeoutError("mine")])
async def test_an_exception_comes_as_itself(docket: Docket, error: Exception) -> None:
    async with running(docket):
        execution = await docket.add(throw)(error)
        with pytest.raises(type(error)) as caught:
            await execution.get_result(timeout=LONG)
        assert type(caught.value) is type(error)
        assert caught.value.args == error.args


async def test_an_exception_of_a_user_keeps_what_it_knows(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(throw)(Refused("Ann", 5))
        with pytest.raises(Refused) as caught:
            await execution.get_result()
        assert (caught.value.who, caught.value.code) == ("Ann", 5)
        assert execution.error == "Refused: ('Ann', 5)"


async def test_an_exception_class_that_cannot_be_imported(docket: Docket) -> None:
    async with running(docket):

        class LocalError(Exception):
            pass

        async def fail_locally() -> None:
            raise LocalError("here")

        execution = await docket.add(fail_locally)()
        with pytest.raises(Exception, match="here") as caught:
            await execution.get_result()
        assert type(caught.value).__name__ == "LocalError"


async def test_a_group_comes_whole(docket: Docket) -> None:
    async with running(docket):
        group = ExceptionGroup("both", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])
        execution = await docket.add(throw)(group)
        with pytest.RaisesGroup(ValueError, pytest.RaisesGroup(KeyError), match="both"):
            await execution.get_result()


async def test_a_group_with_one_exception_stays_a_group(docket: Docket) -> None:
    async with running(docket):

        async def in_a_nursery() -> None:
            async with anyio.create_task_group() as group:  # noqa: ASYNC112
                group.start_soon(throw, ValueError("a"))

        execution = await docket.add(in_a_nursery)()
        with pytest.RaisesGroup(ValueError):
            await execution.get_result()


async def test_a_group_can_be_split(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(throw)(ExceptionGroup("both", [ValueError("a"), KeyError("b")]))
        caught: list[ExceptionGroup[Exception]] = []
        try:
            await execution.get_result()
        except* ValueError as group:
            caught.append(group)
        except* KeyError as group:
            caught.append(group)
        assert [type(each.exceptions[0]) for each in caught] == [ValueError, KeyError]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("needs more", "NeedsMore: Ann 5"), ("holds", "Holds: no"), ("speechless", "Speechless")],
)
async def test_an_exception_that_cannot_be_read_back_leaves_its_words(docket: Docket, kind: str, text: str) -> None:
    async with running(docket):
        execution = await docket.add(throw_one_of)(kind)
        expected: type[Exception] = Speechless if kind == "speechless" else TaskFailed
        with pytest.raises(expected) as caught:
            await execution.get_result()
        assert execution.state is ExecutionState.FAILED
        assert execution.error == text
        if expected is TaskFailed:
            assert str(caught.value) == text


@pytest.mark.parametrize(
    "text",
    ["\udcff", "ünï", "\x00\x1b", 'qu"ote\\', "x" * 100_000],
    ids=["surrogate", "unicode", "control", "quotes", "long"],
)
async def test_an_exception_may_say_anything(docket: Docket, text: str) -> None:
    async with running(docket):
        execution = await docket.add(throw)(ValueError(text))
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            await execution.get_result(timeout=LONG)


async def test_a_result_that_cannot_be_pickled_is_a_failure(docket: Docket) -> None:
    async with running(docket):

        async def make_lock() -> Any:
            return threading.Lock()

        execution = await docket.add(make_lock)()
        with pytest.raises(NotSerializable, match="the result of task 'make_lock' cannot be pickled: TypeError"):
            await execution.get_result()
        assert execution.state is ExecutionState.FAILED


async def test_the_exception_does_not_carry_our_own(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(throw)(ValueError("no"))
        with pytest.raises(ValueError) as caught:
            await execution.get_result()
        assert caught.value.__cause__ is None


async def test_an_error_record_without_an_exception(docket: Docket) -> None:
    """As pydocket may leave it."""
    execution = await docket.add(give, key="one")(1)
    async with docket.redis() as redis:
        await redis.hset(f"{docket.name}:runs:one", mapping={"state": "failed", "error": "ValueError: no"})
        await redis.expire(f"{docket.name}:runs:one", 10)
        await redis.xtrim(f"{docket.name}:stream", maxlen=0)
    with pytest.raises(TaskFailed, match=r"^ValueError: no$"):
        await execution.get_result()


async def test_a_stored_exception_that_is_none(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(5)
    await run_all(docket)
    async with docket.redis() as redis:
        await redis.hset(f"{docket.name}:runs:one", "state", "failed")
    with pytest.raises(TaskFailed, match="the execution 'one' failed"):
        await execution.get_result()


# --- how long to wait ---------------------------------------------------------------------------------------------


async def test_a_timeout(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    with pytest.raises(TimeoutError):
        await execution.get_result(timeout=SHORT)
    await docket.cancel("one")


async def test_a_deadline(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    with pytest.raises(TimeoutError):
        await execution.get_result(deadline=datetime.now(UTC) + SHORT)
    with pytest.raises(TimeoutError):
        await execution.get_result(deadline=datetime(2000, 1, 1, tzinfo=UTC))
    await docket.cancel("one")


async def test_a_scope_of_the_caller(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.02):
            await execution.get_result()
    with anyio.move_on_after(0.02) as scope:
        await execution.get_result(timeout=LONG)
    assert scope.cancelled_caught
    await run_all(docket)
    assert await execution.get_result() == 1


@pytest.mark.parametrize("how_long", [{"timeout": timedelta(0)}, {"deadline": datetime(2000, 1, 1, tzinfo=UTC)}])
async def test_no_time_to_wait(docket: Docket, how_long: dict[str, Any]) -> None:
    """What has ended is told; what has not is a timeout, and nothing is waited for."""
    fine = await docket.add(give)(1)
    bad = await docket.add(throw)(ValueError("no"))
    for execution in (fine, bad):
        with pytest.raises(TimeoutError, match="has not ended yet"):
            await execution.get_result(**how_long)
    await run_all(docket)
    waits = await docket.add(give, when=datetime.now(UTC) + LONG)(2)
    assert await fine.get_result(**how_long) == 1
    with pytest.raises(ValueError, match=r"^no$"):
        await bad.get_result(**how_long)
    with pytest.raises(TimeoutError):
        await waits.get_result(**how_long)
    await docket.cancel(waits.key)
    with pytest.raises(ExecutionCancelled):
        await waits.get_result(**how_long)
    never = evolve(waits, key="never heard of")
    with pytest.raises(ExecutionGone):
        await never.get_result(**how_long)


@virtual_time
async def test_the_wait_is_as_long_as_asked_for(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    watch = Stopwatch()
    with pytest.raises(TimeoutError):
        await execution.get_result(timeout=LONG)
    assert watch.seconds() == pytest.approx(300, abs=1e-3)
    async with docket.redis() as redis:
        seconds, microseconds = await redis.time()
    with pytest.raises(TimeoutError):
        await execution.get_result(deadline=datetime.fromtimestamp(seconds + microseconds / 1e6, UTC) + LONG)
    assert watch.seconds() == pytest.approx(600, abs=1e-3)
    assert watch.real_seconds() < 2
    await docket.cancel("one")


async def test_timeout_and_deadline(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    with pytest.raises(ValueError, match="give a timeout or a deadline, not both"):
        await execution.get_result(timeout=LONG, deadline=datetime.now(UTC))
    await docket.cancel("one")


async def test_a_deadline_without_a_zone(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    with pytest.raises(InvalidTime, match="the deadline is"):
        await execution.get_result(deadline=datetime.now())  # noqa: DTZ005 - the point
    await docket.cancel("one")


async def test_a_timeout_of_the_task_is_no_timeout_of_the_wait(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(throw)(TimeoutError("the task's"))
        with pytest.raises(TimeoutError, match="the task's"):
            await execution.get_result(timeout=LONG)


# --- waiting ------------------------------------------------------------------------------------------------------


async def keep_result(execution: Execution[str], found: list[str]) -> None:
    found.append(await execution.get_result())


async def test_waiting_before_it_runs(docket: Docket) -> None:
    execution = await docket.add(give)("value")
    found: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(keep_result, execution, found)
        await anyio.wait_all_tasks_blocked()
        assert found == []
        await run_all(docket)
    assert found == ["value"]


async def test_many_wait_for_one(docket: Docket) -> None:
    execution = await docket.add(give)("value")
    found: list[str] = []
    async with anyio.create_task_group() as group:
        for _ in range(300):
            group.start_soon(keep_result, execution, found)
        await anyio.lowlevel.checkpoint()
        await run_all(docket)
    assert found == ["value"] * 300


async def test_many_wait_for_many(docket: Docket) -> None:
    found: dict[int, int] = {}

    async def wait(execution: Execution[int], number: int) -> None:
        found[number] = await execution.get_result()

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(wait, await docket.add(give)(number), number)
        await run_all(docket, concurrency=50)
    assert found == {number: number for number in range(200)}


async def test_a_waiter_that_gives_up_disturbs_no_other(docket: Docket) -> None:
    execution = await docket.add(give)("value")
    found: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(keep_result, execution, found)
        async with anyio.create_task_group() as impatient:
            for _ in range(20):
                impatient.start_soon(keep_result, execution, found)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        await run_all(docket)
    assert found == ["value"]


async def test_a_result_that_comes_at_any_moment_is_not_missed(docket: Docket) -> None:
    """The wait begins at every distance from the end: before, between reading and subscribing, after."""
    async with running(docket):
        for checkpoints in range(60):
            execution = await docket.add(give)(checkpoints)
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            with anyio.fail_after(3):  # less than the backstop
                assert await execution.get_result() == checkpoints


async def test_waiting_over_a_retry(docket: Docket) -> None:
    async with running(docket):

        async def flaky(retry: Retry = Retry(attempts=3)) -> int:
            if retry.attempt < 3:
                raise ValueError
            return retry.attempt

        assert await (await docket.add(flaky)()).get_result() == 3


async def test_garbage_on_the_channel_is_passed_over(docket: Docket) -> None:
    execution = await docket.add(give, key="one")("value")
    found: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(keep_result, execution, found)
        async with docket.redis() as redis:
            with anyio.fail_after(2):
                while not await redis.publish(f"{docket.name}:state:one", b"garbage"):  # noqa: ASYNC110
                    await anyio.sleep(0.005)
        await run_all(docket)
    assert found == ["value"]


# --- cancelled and gone -------------------------------------------------------------------------------------------


async def test_a_cancelled_task_has_no_result(docket: Docket) -> None:
    execution = await docket.add(give, key="one")(1)
    await docket.cancel("one")
    with pytest.raises(ExecutionCancelled, match="the execution 'one' was cancelled"):
        await execution.get_result()
    assert execution.state is ExecutionState.CANCELLED
    assert issubclass(ExecutionCancelled, DocketError)


@pytest.mark.parametrize("when", [None, LONG], ids=["queued", "scheduled"])
async def test_who_waits_hears_of_the_cancel(docket: Docket, when: timedelta | None) -> None:
    due = None if when is None else datetime.now(UTC) + when
    execution = await docket.add(give, key="one", when=due)(1)

    async def wait() -> None:
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()

    with anyio.fail_after(3):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await docket.cancel("one")


async def test_nothing_is_known_of_it_any_more(docket: Docket) -> None:
    async with running(docket):
        execution = await docket.add(give, key="one")(1)
        await execution.get_result()
        async with docket.redis() as redis:
            await redis.delete(f"{docket.name}:runs:one")
        with pytest.raises(ExecutionGone, match="nothing is recorded of the execution 'one'"):
            await execution.get_result()


async def test_the_result_is_not_kept_any_more(docket: Docket, store: Store) -> None:
    async with running(docket):
        execution = await docket.add(give, key="one")(1)
        await execution.get_result()
        colons = ":" if store.kind == "memory" else "::"
        async with docket.redis() as redis:
            assert await redis.delete(f"{docket.name}:results{colons}one:1") == 1
        with pytest.raises(ExecutionGone, match="the result of the execution 'one' is not kept any more"):
            await execution.get_result()


@virtual_time
async def test_results_are_kept_for_the_execution_ttl(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(seconds=30)) as docket:
        execution = await docket.add(give)(1)
        await run_all(docket)
        await anyio.sleep(29)
        assert await execution.get_result() == 1
        await anyio.sleep(1.1)
        with pytest.raises(ExecutionGone):
            await execution.get_result()


async def test_nothing_is_kept_with_a_time_to_live_of_zero(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        execution = await docket.add(give)(1)
        await run_all(docket)
        with pytest.raises(ExecutionGone):
            await execution.get_result()


async def test_who_waits_hears_of_the_end_where_nothing_is_kept(anyio_backend: object, store: Store) -> None:
    async with open_docket(store, execution_ttl=timedelta(0)) as docket:
        fine, bad = await docket.add(give)(1), await docket.add(throw)(ValueError("no"))
        dropped = await docket.add(give, when=datetime.now(UTC) + LONG, key="dropped")(1)
        heard: list[str] = []

        async def wait_fine() -> None:
            assert await fine.get_result() is None
            heard.append("fine")

        async def wait_bad() -> None:
            with pytest.raises(TaskFailed, match="ValueError: no"):
                await bad.get_result()
            heard.append("bad")

        async def wait_dropped() -> None:
            with pytest.raises(ExecutionCancelled):
                await dropped.get_result()
            heard.append("dropped")

        with anyio.fail_after(3):
            async with anyio.create_task_group() as group:
                for wait in (wait_fine, wait_bad, wait_dropped):
                    group.start_soon(wait)
                await _subscribed(docket, fine.key, bad.key, "dropped")
                await docket.cancel("dropped")
                await run_all(docket)
        assert sorted(heard) == ["bad", "dropped", "fine"]


@define(eq=False)
class Interrupting:
    """A transport on which something else happens just after the first record was read."""

    _inner: Transport
    _interrupt: Callable[[], Awaitable[object]]
    _interrupted: bool = field(default=False, init=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        reply = await self._inner.execute(command, repeatable=repeatable)
        if command[0] == "HGETALL" and not self._interrupted:
            self._interrupted = True
            await self._interrupt()
        return reply


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(minutes=1)], ids=["not kept", "kept"])
async def test_an_end_just_after_the_first_look_is_not_missed(
    anyio_backend: object, store: Store, ttl: timedelta
) -> None:
    async with open_docket(store, execution_ttl=ttl) as docket:
        execution = await docket.add(give, when=datetime.now(UTC) + LONG)(1)
        broker = docket.broker
        transport = Interrupting(broker.redis.transport, lambda: docket.cancel(execution.key))
        elsewhere = SimpleNamespace(broker=Broker(Redis(transport), broker.keys, ttl, broker.in_process))
        interrupted = evolve(execution, docket=elsewhere)
        with pytest.raises(ExecutionCancelled), anyio.fail_after(3):
            await interrupted.get_result()


async def _subscribed(docket: Docket, *keys: str) -> None:
    async with docket.redis() as redis:
        for key in keys:
            # Nobody but Redis knows who has subscribed.
            while not await redis.publish(f"{docket.name}:state:{key}", b"garbage"):  # noqa: ASYNC110
                await anyio.sleep(0.005)
