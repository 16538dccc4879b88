"""Assertions about what waits."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from docket_anyio import Docket, testing
from tests.dockets import running
from tests.stage import Stage

HOUR = timedelta(hours=1)


async def send(to: str, *, urgent: bool = False, copies: int = 1) -> None: ...


async def receive() -> None: ...


@pytest.fixture
async def mail(docket: Docket) -> Docket:
    """A docket on which two tasks wait, one of them for later."""
    await docket.add(send, key="to-ann")("ann", urgent=True)
    await docket.add(send, when=datetime.now(UTC) + HOUR, key="to-bob")("bob")
    return docket


async def test_a_task_that_waits(mail: Docket) -> None:
    await testing.assert_task_scheduled(mail, send)
    await testing.assert_task_scheduled(mail, "send")
    await testing.assert_task_scheduled(mail, send, key="to-bob")
    await testing.assert_task_scheduled(mail, send, args=("ann",))
    await testing.assert_task_scheduled(mail, send, args=["ann"], kwargs={"urgent": True}, key="to-ann")
    await testing.assert_task_scheduled(mail, send, kwargs={})
    await testing.assert_task_count(mail, count=2)
    await testing.assert_task_count(mail, send, count=2)
    await testing.assert_task_count(mail, receive, count=0)
    await testing.assert_task_count(mail, "receive", count=0)


async def test_a_task_that_does_not_wait(mail: Docket) -> None:
    await testing.assert_task_not_scheduled(mail, receive)
    await testing.assert_task_not_scheduled(mail, "nothing")
    await testing.assert_task_not_scheduled(mail, send, key="to-eve")
    await testing.assert_task_not_scheduled(mail, send, args=("eve",))
    await testing.assert_task_not_scheduled(mail, send, args=())
    await testing.assert_task_not_scheduled(mail, send, kwargs={"urgent": False})
    await testing.assert_task_not_scheduled(mail, send, kwargs={"copies": 1})


async def test_what_is_missing_is_named_with_what_is_there(mail: Docket) -> None:
    with pytest.raises(AssertionError) as caught:
        await testing.assert_task_scheduled(mail, send, args=("eve",), kwargs={"urgent": True}, key="to-eve")
    message = str(caught.value)
    assert message.startswith(
        "no task 'send' with key='to-eve', args=('eve',), kwargs={'urgent': True} waits on Docket("
    )
    assert "send('ann', urgent=True) with the key 'to-ann'" in message
    assert "send('bob') with the key 'to-bob'" in message


async def test_what_is_there_against_expectation_is_named(mail: Docket) -> None:
    with pytest.raises(AssertionError, match=re.escape("send('bob') with the key 'to-bob'")) as caught:
        await testing.assert_task_not_scheduled(mail, send, key="to-bob")
    assert "ann" not in str(caught.value)
    with pytest.raises(AssertionError, match="no task should wait"):
        await testing.assert_no_tasks(mail)


async def test_a_count_that_is_wrong(mail: Docket) -> None:
    with pytest.raises(AssertionError, match=r"2 tasks wait on .*, not 1; there are:"):
        await testing.assert_task_count(mail, count=1)
    with pytest.raises(AssertionError, match=r"0 tasks 'receive' wait on .*, not 3;"):
        await testing.assert_task_count(mail, receive, count=3)


async def test_an_empty_docket(docket: Docket) -> None:
    await testing.assert_no_tasks(docket)
    await testing.assert_task_count(docket, count=0)
    with pytest.raises(AssertionError, match="nothing waits"):
        await testing.assert_task_scheduled(docket, send)


async def test_a_function_under_another_name(docket: Docket) -> None:
    docket.register(send, names=["post"])
    await docket.add("post")("ann")
    await testing.assert_task_scheduled(docket, send)
    await testing.assert_task_scheduled(docket, "post")
    await testing.assert_task_not_scheduled(docket, "send")


async def test_what_runs_does_not_wait(docket: Docket) -> None:
    stage = Stage()
    async with running(docket):
        await docket.add(stage.perform)()
        await stage.started.wait()
        await testing.assert_no_tasks(docket)
        await testing.assert_task_not_scheduled(docket, stage.perform)
        stage.go_on.set()


async def test_a_long_list_is_cut(docket: Docket) -> None:
    await docket.add_many([docket.call(send)(f"{n}") for n in range(30)])
    with pytest.raises(AssertionError, match="and 10 more"):
        await testing.assert_no_tasks(docket)


async def test_arguments_that_cannot_be_read_do_not_hide_the_message(docket: Docket) -> None:
    await docket.add(send, when=datetime.now(UTC) + HOUR, key="one")("ann")
    async with docket.redis() as redis:
        await redis.hset(docket.parked_task_key("one"), "args", b"no pickle")
    with pytest.raises(AssertionError, match="cannot be unpickled"):
        await testing.assert_no_tasks(docket)
    await testing.assert_task_scheduled(docket, send, key="one")
