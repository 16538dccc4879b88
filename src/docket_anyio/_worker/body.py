"""The body of one run, with all that its signature asks for around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial, wraps
from math import inf
from typing import Any, Final, TypeVar, cast

import anyio
from anyio import current_effective_deadline, get_cancelled_exc_class, move_on_after
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled
from attrs import define, field

from docket_anyio._client.execution import Execution
from docket_anyio._client.handlers import (
    CancellationHandler,
    CompletionHandler,
    FailureHandler,
    Middleware,
    Runtime,
    TaskOutcome,
)
from docket_anyio._executors.inline import run_inline
from docket_anyio._executors.stopping import StopSign, going_by
from docket_anyio._injection.opening import Opening
from docket_anyio._injection.plan import Call, Plan
from docket_anyio._model.admission import Deferred, Dropped, NotAdmitted, Parked
from docket_anyio._model.codec import dump
from docket_anyio._model.leaves import is_same
from docket_anyio._model.lifecycle import ExecutionState
from docket_anyio._model.outcome import CancelReason, Failed, Outcome, Succeeded, TimedOut
from docket_anyio._model.payloads import check_size, max_payload_bytes
from docket_anyio._model.settlement import Decided, Finish, SettlementPolicy
from docket_anyio._policies.base import RunPolicy
from docket_anyio._worker.executors import Executors
from docket_anyio._worker.runs import RunScope
from docket_anyio._worker.stopping import RunStopSign
from docket_anyio.exceptions import AdmissionBlocked, CleanupTimeout, StrayCancellation

T = TypeVar("T")

# For a dependency that says "not now" and not when, as pydocket has it.
_RETRY_DELAY: Final = timedelta(milliseconds=100)

# How long, in seconds, a handler may take: what has ended does not wait for them for ever, what is cancelled not long.
_HANDLING: Final = 30.0
_HANDLING_CANCELLED: Final = 3.0


@define(eq=False)
class Body:
    """Opens what the signature asks for, calls the function in its scopes, tells the handlers, and closes all again.

    Args:
        run: The run.
        execution: The handle that its handlers are given.
        plan: What the signature asks for.
        call: What the function is called with.
        now: Tells the time.
        report: Told of what a handler raises, and of what fails to close besides.
        executors: Where it is called.
    """

    _run: RunScope
    _execution: Execution[Any]
    _plan: Plan
    _call: Call
    _now: Callable[[], datetime]
    _report: Callable[[str, Exception], None]
    _executors: Executors
    _limits: Sequence[RunPolicy] = field(init=False)
    _sign: StopSign = field(init=False)
    _opening: Opening = field(init=False)
    _began: float = field(factory=anyio.current_time, init=False)
    _result: object = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._opening = Opening(self._run.patience)
        self._limits = [each for each in self._call.policies if isinstance(each, RunPolicy)]
        self._sign = RunStopSign(self._run, [each.scope for each in self._limits], self._now)

    async def run(self, retried: Callable[[Outcome], bool]) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        """Run it. A cancellation leaves it as one, once all is closed.

        Args:
            retried: Tells whether another attempt follows an outcome.

        Returns:
            How it ended, and what a handler has decided about what happens next.
        """
        self._execution.goes_by(self._sign)
        try:
            return await self._run_in_its_scopes(retried)
        finally:
            self._execution.goes_by(None)

    async def _run_in_its_scopes(
        self, retried: Callable[[Outcome], bool]
    ) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        if not self._plan.opens:
            return await self._attempt(), ()
        try:
            outcome, decided = await self._use(retried)
        except BaseException as error:  # noqa: BLE001, ASYNC103 - _cancelled() raises it, once all is closed
            return await self._cancelled(error), ()  # noqa: ASYNC102, ASYNC104 - shielded and bounded
        left_by = _left_by(outcome)
        raised = await self._close(left_by)
        if raised is not None and not isinstance(left_by, Exception):
            return Failed(raised), ()
        self._report_closing(raised)
        return outcome, decided

    def _blocked(self, blocked: AdmissionBlocked) -> NotAdmitted:
        if blocked.handled:
            return Parked(blocked.reason)
        if blocked.reschedule:
            delay = _RETRY_DELAY if blocked.retry_delay is None else blocked.retry_delay
            return Deferred(self._now() + delay, blocked.reason)
        return Dropped(blocked.reason)

    async def _use(self, retried: Callable[[Outcome], bool]) -> tuple[Outcome, Sequence[SettlementPolicy]]:
        try:
            await self._opening.open(self._plan, self._call)
        except AdmissionBlocked as blocked:
            return self._blocked(blocked), ()  # noqa: ASYNC910 - private; what users give need not wait
        except Exception as refused:  # noqa: BLE001 - whatever a user's function raises
            outcome: Outcome = Failed(refused)
        else:
            outcome = await self._attempt()
        return outcome, await self._tell_handlers(outcome, retried)

    async def _cancelled(self, error: BaseException) -> Outcome:
        """Close all, and return what it means that the run was left by a cancellation that nobody had asked for.

        Raises:
            BaseException: Somebody had; or it was none.
        """
        await self._tell_cancelled(error)
        raised = await self._close(error)
        if current_effective_deadline() == -inf or not _is_cancellation(error):
            self._report_closing(raised)
            raise error
        # A dependency holds a scope, and its time was over, or something failed in its task group.
        return Failed(raised or StrayCancellation("the run was cancelled by one of its dependencies"))

    async def _attempt(self) -> Outcome:
        self._began = anyio.current_time()
        try:
            return await _within(self._limits, self._called)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            return Failed(error)  # noqa: ASYNC910 - private; what users give need not wait

    async def _called(self) -> Outcome:
        if self._run.reason is not None:
            # Told to stop before it began: it must not even run to its first checkpoint.
            await checkpoint_if_cancelled()
        args, kwargs = self._call.args, {**self._call.kwargs, **self._call.values, **self._opening.values}
        function = self._executors.awaitable(self._run, self._plan, self._sign, self._limits)
        for group in (each for each in self._call.values.values() if isinstance(each, TaskGroup)):
            function = _with_group(function, group)
        call: Callable[[], Awaitable[object]] = partial(run_inline, function, args, kwargs)
        runtimes: list[Runtime[Any]] = self._having(Runtime)
        for runtime in runtimes:
            call = partial(run_inline, runtime.run, (self._execution, function, args, kwargs), {})
        middlewares: list[Middleware[Any]] = self._having(Middleware)
        for middleware in reversed(middlewares):
            call = partial(run_inline, middleware.around, (self._execution, call), {})
        with going_by(self._sign):
            self._result = await call()
        if self._result is None:
            return Succeeded(None)
        what = f"the result of task {self._plan.task!r}"
        pickled = dump(self._result, what)
        check_size(what, pickled, at_most=max_payload_bytes.get())
        return Succeeded(pickled)

    async def _tell_handlers(self, outcome: Outcome, retried: Callable[[Outcome], bool]) -> Sequence[SettlementPolicy]:  # noqa: ASYNC910 - private; handlers need not wait
        match outcome:
            case Failed() | TimedOut():
                told = TaskOutcome(self._duration, exception=outcome.error)
                deciders: list[FailureHandler[Any]] = self._having(FailureHandler)
                for decider in deciders:
                    if await self._ask(decider.handle_failure, told, _HANDLING):
                        return [Decided(Finish(ExecutionState.FAILED))]
            case Succeeded():
                told = TaskOutcome(self._duration, result=self._result)
            case _:
                return []  # noqa: ASYNC910 - private; what users give need not wait
        if not retried(outcome):
            handlers: list[CompletionHandler[Any]] = self._having(CompletionHandler)
            for handler in handlers:
                if await self._ask(handler.on_complete, told, _HANDLING) and isinstance(outcome, Succeeded):
                    return [Decided(Finish(ExecutionState.COMPLETED))]
        return []  # noqa: ASYNC910 - private; what users give need not wait

    async def _tell_cancelled(self, cancelled: BaseException) -> None:  # noqa: ASYNC910 - private; handlers need not wait
        if self._run.reason is CancelReason.USER:
            told = TaskOutcome(self._duration, exception=cancelled)
            handlers: list[CancellationHandler[Any]] = self._having(CancellationHandler)
            for handler in handlers:
                await self._ask(handler.on_cancelled, told, _HANDLING_CANCELLED)

    async def _ask(  # noqa: ASYNC910 - private; handlers need not wait
        self, handler: Callable[[Execution[Any], TaskOutcome], Awaitable[T]], told: TaskOutcome, patience: float
    ) -> T | None:
        name = getattr(handler, "__qualname__", repr(handler))
        # Shielded: the body has ended, and a cancellation is too late to change that.
        with move_on_after(patience, shield=True):  # noqa: ASYNC912 - the same
            try:
                return cast("T", await run_inline(handler, (self._execution, told), {}))
            except Exception as error:  # noqa: BLE001 - whatever a user's handler raises
                self._report(name, error)
                return None  # noqa: ASYNC910 - private; what users give need not wait
        self._report(name, CleanupTimeout(f"{name} has not returned within {patience:g} s"))
        return None  # noqa: ASYNC910 - private; what users give need not wait

    async def _close(self, left_by: BaseException | None) -> Exception | None:  # noqa: ASYNC910 - closing need not wait
        try:
            await self._opening.close(left_by)
        except Exception as raised:  # noqa: BLE001 - whatever a user's function raises
            return raised  # noqa: ASYNC910 - private; what users give need not wait
        except get_cancelled_exc_class() as cancelled:  # noqa: ASYNC103 - each was closed inside of a shield
            if left_by is not None and _is_cancellation(left_by):
                return None  # noqa: ASYNC104, ASYNC910 - what they were shown they may raise anew
            return _stray(cancelled)  # noqa: ASYNC104, ASYNC910 - nobody's
        return None

    def _report_closing(self, raised: Exception | None) -> None:
        if raised is not None:
            self._report("closing its dependencies", raised)

    @property
    def _duration(self) -> timedelta:
        return timedelta(seconds=anyio.current_time() - self._began)

    def _having(self, kind: type[T]) -> list[T]:
        return [each for each in self._opening.opened if isinstance(each, kind)]


async def _within(limits: Sequence[RunPolicy], body: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Run the body in the scopes of all limits, the first outermost: the one that catches it says how it ended."""
    if not limits:
        return await body()
    outermost, *inner = limits
    with outermost.scope:
        outermost.start()
        return await _within(inner, body)
    return outermost.outcome()


