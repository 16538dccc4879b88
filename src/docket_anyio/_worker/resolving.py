"""Resolve the dependencies of a task without running it, as frameworks on top do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from docket_anyio._client.current import current_docket, current_execution, is_current
from docket_anyio._client.execution import Execution
from docket_anyio._injection.library import FailedDependency
from docket_anyio._injection.opening import Opening, Patience
from docket_anyio._worker.worker import Worker, current_worker


@asynccontextmanager
async def resolved_dependencies(worker: Worker, execution: Execution[Any]) -> AsyncGenerator[dict[str, Any]]:
    """Open what a task asks for, for as long as the block lasts.

    Args:
        worker: Whose dependencies are opened too.
        execution: Whose arguments and key they see; its task is registered.

    Returns:
        The values by parameter; a ``FailedDependency`` for what could not be opened.

    Raises:
        UnknownTask: The task is not registered.
        InvalidArguments: The arguments do not fit its signature.
    """
    plan = worker.docket.registry.get(execution.function_name).plan.within(worker.dependencies)
    call = plan.call(execution.args, execution.kwargs, key=execution.key, attempt=execution.attempt)
    opening = Opening(Patience())
    with (
        is_current(current_docket, worker.docket),
        is_current(current_worker, worker),
        is_current(current_execution, execution),
    ):
        try:
            failures = await opening.try_to_open(plan, call)
            failed = {name: FailedDependency(name, error) for name, error in failures.items()}
            yield {**call.values, **opening.values, **failed}
        except BaseException as error:
            await opening.close(error)  # noqa: ASYNC102 - shielded and bounded itself
            raise
        await opening.close(None)
