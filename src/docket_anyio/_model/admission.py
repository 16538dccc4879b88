"""May this run begin? What a task's policies ask of the broker, and what they are told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeAlias

from attrs import frozen


@frozen
class SlotGate:
    """No more than ``limit`` runs at once. ``name`` is that of the task, or ``argument:value``, here and below."""

    name: str
    limit: int
    scope: str | None = None


@frozen
class RateGate:
    """No more than ``limit`` runs begin in any window as long as ``per``; what is too much waits, or is dropped."""

    name: str
    limit: int
    per: timedelta
    drop: bool = False
    scope: str | None = None


@frozen
class CooldownGate:
    """After a run has begun no other one does for as long as ``window``."""

    name: str
    window: timedelta
    scope: str | None = None


@frozen
class DebounceGate:
    """The first of many waits until no other has come for as long as ``settle``; the others are dropped."""

    name: str
    settle: timedelta
    scope: str | None = None


Gate: TypeAlias = SlotGate | RateGate | CooldownGate | DebounceGate


@frozen
class Deferred:
    """Not now: the same attempt is made at ``when``."""

    when: datetime
    reason: str


@frozen
class Dropped:
    """Not at all."""

    reason: str


@frozen
class Parked:
    """Not now: the gate has put the delivery where it waits, and will send it back."""

    reason: str


NotAdmitted: TypeAlias = Deferred | Dropped | Parked
