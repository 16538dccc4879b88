"""The slots of concurrency limits, and those who wait for one (WIRE section 8.1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from attrs import define, frozen

from docket_anyio._broker import scripts
from docket_anyio._broker.errors import check_replies, redis_errors
from docket_anyio._broker.keys import GROUP, Keys
from docket_anyio._model.admission import SlotGate
from docket_anyio._model.codec import dump_arguments, encode_message
from docket_anyio._model.events import encode_state_event
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import Delivery, TaskMessage
from docket_anyio._redis.client import Redis
from docket_anyio._redis.transport import Argument

_TAKE_SLOT = scripts.load("take_slot")
_LEAVE_SLOT = scripts.load("leave_slot")
_KEEP_SLOT = scripts.load("keep_slot")
_WAKE_WAITERS = scripts.load("wake_waiters")
_FORGET_WAITER = scripts.load("forget_waiter")
_WAITERS = ":waiters"

SAFEGUARD: Final = "_safeguard_wake"
"""The task that wakes waiters where nobody else is left to do so; pydocket knows it by the same name."""


class Asked(Enum):
    """What became of a run that asked for a slot."""

    ADMITTED = b"admitted"
    PARKED = b"parked"
    SUPERSEDED = b"superseded"
    CANCELLED = b"cancelled"
    GONE = b"gone"


@frozen
class Slot:
    """A slot in the hands of a run.

    When it was taken or renewed last tells it from one that another run of the key has taken over since: that is
    ``taken_at``, or ``renewal`` while nobody knows whether the renewal was done.
    """

    gate: SlotGate
    key: str
    generation: int
    taken_at: float
    renewal: float | None = None


@define(eq=False)
class Slots:
    """The slots of a docket, as one worker sees them.

    Args:
        redis: Where they are.
        keys: Under which names.
        redelivery_timeout: A slot that was not renewed for so long is that of a dead worker.
    """

    _redis: Redis
    _keys: Keys
    _redelivery_timeout: timedelta

    async def take(
        self, delivery: Delivery, gate: SlotGate, *, now: float, asked_at: float | None = None
    ) -> Asked | Slot:
        """Take a slot, or put the delivery where it waits for one.

        A key has one slot at most: an older run of it that still goes on is waited for.

        Args:
            delivery: Who asks; its run was started.
            gate: For which slots.
            now: The time, in seconds since the epoch.
            asked_at: The time of the first try, where its answer was lost.
        """
        keys, message = self._keys, delivery.message
        safeguard = self._safeguard(message.key, gate, now)
        # Where its worker has died, the lease ran out a moment before the slot does. One that lives renews it earlier.
        abandoned = now - self._redelivery_timeout.total_seconds() / 2 if delivery.redelivered else 0.0
        with redis_errors():
            reply = await self._redis.run_script(
                _TAKE_SLOT,
                (
                    keys.slots(gate.name, gate.scope),
                    keys.runs(message.key),
                    keys.stream_with(delivery.receipt),
                    keys.progress(message.key),
                    keys.state_channel(message.key),
                    keys.runs(safeguard.key),
                    keys.parked(safeguard.key),
                    keys.queue,
                    keys.wake_channel,
                ),
                (
                    keys.prefix,
                    message.key,
                    message.generation,
                    delivery.receipt,
                    GROUP,
                    gate.limit,
                    now,
                    "" if asked_at is None else asked_at,
                    self._stale(now),
                    abandoned,
                    self._seconds_to_live,
                    encode_state_event(message.key, ExecutionState.SCHEDULED),
                    safeguard.when.timestamp(),
                    *encode_message(safeguard),
                ),
            )
        asked = Asked(reply)
        return Slot(gate, message.key, message.generation, now) if asked is Asked.ADMITTED else asked

    async def leave(self, delivery: Delivery, gate: SlotGate, *, slot: Slot | None, now: float) -> None:
        """Give back a slot, if it was taken, and let those go on who wait for it. Safe to repeat.

        Args:
            delivery: Whose it was, or would have been.
            gate: Of which slots.
            slot: The slot; ``None`` for a run that was woken for one and does not need it now.
            now: The time, in seconds since the epoch.
        """
        message = delivery.message
        with redis_errors():
            await self._redis.run_script(
                _LEAVE_SLOT,
                (self._keys.slots(gate.name, gate.scope),),
                (
                    self._keys.prefix,
                    message.key,
                    message.generation,
                    gate.limit,
                    self._stale(now),
                    "" if slot is None else slot.taken_at,
                    "" if slot is None or slot.renewal is None else slot.renewal,
                ),
                repeatable=True,
            )

    async def keep(self, slots: Sequence[Slot]) -> list[bool]:
        """Renew slots, each at the time of its ``renewal``. Safe to repeat for the same times.

        Returns:
            For each whether it is the run's: it was renewed, or was free and taken again.
        """
        with redis_errors():
            replies = await self._redis.run_scripts(_KEEP_SLOT, [self._keep_call(each) for each in slots])
        check_replies(replies)
        return [each == 1 for each in replies]

    async def wake(self, waiters: str, limit: int, *, safeguard: str, now: float) -> bool:
        """Take back the slots of dead workers, and let those go on who wait.

        Args:
            waiters: The stream of those who wait.
            limit: How many slots there are.
            safeguard: The key of the safeguard that asks.
            now: The time, in seconds since the epoch.

        Returns:
            Whether the task that it is for still waits.
        """
        with redis_errors():
            reply = await self._redis.run_script(
                _WAKE_WAITERS,
                (waiters.removesuffix(_WAITERS),),
                (self._keys.prefix, limit, self._stale(now), safeguard),
                repeatable=True,
            )
        return reply == 1

    async def forget(self, key: str) -> None:
        """Have a key leave the line if it was cancelled: pydocket's clients leave that to the workers."""
        with redis_errors():
            await self._redis.run_script(
                _FORGET_WAITER, (self._keys.runs(key),), (self._keys.prefix, key), repeatable=True
            )

    def _keep_call(self, slot: Slot) -> tuple[tuple[str, ...], tuple[Argument, ...]]:
        renewal = slot.taken_at if slot.renewal is None else slot.renewal
        return (
            (self._keys.slots(slot.gate.name, slot.gate.scope),),
            (slot.key, slot.gate.limit, slot.taken_at, renewal, self._seconds_to_live),
        )

    def _safeguard(self, key: str, gate: SlotGate, now: float) -> TaskMessage:
        when = datetime.fromtimestamp(now, UTC) + self._redelivery_timeout
        waiters = self._keys.slots(gate.name, gate.scope) + _WAITERS
        args, kwargs = dump_arguments((), {"waiter_stream": waiters, "max_concurrent": gate.limit}, SAFEGUARD)
        return TaskMessage(f"__safeguard__:{key}", SAFEGUARD, when, args, kwargs)

    def _stale(self, now: float) -> float:
        return now - self._redelivery_timeout.total_seconds()

    @property
    def _seconds_to_live(self) -> int:
        return max(1, int(4 * self._redelivery_timeout.total_seconds()))
