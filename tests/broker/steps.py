"""What can be done to a docket, step by step: by a client, by workers that live, fall behind and die, and by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen
from hypothesis import strategies as st

from docket_anyio._broker.queue import Answer, Ending
from docket_anyio._model.codec import dump_arguments
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, TaskMessage, Undecodable
from docket_anyio._model.priority import Priority
from docket_anyio._model.strikes import Operator, Restore, Strike, StrikeInstruction
from tests.broker.sides import KEYS, WORKERS, Hand, Side, differences

AT_ONCE = timedelta(milliseconds=1)
# All in whole minutes, to which the test itself adds less than one: what has run out has done so on both sides.
TTL = timedelta(minutes=15)
LEASE = timedelta(minutes=7)
REDELIVERY = timedelta(minutes=5)
PRESENCE = timedelta(minutes=10)
PASSING = (1, 6, 40)
ARGUMENTS = [dump_arguments((1,), {}, "send"), dump_arguments(("long" * 30,), {"é": b"\x00"}, "send")]
ENDINGS = [
    Ending(ExecutionState.COMPLETED, result=b"result"),
    Ending(ExecutionState.COMPLETED),
    Ending(ExecutionState.FAILED, error='ValueError: "nö"\n', result=b"error"),
    Ending(ExecutionState.FAILED, error="E"),
    Ending(ExecutionState.CANCELLED),
]
REFUSED = Ending(ExecutionState.CANCELLED)
STRIKES = [
    Strike("send"),
    Strike(None, "to", Operator.BETWEEN, (1, "é")),
    Restore("send"),
    Restore("send", "to", Operator.EQUAL, None),
]


@frozen
class Turn:
    """When a step is taken, and the number of whatever it schedules."""

    now: datetime
    serial: int


@frozen
class Step:
    """Something that is done to both sides."""

    async def take(self, side: Side, turn: Turn) -> Any:
        """Do it, and return what was answered."""
        raise NotImplementedError


@frozen
class Task:
    """What is scheduled: a delay of ``None`` is due now; one of zero minutes is parked, and due all the same."""

    key: str
    delay: int | None = None
    arguments: int = 0
    priority: Priority = Priority.NORMAL

    @property
    def due(self) -> bool:
        return self.delay is None

    def message(self, now: datetime, serial: int) -> TaskMessage:
        when = now + timedelta(minutes=self.delay or 0)
        headers = {"serial": b"%d" % serial}
        arguments = ARGUMENTS[self.arguments]
        return TaskMessage(self.key, "send", when, *arguments, headers=headers, priority=self.priority)


@frozen
class Schedule(Step):
    """A client adds or replaces tasks; one that has not looked at the newest strike is refused."""

    tasks: tuple[Task, ...]
    replace: bool = False
    looks: bool = True

    async def take(self, side: Side, turn: Turn) -> Any:
        if self.looks:
            await ReadStrikes().take(side, turn)
        messages = [(each.message(turn.now, turn.serial + at), each.due) for at, each in enumerate(self.tasks)]
        queue, last_strike = side.broker.queue, side.last_strike
        if len(messages) > 1:
            return await queue.schedule_many(messages, replace=self.replace, last_strike=last_strike)
        ((message, due),) = messages
        return [await queue.schedule(message, due=due, replace=self.replace, last_strike=last_strike)]


@frozen
class Cancel(Step):
    key: str

    async def take(self, side: Side, turn: Turn) -> Any:
        return await side.broker.queue.cancel(self.key, turn.now)


@frozen
class Clear(Step):
    at_once: int = 1000

    async def take(self, side: Side, turn: Turn) -> Any:
        return await side.broker.backlog.clear(turn.now, at_once=self.at_once)


@frozen
class Promote(Step):
    limit: int = 100
    ahead: int = 0

    async def take(self, side: Side, turn: Turn) -> Any:
        return await side.broker.queue.promote(turn.now + timedelta(minutes=self.ahead), limit=self.limit)


@frozen
class Claim(Step):
    worker: str
    count: int = 10

    async def take(self, side: Side, turn: Turn) -> Any:
        claimed = await (await side.intake(self.worker)).claim(self.count, wait=AT_ONCE)
        side.take(self.worker, claimed)
        return claimed


@frozen
class Recover(Step):
    """A worker asks for what is pending under its name: it is new, or its connection broke."""

    worker: str

    async def take(self, side: Side, turn: Turn) -> Any:
        claimed = await (await side.intake(self.worker)).own_pending()
        side.take(self.worker, claimed)
        return claimed


@frozen
class Sweep(Step):
    """A worker takes over what was abandoned, or, impatient, whatever is pending."""

    worker: str
    count: int = 10
    idle: timedelta = REDELIVERY

    async def take(self, side: Side, turn: Turn) -> Any:
        intake = await side.intake(self.worker)
        leased = await intake.take_sweep(LEASE)
        claimed, finished = await intake.sweep(self.count, idle=self.idle)
        side.take(self.worker, claimed)
        return leased, claimed, finished


@frozen
class Crash(Step):
    """A worker dies; nobody renews its leases any more."""

    worker: str

    async def take(self, side: Side, turn: Turn) -> Any:
        for hand in side.hands:
            hand.over = hand.over or hand.worker == self.worker
        return None


@frozen
class Renew(Step):
    worker: str

    async def take(self, side: Side, turn: Turn) -> Any:
        claimed = [each.claimed for each in side.hands if each.worker == self.worker and not each.over]
        return await side.broker.queue.renew(self.worker, [each for each in claimed if isinstance(each, Delivery)])


@frozen
class Pass(Step):
    """Time passes; workers renew the leases of what they have, unless they have fallen behind."""

    minutes: int
    renewing: bool = True

    async def take(self, side: Side, turn: Turn) -> Any:
        await side.age(self.minutes)
        return [await Renew(each).take(side, turn) for each in WORKERS] if self.renewing else None


@frozen
class WithHand(Step):
    """Something that a worker does with what it has.

    Args:
        which: Which of those that it can be done with, from the last on.
        twice: The answer was lost, and it is asked again.
        late: It may also be one that the worker has let go of, or another one has taken over.
    """

    which: int = 0
    twice: bool = False
    late: bool = False

    def possible(self, hand: Hand) -> bool:
        """Tell whether a worker does this with what it has."""
        return isinstance(hand.claimed, Delivery) and (self.late or not hand.over)

    def hand(self, side: Side) -> Hand | None:
        """Return what it is about."""
        possible = [each for each in side.hands if self.possible(each)]
        return possible[-1 - self.which % len(possible)] if possible else None

    async def take(self, side: Side, turn: Turn) -> Any:
        hand = self.hand(side)
        if hand is None:
            return None
        answer = await self.ask(side, turn, hand)
        changed: list[str] = []
        if self.twice:
            before = await side.held()
            await self.ask(side, turn, hand)
            changed = differences(before, await side.held())
        self.told(hand, answer)
        return answer, changed

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        raise NotImplementedError

    def told(self, hand: Hand, answer: Any) -> None:
        """Do what the worker does when it knows the answer."""
        hand.over = True


@frozen
class Start(WithHand):
    def possible(self, hand: Hand) -> bool:
        return super().possible(hand) and not hand.started

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        return await side.broker.queue.start(hand.claimed, hand.worker, turn.now)

    def told(self, hand: Hand, answer: Any) -> None:
        hand.started = answer is Answer.STARTED
        hand.over = not hand.started


@frozen
class Settle(WithHand):
    ending: Ending = ENDINGS[0]

    def possible(self, hand: Hand) -> bool:
        return super().possible(hand) and hand.started

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        return await side.broker.queue.settle(hand.claimed, self.ending, turn.now)


@frozen
class Refuse(WithHand):
    """A worker settles what is stricken, without starting it."""

    ending: Ending = REFUSED

    def possible(self, hand: Hand) -> bool:
        return super().possible(hand) and not hand.started

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        return await side.broker.queue.settle(hand.claimed, self.ending, turn.now)


@frozen
class Again(WithHand):
    """A retry where ``ended`` is ``None``, or else the next run of a perpetual task."""

    delay: int | None = None
    ended: ExecutionState | None = None

    def possible(self, hand: Hand) -> bool:
        return super().possible(hand) and hand.started

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        successor = evolve(
            hand.claimed.message,
            when=turn.now + timedelta(minutes=self.delay or 0),
            attempt=hand.claimed.message.attempt + 1 if self.ended is None else 1,
            headers={"serial": b"%d" % turn.serial},
        )
        return await side.broker.queue.again(
            hand.claimed, successor, turn.now, due=self.delay is None, ended=self.ended
        )


@frozen
class HandBack(WithHand):
    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        return await side.broker.queue.hand_back(hand.claimed, hand.worker, turn.now)


@frozen
class Report(WithHand):
    """A run reports its progress."""

    amount: int = 1
    message: str | None = None

    def possible(self, hand: Hand) -> bool:
        return super().possible(hand) and hand.started

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        reports, message = side.broker.progress, hand.claimed.message
        return (
            await reports.increment(message.key, self.amount, turn.now, generation=message.generation),
            await reports.set_total(message.key, self.amount + 1, turn.now, generation=message.generation),
            await reports.set_message(message.key, self.message, turn.now, generation=message.generation),
        )

    def told(self, hand: Hand, answer: Any) -> None: ...


@frozen
class Discard(WithHand):
    """What is no message is taken off the stream."""

    def possible(self, hand: Hand) -> bool:
        return isinstance(hand.claimed, Undecodable) and not hand.over

    async def ask(self, side: Side, turn: Turn, hand: Hand) -> Any:
        return await side.broker.queue.discard(hand.claimed.receipt)


@frozen
class Junk(Step):
    """Something is on the stream that is no message."""

    async def take(self, side: Side, turn: Turn) -> Any:
        return await side.execute(("XADD", side.broker.keys.stream, "*", "junk", "1"))


@frozen
class Strike(Step):
    instruction: StrikeInstruction

    async def take(self, side: Side, turn: Turn) -> Any:
        return await side.broker.strikes.append(self.instruction)


@frozen
class ReadStrikes(Step):
    async def take(self, side: Side, turn: Turn) -> Any:
        side.last_strike, instructions = await side.broker.strikes.read(side.last_strike)
        return instructions


@frozen
class Presence(Step):
    """A worker says that it lives, or that it leaves; whoever asks who lives forgets the others."""

    worker: str
    leaves: bool = False

    async def take(self, side: Side, turn: Turn) -> Any:
        presence, tasks = side.broker.presence, ["send", self.worker]
        if self.leaves:
            await presence.depart(self.worker, tasks)
        else:
            await presence.heartbeat(self.worker, tasks, now=turn.now, window=PRESENCE)
        return [await presence.workers(now=turn.now, window=PRESENCE, task=task) for task in (None, "send")]


@frozen
class Seed(Step):
    """One worker at a time adds the automatic tasks."""

    async def take(self, side: Side, turn: Turn) -> Any:
        locks = side.broker.locks
        async with locks.try_automatic(LEASE) as first, locks.try_automatic(LEASE) as second:
            return first, second


def _of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def _weighted(*weighted: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    # one_of would take each that is given several times for one.
    return _of([each for weight, each in weighted for _ in range(weight)]).flatmap(lambda each: each)


def _in_hand(kind: Callable[..., Step], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    rarely = _of([False, False, False, True])
    return st.builds(kind, st.integers(0, 3), rarely, rarely, **more)


def _scene(key: str, worker: str, other: str, delay: int | None, priority: Priority) -> st.SearchStrategy[list[Step]]:
    """Return steps that only mean something after one another, which chance alone would seldom bring about."""
    add = [Schedule((Task(key, priority=priority),)), Claim(worker)]
    later = [Schedule((Task(key, 1, priority=priority),)), Pass(1), Promote()]
    anew = Schedule((Task(key, delay),))
    return _of(
        [
            [*add, Start()],
            [*add, Start(), Start()],
            [*add, HandBack()],
            [*add, Start(), Cancel(key)],
            [*add, Cancel(key), Start()],
            [*add, Cancel(key), anew],
            [*add, Start(), Cancel(key), anew],
            [*add, Start(), Again(delay=delay)],
            [*add, Start(), Schedule((Task(key, delay),), replace=True), Settle()],
            [*later, Cancel(key), anew, Claim(worker)],
            [Pass(6, renewing=False), Sweep(other), Start(), Start(which=1)],
            [Crash(worker), Pass(6), Sweep(other), Start()],
            [Pass(1), Promote(), Claim(worker), Start()],
            [Cancel(key), Pass(40)],
            [Clear(), anew],
        ]
    )


# Most of the time it is about one key and one worker, so that steps meet.
_keys, _workers, _counts = _of([KEYS[2], KEYS[2], *KEYS]), _of([WORKERS[0], *WORKERS]), _of([1, 2, 10])
_delays = _of([None, None, 0, 1, 60])
_priorities = _of([Priority.NORMAL, *Priority])
_tasks = st.builds(Task, _keys, _delays, _of([0, 1]), _priorities)
_asides = st.one_of(
    st.builds(Renew, _workers),
    st.builds(Report, st.integers(0, 3), late=st.booleans(), amount=_of([1, 7]), message=_of([None, 'ü"\n'])),
    st.builds(Discard, st.integers(0, 3)),
    st.just(Junk()),
    st.builds(Strike, _of(STRIKES)),
    st.just(ReadStrikes()),
    st.builds(Presence, _workers, st.booleans()),
    st.just(Seed()),
    st.builds(Clear, _of([1, 2, 1000])),
)
_steps = _weighted(
    (4, st.builds(Schedule, st.tuples(_tasks), st.booleans(), _of([True, True, True, False]))),
    (1, st.builds(Schedule, st.lists(_tasks, min_size=2, max_size=4).map(tuple), st.booleans())),
    (2, st.builds(Cancel, _keys)),
    (2, st.builds(Promote, _of([1, 100]))),
    (4, st.builds(Claim, _workers, _counts)),
    (1, st.builds(Recover, _workers)),
    (2, st.builds(Sweep, _workers, _counts, _of([REDELIVERY, REDELIVERY, timedelta()]))),
    (1, st.builds(Crash, _workers)),
    (2, st.builds(Pass, _of(PASSING), _of([True, True, False]))),
    (5, _in_hand(Start)),
    (3, _in_hand(Settle, ending=_of(ENDINGS))),
    (1, _in_hand(Refuse)),
    (2, _in_hand(Again, delay=_delays, ended=_of([None, ExecutionState.COMPLETED, ExecutionState.FAILED]))),
    (2, _in_hand(HandBack)),
    (3, _asides),
)
_scenes = st.tuples(_keys, _workers, _workers, _delays, _priorities).flatmap(lambda drawn: _scene(*drawn))
_acts = st.lists(_weighted((2, _steps.map(lambda step: [step])), (1, _scenes)), max_size=12)
# Lists of lists: one long list would come out short too often, and not shrink below a length that it must have.
histories = st.tuples(*[_acts] * 5).map(lambda acts: [step for act in acts for each in act for step in each])
