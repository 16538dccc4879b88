"""What must hold whatever the server: the table of the lifecycle, step by step, and what a docket promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from docket_anyio._broker.queue import Answer, Promotion, Refusal
from docket_anyio._model.cancelling import Found
from docket_anyio._model.lifecycle import TRANSITIONS, ExecutionState, advance
from docket_anyio._model.lifecycle import Step as Move
from docket_anyio._model.message import Delivery
from tests.broker.sides import KEYS, NAME, STREAMS, STRIKES, Hand, Seen, Side
from tests.broker.steps import (
    Again,
    Cancel,
    Clear,
    Discard,
    HandBack,
    Pass,
    Promote,
    Refuse,
    Report,
    Schedule,
    Settle,
    Start,
    Step,
    Turn,
    WithHand,
)
from tests.dockets import PERMANENT

WAITING = (ExecutionState.SCHEDULED, ExecutionState.QUEUED)
ENDS = {
    ExecutionState.COMPLETED: Move.COMPLETE,
    ExecutionState.FAILED: Move.FAIL,
    ExecutionState.CANCELLED: Move.STOP,
}
States = dict[str, ExecutionState | None]


@frozen
class Entry:
    """A message on a stream, or parked."""

    key: str
    generation: int
    serial: int


@frozen
class View:
    """The part of what can be seen that the laws are about."""

    states: States
    generations: Mapping[str, int]
    ready: Mapping[bytes, Entry]
    junk: frozenset[bytes]
    parked: Mapping[str, Entry]
    queue: Mapping[str, float]
    pending: Mapping[bytes, str]
    newest_strike: bytes | None
    without_end: frozenset[str]

    @classmethod
    def nothing(cls) -> View:
        return cls(dict.fromkeys(KEYS), {}, {}, frozenset(), {}, {}, {}, None, frozenset())

    @classmethod
    def of(cls, seen: Seen) -> View:
        held = {key: {words[0]: reply for words, reply in replies} for key, replies in seen.held.items()}
        records = {key: dict(held.get(f"{NAME}:runs:{key}", {}).get(b"HGETALL", [])) for key in KEYS}
        streams = [held.get(each, {}) for each in STREAMS]
        entries = [entry for stream in streams for entry in stream.get(b"XRANGE", [])]
        scores = held.get(f"{NAME}:queue", {}).get(b"ZRANGE", [])
        pending = [stream.get(b"XPENDING", []) for stream in streams]
        strikes = held.get(STRIKES, {}).get(b"XRANGE", [])
        return cls(
            {key: ExecutionState(found[b"state"].decode()) if found else None for key, found in records.items()},
            {key: int(found[b"generation"]) for key, found in records.items() if b"generation" in found},
            {receipt: entry for receipt, fields in entries for entry in _entries(fields)},
            frozenset(receipt for receipt, fields in entries if not list(_entries(fields))),
            {key: entry for key in KEYS for entry in _entries(held.get(f"{NAME}:{key}", {}).get(b"HGETALL", []))},
            {key.decode(): float(score) for key, score in zip(scores[::2], scores[1::2], strict=True)},
            {entry[0]: entry[1].decode() for each in pending if isinstance(each, list) for entry in each},
            strikes[-1][0] if strikes else None,
            frozenset(key for key, commands in held.items() if commands[b"PTTL"] == -1),
        )

    @property
    def messages(self) -> list[Entry]:
        return [*self.ready.values(), *self.parked.values()]


def _entries(fields: list[list[bytes]]) -> Iterator[Entry]:
    found = dict(fields)
    if b"key" in found:
        yield Entry(found[b"key"].decode(), int(found[b"generation"]), int(found[b"serial"]))


@define
class Laws:
    """Knows what was scheduled last under each key, and what of it may still start."""

    keeps_records: bool
    latest: dict[str, int] = field(factory=dict[str, int], init=False)
    may_start: set[int] = field(factory=set[int], init=False)
    asked: set[int] = field(factory=set[int], init=False)
    """What ran when it was cancelled: it ends, and nothing of it begins again."""
    strays: set[int] = field(factory=set[int], init=False)
    """What was in workers' hands when its key had been forgotten and began with generation 1 again.

    By its generation it may be taken for its successor once that runs; the wire has nothing else to tell them apart.
    """

    def check(
        self, step: Step, turn: Turn, hand: Hand | None, answer: Any, side: Side, before: View, after: View
    ) -> None:
        """Hold a step and what came of it against the laws."""
        states = dict(before.states)
        match step:
            case Schedule():
                self._schedule(step, turn, answer, states, before, side)
            case Cancel(key):
                assert answer == (_found(before.states[key]), before.generations.get(key, 0))
                if before.states[key] is ExecutionState.RUNNING:
                    self.asked.add(self.latest[key])
                self._move(states, key, Move.CANCEL)
                self.may_start.discard(self.latest.get(key, -1))
            case Clear():
                waiting = [key for key, state in states.items() if state in WAITING]
                assert answer == len(waiting) + len(before.junk - before.pending.keys())
                for key in waiting:
                    self._move(states, key, Move.CLEAR)
                    self.may_start.discard(self.latest[key])
            case Promote(limit, ahead):
                self._promote(states, answer, before, after, limit, turn.now.timestamp() + ahead * 60)
            case Discard() | Report():
                pass
            case WithHand() if hand is not None:
                said, changed = answer
                assert changed == [], "a repeated call changes nothing"
                self._with_hand(step, turn, hand, said, states, before, side)
            case Pass():
                # What has ended is forgotten in the end.
                gone = [key for key, state in states.items() if state in ENDS and after.states[key] is None]
                states |= dict.fromkeys(gone)
            case _:
                pass
        assert after.states == states, f"{step}: {answer}"
        self._check_always(after)

    def _move(self, states: States, key: str, move: Move) -> None:
        state = advance(states[key], move)
        states[key] = state if self.keeps_records or state not in ENDS else None

    def _schedule(
        self, step: Schedule, turn: Turn, answers: list[Any], states: States, before: View, side: Side
    ) -> None:
        looked = step.looks or _looked(side, before)
        generations = dict(before.generations)
        for at, (task, answer) in enumerate(zip(step.tasks, answers, strict=True)):
            key = task.key
            if step.replace:
                move = Move.REPLACE_NOW if task.due else Move.REPLACE_LATER
            else:
                move = Move.ADD_NOW if task.due else Move.ADD_LATER
            if states[key] is ExecutionState.RUNNING and self.latest[key] in self.asked:
                states[key] = ExecutionState.CANCELLED if looked else states[key]  # as good as that: the key is free
            if not looked:
                assert answer is Refusal.STALE
            elif (states[key], move) not in TRANSITIONS:
                assert answer is Refusal.TAKEN
            else:
                generations[key] = generations.get(key, 0) + 1
                assert answer == generations[key]
                self._move(states, key, move)
                if answer == 1:
                    claimed = [each.claimed for each in side.hands if isinstance(each.claimed, Delivery)]
                    self.strays |= {_serial(each) for each in claimed if each.message.key == key}
                self._scheduled(key, turn.serial + at)

    def _scheduled(self, key: str, serial: int) -> None:
        self.may_start.discard(self.latest.get(key, -1))
        self.latest[key] = serial
        self.may_start.add(serial)

    def _promote(self, states: States, answer: Any, before: View, after: View, limit: int, now: float) -> None:
        due = sorted((score, key) for key, score in before.queue.items() if score <= now)[:limit]
        for _, key in due:
            self._move(states, key, Move.PROMOTE)
        assert answer == Promotion(len(due), min(after.queue.values(), default=None))

    def _with_hand(
        self, step: WithHand, turn: Turn, hand: Hand, said: Answer, states: States, before: View, side: Side
    ) -> None:
        assert isinstance(hand.claimed, Delivery)
        message, receipt = hand.claimed.message, side.normal(hand.claimed.receipt)
        key, serial, state = message.key, _serial(hand.claimed), before.states[message.key]
        is_latest = self.latest[key] == serial and before.generations.get(key) == message.generation
        holder = before.pending.get(receipt) if receipt in before.ready else None
        mine, move = holder == hand.worker, _move_of(step)
        possible = is_latest and (state, move) in TRANSITIONS
        possible = possible and not (serial in self.asked and isinstance(step, Again | HandBack))
        accepted = said in {Answer.STARTED, Answer.SETTLED, Answer.AGAIN, Answer.QUEUED}
        where = f"{step} of {message.key!r}, {state}, generation {message.generation}, held by {holder}: {said}"
        if serial in self.strays:
            pass
        elif isinstance(step, Start):
            assert accepted == (possible and mine and serial in self.may_start), where
        elif mine:
            assert accepted == possible, where
        else:
            # Another worker has taken it over: the first of the two to end it decides.
            assert not accepted or possible, where
        if said is Answer.CANCELLED and receipt in before.pending:
            self._move(states, key, Move.STOP)
        if accepted:
            self._move(states, key, move)
            if isinstance(step, Again):
                self._scheduled(key, turn.serial)
            elif isinstance(step, (Settle, Refuse)):
                self.may_start.discard(self.latest[key])

    def _check_always(self, view: View) -> None:
        serials = [each.serial for each in view.messages]
        runs = [(each.key, each.generation) for each in view.messages if each.serial not in self.strays]
        assert (len(serials), len(runs)) == (len(set(serials)), len(set(runs))), "a run has two messages"
        assert view.queue.keys() == view.parked.keys()
        for key, state in view.states.items():
            live = [each for each in view.messages if each.key == key and each.generation == view.generations.get(key)]
            assert (key in view.parked) == (state is ExecutionState.SCHEDULED)
            if state not in {None, *ENDS}:
                assert live, f"{key!r} is {state}, and has no message"
            else:
                allowed = {f"{NAME}:progress:{key}", f"{NAME}:runs:{key}"}
                assert not view.without_end & allowed, f"{key!r} is {state}, and is kept for ever"

    def check_end(self, view: View) -> None:
        """When everything has run, nothing but what is permanent or has a time to live is left."""
        left = (self.may_start, view.messages, view.pending)
        assert left == (set(), [], {}), f"{left}"
        assert view.without_end <= {f"{NAME}:{each}" for each in PERMANENT} | {
            key for key in view.without_end if key.startswith(f"{NAME}:task-workers:")
        }


def _serial(delivery: Delivery) -> int:
    return int(delivery.message.headers["serial"])


def _looked(side: Side, before: View) -> bool:
    return before.newest_strike is None or side.normal(side.last_strike.encode(), STRIKES) == before.newest_strike


def _found(state: ExecutionState | None) -> Found:
    match state:
        case None:
            return Found.UNKNOWN
        case ExecutionState.RUNNING:
            return Found.RUNNING
        case ExecutionState.SCHEDULED | ExecutionState.QUEUED:
            return Found.WAITING
        case _:
            return Found.ENDED


def _move_of(step: WithHand) -> Move:
    match step:
        case Start():
            return Move.START
        case HandBack():
            return Move.HAND_BACK
        case Again():
            return Move.AGAIN_NOW if step.delay is None else Move.AGAIN_LATER
        case Settle() | Refuse():
            return ENDS[step.ending.state]
        case _:
            raise TypeError(step)
