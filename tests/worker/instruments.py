"""Instruments that note what a test asks about."""

from __future__ import annotations

from attrs import define, field

from docket_anyio.abc import Delivery, DropReason, Instrument


@define
class Reports(Instrument):
    """What was reported and changed nothing."""

    told: list[tuple[str, str]] = field(factory=list)

    def hook_failed(self, worker: str, delivery: Delivery, hook: str, error: Exception) -> None:
        self.told.append((hook, repr(error)))


@define
class Drops(Instrument):
    """What was claimed and not run, and why."""

    reasons: list[DropReason] = field(factory=list)

    def delivery_dropped(self, worker: str, delivery: Delivery, reason: DropReason) -> None:
        self.reasons.append(reason)
