"""A sorted set: members in the order of their scores."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from operator import itemgetter
from typing import Final

from attrs import define, field, frozen

_score: Final = itemgetter(0)


@frozen
class ScoreRange:
    """The scores between two bounds, each of them in or out."""

    low: float
    high: float
    without_low: bool = False
    without_high: bool = False


@define(eq=False)
class SortedSet:
    """Members with their scores."""

    scores: dict[bytes, float] = field(factory=dict[bytes, float], init=False)
    order: list[tuple[float, bytes]] = field(factory=list[tuple[float, bytes]], init=False)

    def put(self, member: bytes, score: float) -> None:
        """Add a member, or move it."""
        before = self.scores.get(member)
        if before is not None:
            if before == score:
                return
            del self.order[bisect_left(self.order, (before, member))]
        self.scores[member] = score
        insort(self.order, (score, member))

    def discard(self, member: bytes) -> bool:
        """Remove a member and tell whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def rank(self, member: bytes) -> int | None:
        """Return how many members come before this one."""
        score = self.scores.get(member)
        return None if score is None else bisect_left(self.order, (score, member))

    def within(self, wanted: ScoreRange) -> tuple[int, int]:
        """Return where the members with such scores start and end in the order."""
        low = (bisect_right if wanted.without_low else bisect_left)(self.order, wanted.low, key=_score)
        high = (bisect_left if wanted.without_high else bisect_right)(self.order, wanted.high, key=_score)
        return low, max(low, high)

    def remove_slice(self, start: int, stop: int) -> int:
        """Remove the members from one position to another and return how many they were."""
        gone = self.order[start:stop]
        del self.order[start:stop]
        for _, member in gone:
            del self.scores[member]
        return len(gone)
