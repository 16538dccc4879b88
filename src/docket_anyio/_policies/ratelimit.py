"""RateLimit: so many runs in any window of time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from attrs import field, frozen

from docket_anyio._model.admission import RateGate
from docket_anyio._model.settings import check_at_least, check_milliseconds
from docket_anyio._policies.subject import PerSubject


@frozen
class RateLimit(PerSubject):
    """Let no more than ``limit`` runs begin in any window as long as ``per``.

    Give it as a parameter's default, for all runs of the task: ``rate: RateLimit = RateLimit(10, per=MINUTE)``. In
    ``customer: Annotated[int, RateLimit(10, per=MINUTE)]`` each customer has a window of its own. A retry counts too.

    Args:
        limit: How many.
        per: How long the window is.
        drop: What is too much is cancelled; otherwise it is run when there is room.
        scope: Tasks and dockets with the same scope share their windows. The docket's name where it is left out.

    Raises:
        InvalidSetting: ``limit`` is below 1, or ``per`` is shorter than a millisecond.
    """

    limit: int
    per: timedelta = field(kw_only=True)
    drop: bool = field(default=False, kw_only=True)
    scope: str | None = field(default=None, kw_only=True)
    _parameter: str | None = field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        check_at_least("the limit of a RateLimit", self.limit, 1)
        check_milliseconds("the window of a RateLimit", self.per)

    def gate(self, task: str, arguments: Mapping[str, object]) -> RateGate:
        """Return what to ask before a run."""
        name = self._subject(task, arguments)
        return RateGate(name, self.limit, self.per, self.drop, self.scope)
