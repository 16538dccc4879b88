"""Cooldown: after a run has begun, no other one for a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from attrs import field, frozen

from docket_anyio._model.admission import CooldownGate
from docket_anyio._model.settings import check_milliseconds
from docket_anyio._policies.subject import PerSubject


@frozen
class Cooldown(PerSubject):
    """Run the first at once, and cancel the others that come within ``window`` of its beginning.

    Give it as a parameter's default, for all runs of the task: ``cooldown: Cooldown = Cooldown(MINUTE)``. In
    ``customer: Annotated[int, Cooldown(MINUTE)]`` each customer is on its own. A retry is no other run.

    Args:
        window: For how long.
        scope: Tasks and dockets with the same scope share it. The docket's name where it is left out.

    Raises:
        InvalidSetting: ``window`` is shorter than a millisecond.
    """

    window: timedelta
    scope: str | None = field(default=None, kw_only=True)
    _parameter: str | None = field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        check_milliseconds("the window of a Cooldown", self.window)

    def gate(self, task: str, arguments: Mapping[str, object]) -> CooldownGate:
        """Return what to ask before a run."""
        return CooldownGate(self._subject(task, arguments), self.window, self.scope)
