"""What the body of a task can ask about the run that it is."""

from __future__ import annotations

from datetime import datetime

from attrs import define, field

from docket_anyio._client.request import Request
from docket_anyio._executors.stopping import StopSign
from docket_anyio._model.outcome import StopRequest


@define(eq=False)
class Running(Request):
    """A request that may be running here: then its body can ask whether it is to stop, in a thread too."""

    _sign: StopSign | None = field(default=None, init=False, repr=False)

    @property
    def cancel_requested(self) -> bool:
        """Whether this very run was told to stop, for whatever reason.

        ``check_cancelled()`` is the cheaper way to go by it. ``False`` for a handle on what does not run here.
        """
        return self._sign is not None and self._sign.requested

    @property
    def stopping_because(self) -> StopRequest | None:
        """Why this very run was told to stop, if it was; the first reason, where there are several."""
        return None if self._sign is None else self._sign.because

    @property
    def deadline(self) -> datetime | None:
        """When the body of this very run has to be done by its ``Timeout``; ``None`` where it has none."""
        return None if self._sign is None else self._sign.deadline

    def goes_by(self, sign: StopSign | None) -> None:
        """Take what tells the body whether it is to stop, or nothing once that has ended. Not for users."""
        self._sign = sign
