"""Debounce: of many in a row run one, when no more come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from attrs import field, frozen

from docket_anyio._model.admission import DebounceGate
from docket_anyio._model.settings import check_milliseconds
from docket_anyio._policies.subject import PerSubject


@frozen
class Debounce(PerSubject):
    """Run the first, with its arguments, once no other has come for ``settle``; the others are cancelled.

    Give it as a parameter's default, for all runs of the task: ``debounce: Debounce = Debounce(MINUTE)``. In
    ``customer: Annotated[int, Debounce(MINUTE)]`` each customer is on its own. A retry is not debounced again.

    Args:
        settle: How long it must be quiet.
        scope: Tasks and dockets with the same scope share it. The docket's name where it is left out.

    Raises:
        InvalidSetting: ``settle`` is shorter than a millisecond.
    """

    single = True

    settle: timedelta
    scope: str | None = field(default=None, kw_only=True)
    _parameter: str | None = field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        check_milliseconds("the time of a Debounce", self.settle)

    def gate(self, task: str, arguments: Mapping[str, object]) -> DebounceGate:
        """Return what to ask before a run."""
        return DebounceGate(self._subject(task, arguments), self.settle, self.scope)
