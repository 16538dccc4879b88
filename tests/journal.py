"""An oracle for tests of processes: it shares nothing with the system under test, not even Redis."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

from attrs import frozen


@frozen
class Entry:
    """One line of a journal."""

    what: str
    number: int
    value: str = ""
    pid: int = 0
    at: float = 0.0


@frozen
class Journal:
    """A file that processes append facts to: an oracle that shares nothing with the system under test."""

    path: Path

    def write(self, what: str, number: int, value: object = "") -> None:
        """Append a line. A write this small is atomic, and outlives a ``kill -9`` of who wrote it."""
        line = f"{what} {number} {os.getpid()} {time.time():.6f} {value}\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def entries(self, what: str | None = None) -> list[Entry]:
        if not self.path.exists():
            return []
        entries: list[Entry] = []
        # The last line may be under way.
        whole, _, _ = self.path.read_text().rpartition("\n")
        for line in whole.splitlines():
            kind, number, pid, at, value = line.split(" ", 4)
            if what in {None, kind}:
                entries.append(Entry(kind, int(number), value, int(pid), float(at)))
        return entries

    def count(self, what: str) -> Counter[int]:
        """Return how often each number stands with ``what``."""
        return Counter(each.number for each in self.entries(what))
