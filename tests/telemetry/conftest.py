"""What OpenTelemetry's SDK is told in this process."""

from __future__ import annotations

import pytest

from tests.dockets import docket as docket

pytest.importorskip("opentelemetry.sdk")

from tests.telemetry.seen import Seen, start_seeing


@pytest.fixture(scope="session")
def _seeing() -> Seen:
    # Once for a process: OpenTelemetry takes no second provider.
    return start_seeing()


@pytest.fixture
def seen(_seeing: Seen) -> Seen:
    """The metrics and spans of this process; those of a test are found by the name of its docket."""
    return _seeing
