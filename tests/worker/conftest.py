"""A docket for each test, and a diary for who asks for one."""

from __future__ import annotations

from tests.dockets import docket as docket
from tests.worker.diary import notes as notes
