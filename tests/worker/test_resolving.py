"""Frameworks open what a task asks for without running it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from docket_anyio import Docket, Worker
from docket_anyio.dependencies import Depends, resolved_dependencies

seen: list[str] = []


async def transaction() -> AsyncGenerator[str]:
    try:
        yield "open"
    except ValueError as error:
        seen.append(f"roll back: {error}")
        raise
    else:
        seen.append("commit")


async def body(value: str = Depends(transaction)) -> None: ...


async def test_what_is_open_sees_how_the_block_ends(docket: Docket) -> None:
    seen.clear()
    worker, execution = Worker(docket), await docket.add(body)()
    async with resolved_dependencies(worker, execution) as values:
        assert values == {"value": "open"}
    with pytest.raises(ValueError, match="ouch"):
        async with resolved_dependencies(worker, execution):
            raise ValueError("ouch")
    assert seen == ["commit", "roll back: ouch"]
