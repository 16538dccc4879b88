"""Agendas: what is in them, and how it is spread over a docket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docket_anyio import Disposition, Docket
from docket_anyio._client.agenda import Agenda
from docket_anyio.exceptions import (
    InvalidArguments,
    InvalidKey,
    InvalidSetting,
    InvalidTime,
    NotOpen,
    NotSerializable,
    UnknownTask,
)

START = datetime(2100, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def send(to: str, *, urgent: bool = False) -> None: ...


def of(count: int) -> Agenda:
    agenda = Agenda()
    for number in range(count):
        agenda.add(send, key=f"mail-{number}")(f"{number}@example.org")
    return agenda


def test_it_tells_what_is_in_it() -> None:
    agenda = Agenda()
    assert len(agenda) == 0
    agenda.add(send)("ann", urgent=True)
    agenda.add("send", key="bob's")("bob")
    assert list(agenda) == [(send, ("ann",), {"urgent": True}, None), ("send", ("bob",), {}, "bob's")]
    assert len(agenda) == 2
    agenda.clear()
    assert list(agenda) == []


async def test_tasks_are_spread_evenly(docket: Docket) -> None:
    executions = await of(5).scatter(docket, over=HOUR, start=START)
    assert [each.when - START for each in executions] == [HOUR * part / 4 for part in range(5)]
    assert [each.args for each in executions] == [(f"{number}@example.org",) for number in range(5)]
    assert {each.disposition for each in executions} == {Disposition.SCHEDULED}
    assert docket.tasks["send"] is send
    snapshot = await docket.snapshot()
    assert [(each.key, each.when, each.args) for each in snapshot.future] == [
        (each.key, each.when, each.args) for each in executions
    ]


async def test_a_single_task_is_due_in_the_middle(docket: Docket) -> None:
    (execution,) = await of(1).scatter(docket, over=HOUR, start=START)
    assert execution.when == START + HOUR / 2


async def test_an_empty_agenda_adds_nothing(docket: Docket) -> None:
    assert await Agenda().scatter(docket, over=HOUR) == []


async def test_it_begins_now_where_nothing_is_said(docket: Docket) -> None:
    before = docket.broker.clock.now()
    first, last = await of(2).scatter(docket, over=HOUR)
    after = docket.broker.clock.now()
    assert before <= first.when <= after
    assert last.when == first.when + HOUR


async def test_jitter_moves_each_but_never_before_the_start(docket: Docket) -> None:
    jitter = timedelta(minutes=5)
    executions = await of(50).scatter(docket, over=HOUR, start=START, jitter=jitter)
    moves = [each.when - (START + HOUR * index / 49) for index, each in enumerate(executions)]
    assert all(abs(move) <= jitter for move in moves)
    assert all(each.when >= START for each in executions)
    assert len(set(moves)) > 40


async def test_keys_of_ones_own_are_added_once(docket: Docket) -> None:
    agenda = of(3)
    first = await agenda.scatter(docket, over=HOUR, start=START)
    second = await agenda.scatter(docket, over=2 * HOUR, start=START)
    assert [each.key for each in second] == [each.key for each in first]
    assert {each.disposition for each in second} == {Disposition.ALREADY_SCHEDULED}
    assert [each.when for each in (await docket.snapshot()).future] == [each.when for each in first]


async def test_keys_that_are_made_are_new_each_time(docket: Docket) -> None:
    agenda = Agenda()
    agenda.add(send)("ann")
    executions = [*await agenda.scatter(docket, over=HOUR), *await agenda.scatter(docket, over=HOUR)]
    assert len({each.key for each in executions}) == 2
    assert {each.disposition for each in executions} == {Disposition.SCHEDULED}


async def test_a_task_may_be_given_by_its_name(docket: Docket) -> None:
    docket.register(send, names=["post"])
    agenda = Agenda()
    agenda.add("post")("ann", urgent=True)
    (execution,) = await agenda.scatter(docket, over=HOUR)
    assert (execution.function_name, execution.function) == ("post", send)
    assert execution.kwargs == {"urgent": True}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"over": timedelta(0)}, InvalidSetting),
        ({"over": -HOUR}, InvalidSetting),
        ({"over": HOUR, "jitter": -HOUR}, InvalidSetting),
        ({"over": HOUR, "start": datetime(2100, 1, 1)}, InvalidTime),  # noqa: DTZ001 - that is the mistake
    ],
    ids=["no time", "negative time", "negative jitter", "no time zone"],
)
async def test_wrong_times_are_refused(docket: Docket, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await of(2).scatter(docket, **options)
    assert (await docket.snapshot()).total_tasks == 0


async def test_the_mistakes_are_those_that_pydocket_names(docket: Docket) -> None:
    with pytest.raises(ValueError, match="over"):
        await of(1).scatter(docket, over=timedelta(0))
    agenda = Agenda()
    agenda.add("nothing")()
    with pytest.raises(KeyError):
        await agenda.scatter(docket, over=HOUR)


def _unknown(agenda: Agenda) -> None:
    agenda.add("nothing")()


def _unfitting(agenda: Agenda) -> None:
    agenda.add("send")("ann", "bob")


def _unpicklable(agenda: Agenda) -> None:
    agenda.add("send")(iter_lines for iter_lines in "")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(_unknown, UnknownTask), (_unfitting, InvalidArguments), (_unpicklable, NotSerializable)],
    ids=["unknown name", "arguments that do not fit", "arguments that cannot be pickled"],
)
async def test_a_mistake_in_one_adds_none(docket: Docket, spoil: Any, error: type[Exception]) -> None:
    agenda = of(3)
    spoil(agenda)
    with pytest.raises(error):
        await agenda.scatter(docket, over=HOUR)
    assert (await docket.snapshot()).total_tasks == 0


def test_a_key_of_the_dockets_own_is_refused() -> None:
    with pytest.raises(InvalidKey):
        Agenda().add(send, key="stream")


async def test_the_docket_must_be_open(anyio_backend: object) -> None:
    with pytest.raises(NotOpen):
        await of(1).scatter(Docket("closed", "memory://closed"), over=HOUR)
