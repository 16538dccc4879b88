"""How often the tasks of some keys run in one session of a worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attrs import define, field


@define(eq=False)
class RunLimits:
    """Counts the runs that begin here, of the keys that are limited: of others there is no end.

    Args:
        at_most: How many runs there are to be of a key; those of other keys are not limited.
    """

    _at_most: Mapping[str, int]
    _begun: Counter[str] = field(factory=Counter[str], init=False)

    def began(self, key: str) -> None:
        """Count a run."""
        if key in self._at_most:
            self._begun[key] += 1

    def did_not_begin(self, key: str) -> None:
        """Take back that a run was counted: it was not admitted."""
        if key in self._at_most:
            self._begun[key] -= 1

    def reached(self, key: str) -> bool:
        """Tell whether no more runs of a key are to begin."""
        return key in self._at_most and self._begun[key] >= self._at_most[key]
