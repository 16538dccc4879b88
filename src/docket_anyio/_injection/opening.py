"""What is made for one run: opened before its body, closed after it, by the task that runs both."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any, Final, TypeVar

from anyio import CancelScope, current_time
from attrs import define, field

from docket_anyio._injection.functional import FunctionValue
from docket_anyio._injection.library import Dependency, frame_scope
from docket_anyio._injection.marker import Marker
from docket_anyio._injection.plan import Call, Plan
from docket_anyio._model.leaves import is_same
from docket_anyio.exceptions import AdmissionBlocked, CleanupTimeout

T = TypeVar("T")

# How long, in seconds, a dependency may take to close: a commit may wait for a lock, but a run that was told to stop
# has to be settled before its worker's patience ends.
_CLOSING: Final = 30.0
_CLOSING_CANCELLED: Final = 3.0

_NOTHING_TO_CLOSE: Final[object] = vars(Dependency)["__aexit__"]


@define(eq=False)
class Patience:
    """How long each dependency of a run may take to close: less once the run was told to stop."""

    _seconds: float = field(default=_CLOSING, init=False)
    _closing: CancelScope | None = field(default=None, init=False)

    def begin(self, scope: CancelScope) -> None:
        """Let what is inside of a scope close, whatever happens outside; but not for ever."""
        scope.deadline = current_time() + self._seconds
        scope.shield = True
        self._closing = scope

    def hurry(self) -> None:
        """Let what closes, and all that is to close, have less time from now on."""
        self._seconds = _CLOSING_CANCELLED
        if self._closing is not None:
            self._closing.deadline = min(self._closing.deadline, current_time() + self._seconds)


class _RunStack(AsyncExitStack):
    """Closes each in a shield of its own, and shows all of them how the run ended.

    They see it also where one that closed before has taken it for dealt with. The scopes of the shields are entered
    before what they are for is opened, because that may hold scopes too: scopes end in the order of their nesting.
    """

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience: Final = patience

    async def enter_async_context(self, cm: AbstractAsyncContextManager[T, bool | None]) -> T:
        if type(cm).__aexit__ is _NOTHING_TO_CLOSE:
            return await cm.__aenter__()
        scope = self._enter_scope(cm)
        value = await cm.__aenter__()

        async def close(*ended: Any) -> None:  # noqa: ASYNC910 - it need not wait
            self._patience.begin(scope)
            try:
                await cm.__aexit__(*ended)
            except BaseException as raised:  # noqa: ASYNC103 - what was shown to it is raised by who knows it
                if ended[1] is None or not is_same(raised, ended[1]):
                    raise

        self.push_async_exit(close)
        return value

    def enter_context(self, cm: AbstractContextManager[T, bool | None]) -> T:
        value = cm.__enter__()

        def close(*ended: Any) -> None:
            try:
                cm.__exit__(*ended)
            except BaseException as raised:  # noqa: ASYNC103 - what was shown to it is raised by who knows it
                if ended[1] is None or not is_same(raised, ended[1]):
                    raise

        self.push(close)
        return value

    def _enter_scope(self, cm: object) -> CancelScope:
        scope = CancelScope()
        scope.__enter__()

        def leave(*ended: Any) -> None:
            scope.__exit__(*ended)
            if scope.cancelled_caught:
                raise CleanupTimeout(f"{_name(cm)} was not closed in time")

        self.push(leave)
        return scope


@define(eq=False)
class Opening:
    """The dependencies of one run.

    Args:
        patience: How long they may take to close.
    """

    _patience: Patience
    _stack: AsyncExitStack = field(init=False)
    values: dict[str, object] = field(factory=dict[str, object], init=False)
    _wrapping: list[object] = field(factory=list[object], init=False)

    def __attrs_post_init__(self) -> None:
        self._stack = _RunStack(self._patience)

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

    async def close(self, error: BaseException | None) -> None:  # noqa: ASYNC910 - see open()
        """Close them, the last one opened first. They see the error that the run ended with, and cannot take it away.

        Args:
            error: How the run ended.

        Raises:
            Exception: One failed to close; the others were closed all the same.
        """
        traceback = None if error is None else error.__traceback__
        await self._stack.__aexit__(None if error is None else type(error), error, traceback)

    async def _wrap(self, place: str, each: Dependency[Any], failures: dict[str, Exception]) -> None:  # noqa: ASYNC910
        try:
            self._wrapping.append(await self._stack.enter_async_context(each.for_parameter(place)))
        except Exception as error:  # noqa: BLE001 - whatever a user's class raises
            failures[place] = error


def _name(cm: object) -> str:
    # The managers of contextlib do not say what they were made of.
    made_by = getattr(cm, "gen", cm)
    return getattr(made_by, "__qualname__", None) or repr(made_by)
