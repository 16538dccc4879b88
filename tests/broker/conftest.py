"""The broker of a docket, without the docket."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from docket_anyio._broker.broker import Broker
from tests.broker.brokers import open_broker
from tests.conftest import Store
from tests.dockets import docket as docket


@pytest.fixture
async def broker(anyio_backend: object, store: Store) -> AsyncGenerator[Broker]:
    async with open_broker(store) as broker:
        yield broker
