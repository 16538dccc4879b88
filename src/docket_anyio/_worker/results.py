"""Results go where the docket keeps them."""

from __future__ import annotations

import logging
from typing import Final

from attrs import define, evolve

from docket_anyio._broker.answers import Ending
from docket_anyio._client.docket import Docket
from docket_anyio._model.codec import result_value
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.message import TaskMessage
from docket_anyio._model.record import seconds_to_live

_LOGGER: Final = logging.getLogger("docket_anyio.worker")


@define(eq=False)
class ResultWriter:
    """Puts results into the store that the docket was given for them; without one they go with the settlement."""

    _docket: Docket
    _worker: str

    async def put(self, message: TaskMessage, ending: Ending) -> Ending:
        """Keep the result of a run that is about to be settled.

        Returns:
            What is to be recorded: where the result is, or that it could not be kept, which is a failure.
        """
        store = self._docket.broker.own_results
        seconds = seconds_to_live(self._docket.execution_ttl)
        if store is None or ending.result is None or not seconds:
            return ending  # noqa: ASYNC910 - private; starting was a checkpoint
        kept = evolve(ending, result=None)
        try:
            await store.put(message.result_key, result_value(ending.result), ttl=seconds)
        except Exception as error:
            # The store is a user's: what it raises must neither lose the run nor stop the worker.
            text = f"the result could not be stored: {type(error).__name__}: {error}"
            _LOGGER.exception("Task %s{%s}: %s", message.task, message.key, text, extra={"docket.worker": self._worker})
            return evolve(kept, state=ExecutionState.FAILED, error=kept.error or text)  # noqa: ASYNC910 - as above
        return evolve(kept, result_key=message.result_key)
