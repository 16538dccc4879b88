"""A docket for each test."""

from __future__ import annotations

from tests.dockets import docket as docket