def _with_group(function: Callable[..., Awaitable[object]], group: TaskGroup) -> Callable[..., Awaitable[object]]:
    """Return the body inside the task group that it has asked for."""

    @wraps(function)
    async def call(*args: object, **kwargs: object) -> object:  # noqa: ASYNC910 - private; what users give need not wait
        failure: Exception | None = None
        try:
            async with group:
                try:
                    return await run_inline(function, args, kwargs)
                except Exception as error:
                    failure = error
                    raise
        except BaseExceptionGroup as several:
            # The group is there for what the body starts: where the body alone failed, it does not show.
            if failure is None or not is_same(several, failure):
                raise
        if failure is not None:
            raise failure  # here, so that the group does not become its context
        return None  # noqa: ASYNC910 - private; the body has cancelled its group

    return call


def _stray(cancelled: BaseException) -> StrayCancellation:
    error = StrayCancellation("closing was cancelled from outside its scopes")
    error.__cause__ = cancelled
    return error


def _left_by(outcome: Outcome) -> BaseException | None:
    """Return what the dependencies of a run see of how its body ended."""
    error = outcome.error if isinstance(outcome, Failed | TimedOut) else None
    # A scope of the event loop's own that a dependency holds wants to see its cancellation.
    return (error.__cause__ or error) if isinstance(error, StrayCancellation) else error


def _is_cancellation(error: BaseException) -> bool:
    """Tell whether that is a cancellation, alone or together with failures, and nothing that ends a program."""
    kinds = (Exception, get_cancelled_exc_class())
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(kinds)[1] is None
    return isinstance(error, kinds)
