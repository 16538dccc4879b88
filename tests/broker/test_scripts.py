"""Each script's header names the keys and arguments that it is called with."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from importlib.resources import files

import pytest
from attrs import define, evolve, field

from docket_anyio._broker import scripts
from docket_anyio._broker.broker import Broker
from docket_anyio._clock import ServerClock
from docket_anyio._model.admission import DebounceGate, RateGate
from docket_anyio._model.lifecycle import Step
from docket_anyio._model.priority import Priority
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import BlockingConnection, Command, Reply, Subscription, Transport
from tests.broker.brokers import (
    ENDINGS,
    KEY,
    LATER,
    MESSAGE,
    NOW,
    ONE_AT_A_TIME,
    PARKED,
    SECONDS,
    claim,
    held,
    running,
    slots,
    wake,
)

FOLDER = files("docket_anyio._broker") / "lua"
NAMES = sorted(each.name.removesuffix(".lua") for each in FOLDER.iterdir() if not each.name.startswith("_"))


@define(eq=False)
class RecordingBlocking:
    """A connection for commands that block, whose calls of scripts are noted too."""

    _inner: BlockingConnection
    _note: Callable[[Command], None]

    async def execute(self, command: Command) -> Reply:
        self._note(command)
        return await self._inner.execute(command)

    def take_leftover(self) -> Reply:
        return self._inner.take_leftover()


@define(eq=False)
class Recording:
    """A transport that notes the calls of scripts: the name of each, and how many keys and arguments it had."""

    _inner: Transport
    _names: dict[str, str]
    calls: list[tuple[str, int, int]] = field(factory=list)

    @property
    def clock(self) -> ServerClock:
        return self._inner.clock

    async def execute(self, command: Command, *, repeatable: bool = False) -> Reply:
        self._note(command)
        return await self._inner.execute(command, repeatable=repeatable)

    def _note(self, command: Command) -> None:
        if command[0] == "EVALSHA":
            keys = int(command[2])
            self.calls.append((self._names[str(command[1])], keys, len(command) - 3 - keys))

    async def execute_all(self, commands: list[Command], *, repeatable: bool = False) -> list[Reply]:
        for command in commands:
            self._note(command)
        return await self._inner.execute_all(commands, repeatable=repeatable)

    @asynccontextmanager
    async def open_blocking(self) -> AsyncGenerator[BlockingConnection]:
        async with self._inner.open_blocking() as connection:
            yield RecordingBlocking(connection, self._note)

    def open_subscription(self, **wanted: list[str]) -> AbstractAsyncContextManager[Subscription]:
        return self._inner.open_subscription(**wanted)

    async def aclose(self) -> None:
        await self._inner.aclose()


def header(name: str, what: str) -> list[str]:
    text = (FOLDER / f"{name}.lua").read_text("utf-8")
    line = re.search(rf"^-- {what}( .+)?$", text, re.MULTILINE)
    assert line is not None, f"{name}.lua has no line about {what}"
    return (line[1] or "").split()


def fits(count: int, names: list[str]) -> bool:
    """A last name with dots stands for any number."""
    if names and names[-1].endswith("..."):
        return count >= len(names) - 1
    return count == len(names)


async def every_transition(broker: Broker) -> None:
    queue, window = broker.queue, timedelta(seconds=10)
    delivery = await running(broker)
    await queue.schedule(evolve(MESSAGE, key="urgent", priority=Priority.HIGH), due=True)
    async with broker.open_intake("W") as intake:
        await intake.claim(10, wait=window)
    await queue.renew("W", [delivery])
    await queue.again(delivery, evolve(delivery.message, when=LATER), NOW, due=False)
    await queue.promote(LATER, limit=1)
    delivery = await claim(broker)
    await queue.start(delivery, "W", NOW)
    await queue.hand_back(delivery, "W", NOW)
    delivery = await claim(broker)
    await queue.start(delivery, "W", NOW)
    await broker.progress.increment(KEY, 1, NOW, generation=1)
    await queue.settle(delivery, ENDINGS[Step.FAIL], NOW)
    await queue.schedule(PARKED, due=False)
    await queue.cancel(KEY, NOW)
    await broker.presence.heartbeat("W", ["send", "receive"], now=NOW, window=window)
    await broker.presence.depart("W", ["send", "receive"])
    async with broker.open_intake("W") as intake:
        await intake.take_sweep(window)
    async with broker.locks.try_automatic(window):
        pass
    delivery, slot = await held(broker, "first")
    await slots(broker).keep([slot])
    await slots(broker).leave(delivery, ONE_AT_A_TIME, slot=slot, now=SECONDS)
    await wake(broker)
    await slots(broker).forget(KEY)
    await broker.gates.count(KEY, RateGate("send", 1, window), asked_at=SECONDS)
    await broker.gates.debounce(KEY, DebounceGate("send", window), asked_at=SECONDS, keep=False)
    await broker.pauses.begin(NOW, heard_since=NOW)
    await broker.pauses.end()
    await broker.backlog.survey(NOW)
    await broker.backlog.clear(NOW)


async def test_the_headers_name_what_the_calls_send(broker: Broker) -> None:
    names = {scripts.load(name).sha: name for name in NAMES}
    recording = Recording(broker.redis.transport, names)
    await every_transition(Broker(Redis(recording), broker.keys, broker.execution_ttl, broker.in_process))
    assert {name for name, _, _ in recording.calls} == set(NAMES)
    wrong = [
        (name, keys, arguments)
        for name, keys, arguments in recording.calls
        if not fits(keys, header(name, "KEYS")) or not fits(arguments, header(name, "ARGV"))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_a_script_uses_no_key_and_no_argument_past_its_header(name: str) -> None:
    text = (FOLDER / f"{name}.lua").read_text("utf-8")
    for what in ("KEYS", "ARGV"):
        used = [int(each) for each in re.findall(rf"{what}\[(\d+)\]", text)]
        assert max(used, default=0) <= len(header(name, what))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_does_not_ask_redis_for_the_time(name: str) -> None:
    assert not re.search(r"redis\.call\('TIME'", scripts.load(name).text)


async def test_a_server_that_lost_its_scripts_is_given_them_again(broker: Broker) -> None:
    assert await broker.queue.schedule(MESSAGE, due=True) == 1
    await broker.redis.script_flush()
    assert await broker.queue.schedule(evolve(MESSAGE, key="other"), due=True) == 1
