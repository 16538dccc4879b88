"""What a type checker makes of executions made by hand, and of what a docket is given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_type

from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from docket_anyio import Disposition, Docket, Execution, ExecutionProgress, StrikeList, TaskCollection, TaskFunction


async def send(to: str) -> int:
    return len(to)


class Shelf:
    """A store as users write it, with more parameters than are needed."""

    async def put(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: float | None = None
    ) -> None:
        """Keep."""

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """Find."""
        return {"key": key, "collection": collection}


async def by_hand(docket: Docket) -> None:
    """It is added to a docket."""
    execution: Execution[int] = Execution(docket, send, ("ann",), {}, "K", datetime.now(UTC), 1)
    assert_type(await docket.schedule(execution), Disposition)
    assert_type(await execution.schedule(True), Disposition)  # noqa: FBT003 - pydocket's users may
    assert_type(await execution.get_result(), int)
    await execution.docket.add(send)("ann")
    await ExecutionProgress.create(docket, "K")
    again = await Execution[int].from_message(docket, execution.as_message(), fallback_task=send)
    assert_type(again, Execution[int])


def given(provider: CredentialProvider) -> None:
    """It takes what other libraries have for it."""
    Docket("d", "redis://localhost", result_storage=Shelf(), credential_provider=provider)
    StrikeList("redis://localhost", credential_provider=UsernamePasswordCredentialProvider("ann", "secret"))


task: TaskFunction = send
tasks: TaskCollection = (task,)
