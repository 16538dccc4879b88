"""Virtual time: what waits for an hour is tested at once."""

from __future__ import annotations

import time

import anyio
import pytest
from attrs import field, frozen

# A test with this mark runs under trio on memory:// only, and an idle moment there ends with the next deadline.
virtual_time = pytest.mark.virtual_time


@frozen
class Stopwatch:
    """Measures the event loop's time, and that no real time was spent on it."""

    _began: float = field(factory=anyio.current_time, init=False)
    _really_began: float = field(factory=time.monotonic, init=False)

    def seconds(self) -> float:
        return anyio.current_time() - self._began

    def real_seconds(self) -> float:
        return time.monotonic() - self._really_began
