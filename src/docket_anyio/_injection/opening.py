"""What is made for one run: opened before its body, closed after it, by the task that runs both."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final

from anyio import move_on_after
from attrs import define, field

from docket_anyio._injection.functional import FunctionValue
from docket_anyio._injection.library import Dependency, frame_scope
from docket_anyio._injection.marker import Marker
from docket_anyio._injection.plan import Call, Plan
from docket_anyio.exceptions import AdmissionBlocked, CleanupTimeout

# How long, in seconds, dependencies may take to close: a commit may wait for a lock, but a run that was told to stop
# has to be settled before its worker's patience ends.
_CLOSING: Final = 30.0
_CLOSING_CANCELLED: Final = 3.0


@define(eq=False)
class Opening:
    """The dependencies of one run."""

    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    values: dict[str, object] = field(factory=dict[str, object], init=False)
    _wrapping: list[object] = field(factory=list[object], init=False)

    @property
    def opened(self) -> list[object]:
        """Everything that is open, the worker's own first."""
        return [*self._wrapping, *self.values.values()]

    async def open(self, plan: Plan, call: Call) -> None:  # noqa: ASYNC910 - what is opened need not wait
        """Open what the worker has around every task, then what the signature asks for.

        Raises:
            AdmissionBlocked: One of them says that the run cannot begin now.
            ExceptionGroup: Some failed; it names their parameters.
        """
        failures = await self.try_to_open(plan, call)
        for failure in failures.values():
            if isinstance(failure, AdmissionBlocked):
                raise failure
        if failures:
            names = ", ".join(failures)
            raise ExceptionGroup(f"Failed to resolve dependencies for parameter(s): {names}", [*failures.values()])

    async def try_to_open(self, plan: Plan, call: Call) -> dict[str, Exception]:  # noqa: ASYNC910 - see open()
        """Open what can be opened, so that one look tells everything that is wrong.

        Returns:
            What failed, by parameter.
        """
        FunctionValue.cache.set({})
        FunctionValue.stack.set(self._stack)
        failures: dict[str, Exception] = {}
        with frame_scope(plan.function, dict(call.given)) as frame:
            frame.resolved.update(call.values)
            for place, each in plan.around:
                if not isinstance(each, Marker):
                    await self._wrap(place, each, failures)
            for name in plan.made:
                if name in call.given:
                    continue
                try:
                    self.values[name] = await frame.resolve(name)
                except Exception as error:  # noqa: BLE001 - whatever a user's function raises
                    failures[name] = error
            for name, each in plan.wrapping:
                if not isinstance(each, Marker):
                    value = call.given.get(name, self.values.get(name))
                    await self._wrap(name, each.bind_to_parameter(name, value), failures)
        return failures  # noqa: ASYNC910 - see open()

    async def close(self, error: BaseException | None, *, cancelled: bool) -> None:  # noqa: ASYNC910 - see open()
        """Close them, the last one opened first. They see the error that the run ended with, and cannot take it away.

        Args:
            error: How the run ended.
            cancelled: It was told to stop, so there is less time.

        Raises:
            CleanupTimeout: It took too long.
            Exception: One failed to close; the others were closed all the same.
        """
        patience = _CLOSING_CANCELLED if cancelled else _CLOSING
        with move_on_after(patience, shield=True) as scope:  # noqa: ASYNC912 - the same
            try:
                await self._stack.__aexit__(None if error is None else type(error), error, _traceback(error))
            except BaseException as raised:  # noqa: ASYNC103 - its caller raises it
                if raised is not error:  # the caller raises that one itself
                    raise
        if scope.cancelled_caught:
            raise CleanupTimeout(f"dependencies were not closed within {patience:g} s")

    async def _wrap(self, place: str, each: Dependency[Any], failures: dict[str, Exception]) -> None:  # noqa: ASYNC910
        try:
            self._wrapping.append(await self._stack.enter_async_context(each.for_parameter(place)))
        except Exception as error:  # noqa: BLE001 - whatever a user's class raises
            failures[place] = error


def _traceback(error: BaseException | None) -> Any:
    return None if error is None else error.__traceback__
