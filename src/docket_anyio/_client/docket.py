"""The docket: what users open to add tasks and to ask about them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, overload

from attrs import frozen

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.keys import Keys
from docket_anyio._client.arguments import Pickled
from docket_anyio._client.calls import TaskCall
from docket_anyio._client.catalogue import Catalogue
from docket_anyio._client.execution import Execution
from docket_anyio._client.registry import TaskFunction
from docket_anyio._client.scheduling import Scheduler, Submission
from docket_anyio._client.snapshot import DocketSnapshot, take_snapshot
from docket_anyio._client.strikes import StrikeBook
from docket_anyio._model.keys import check_key
from docket_anyio._model.settings import check_at_least, check_not_negative, check_positive
from docket_anyio._model.snapshot import WorkerInfo
from docket_anyio._model.strikes import Direction, LiteralOperator, Operator, StrikeInstruction, StrikeSet
from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.url import parse_url
from docket_anyio._telemetry.requests import RequestTelemetry
from docket_anyio.exceptions import InvalidSetting, NotOpen

P = ParamSpec("P")
R = TypeVar("R")

_HEARTBEAT_INTERVAL: Final = timedelta(seconds=2)
_EXECUTION_TTL: Final = timedelta(minutes=15)


@frozen(eq=False)
class _Session:
    """What exists while a docket is open."""

    broker: Broker
    scheduler: Scheduler


class Docket(Catalogue):
    """A durable set of tasks: added by any number of dockets of the same name and URL, run by any number of workers.

    Open it with ``async with``. That starts nothing and connects to nothing yet, so it may be entered in one task and
    left in another, and again after it was left.

    Args:
        name: All keys in Redis begin with it.
        url: ``redis://``, ``rediss://`` (TLS), ``unix://``, or ``memory://`` for a docket inside this event loop.
        heartbeat_interval: How often workers say that they live.
        missed_heartbeats: After how many missed ones a worker counts as gone.
        execution_ttl: How long records and results are kept after the end; zero keeps none.

    Raises:
        InvalidURL: The URL names no Redis.
        InvalidSetting: Another argument is out of range.
    """

    def __init__(
        self,
        name: str = "docket",
        url: str = "redis://localhost:6379/0",
        heartbeat_interval: timedelta = _HEARTBEAT_INTERVAL,
        missed_heartbeats: int = 5,
        execution_ttl: timedelta = _EXECUTION_TTL,
    ) -> None:
        if not name:
            raise InvalidSetting("a docket needs a name")
        self._address: Final = parse_url(url)
        super().__init__(name, Keys(name, bare_results=self._address.kind == "memory"))
        self.url: Final = url
        self.heartbeat_interval = check_positive("heartbeat_interval", heartbeat_interval)
        self.missed_heartbeats = check_at_least("missed_heartbeats", missed_heartbeats, 1)
        self.execution_ttl: Final = check_not_negative("execution_ttl", execution_ttl)
        self._telemetry: Final = RequestTelemetry(self.labels())
        self._session: _Session | None = None

    def __repr__(self) -> str:
        return f"Docket(name={self.name!r}, url={self._address.redacted!r})"

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise NotOpen(f"{self!r} is open already; open another one of the same name instead")
        broker = Broker(
            connect(self._address), self._keys, self.execution_ttl, in_process=self._address.kind == "memory"
        )
        strikes = StrikeBook(broker.strikes, StrikeSet(), self._telemetry)
        self._session = _Session(broker, Scheduler(broker, strikes, self._telemetry))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._open_session(), None
        session.scheduler.strikes.close()
        await session.broker.aclose()

    @property
    def broker(self) -> Broker:
        """What the docket remembers, for its worker. Not for users.

        Raises:
            NotOpen: The docket is not open.
        """
        return self._open_session().broker

    @property
    def strikes(self) -> StrikeBook:
        """The strikes it knows of, for its worker.

        Raises:
            NotOpen: The docket is not open.
        """
        return self._open_session().scheduler.strikes

    @overload
    def add(
        self, function: Callable[P, Awaitable[R]], when: datetime | None = None, key: str | None = None
    ) -> Submission[P, R]: ...

    @overload
    def add(self, function: str, when: datetime | None = None, key: str | None = None) -> Submission[..., Any]: ...

    def add(
        self, function: Callable[P, Awaitable[R]] | str, when: datetime | None = None, key: str | None = None
    ) -> Submission[P, R] | Submission[..., Any]:
        """Say what is to be added; call what is returned with the arguments: ``await docket.add(send)("ann")``.

        Args:
            function: The task, which is registered by this, or the name of one that is registered.
            when: When it is due; now where it is left out.
            key: Names the task: while one of that key waits or runs, no other is added. Made up where it is left out.

        Raises:
            UnknownTask: No task has that name.
            DuplicateTask: Another function has the function's name.
            InvalidTask: The function cannot be a task.
            InvalidKey: The key cannot be used.
            InvalidTime: ``when`` has no time zone.
            NotOpen: The docket is not open.
        """
        return Submission(self._open_session().scheduler, self._prepare(function, when, key), replace=False)

    @overload
    def replace(self, function: Callable[P, Awaitable[R]], when: datetime, key: str) -> Submission[P, R]: ...

    @overload
    def replace(self, function: str, when: datetime, key: str) -> Submission[..., Any]: ...

    def replace(
        self, function: Callable[P, Awaitable[R]] | str, when: datetime, key: str
    ) -> Submission[P, R] | Submission[..., Any]:
        """Say what is to stand under a key from now on; call what is returned with the arguments.

        Whatever waits under the key is dropped. What runs goes on, but is superseded: its end is not recorded.

        Args:
            function: As for ``add``.
            when: When it is due.
            key: What is replaced.

        Raises:
            UnknownTask: As for ``add``, like all others.
            DuplicateTask: Another function has the function's name.
            InvalidTask: The function cannot be a task.
            InvalidKey: The key cannot be used.
            InvalidTime: ``when`` has no time zone.
            NotOpen: The docket is not open.
        """
        return Submission(self._open_session().scheduler, self._prepare(function, when, key), replace=True)

    async def add_many(self, calls: Iterable[TaskCall[Any]], *, chunk_size: int | None = 1000) -> list[Execution[Any]]:
        """Add many tasks, a round trip for each chunk of them.

        Each is added or not on its own: look at the ``disposition`` of what is returned, one for each in order.

        Args:
            calls: What ``docket.call(f)(x)`` returned.
            chunk_size: How many go out in one piece; ``None`` for all.

        Raises:
            InvalidSetting: ``chunk_size`` is below 1.
            NotSerializable: The arguments of one cannot be pickled; none is added.
            RedisUnavailable: Redis cannot be reached; earlier chunks may have been added.
        """
        return await self._open_session().scheduler.schedule_many(list(calls), chunk_size=chunk_size, replace=False)

    async def replace_many(
        self, calls: Iterable[TaskCall[Any]], *, chunk_size: int | None = 1000
    ) -> list[Execution[Any]]:
        """Do what ``add_many`` does, in the place of whatever is under the keys.

        Raises:
            InvalidSetting: ``chunk_size`` is below 1.
            NotSerializable: The arguments of one cannot be pickled; none is added.
            RedisUnavailable: Redis cannot be reached; earlier chunks may have been added.
        """
        return await self._open_session().scheduler.schedule_many(list(calls), chunk_size=chunk_size, replace=True)

    async def cancel(self, key: str) -> None:
        """Cancel what is under a key: waiting, it never starts; running, its worker is asked to stop it.

        Cancelling what has ended, or never was, changes nothing.

        Raises:
            InvalidKey: The key cannot be one.
            RedisUnavailable: Redis cannot be reached. Cancelling again is safe.
        """
        with self._telemetry.span("docket.cancel", {"docket.key": check_key(key)}):
            await self.broker.queue.cancel(key, self.broker.clock.now())
        self._telemetry.cancelled()

    async def strike(
        self,
        function: TaskFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | LiteralOperator = "==",
        value: object = None,
    ) -> None:
        """Keep tasks from being added and from being run, on every docket and worker of this name.

        Args:
            function: The task, or its name; every task where it is left out.
            parameter: Only calls with a certain argument for this parameter; all calls where it is left out.
            operator: How the argument is compared with ``value``.
            value: With what; for ``between`` a pair of the lowest and the highest.

        Raises:
            InvalidStrike: Neither task nor parameter is given, or operator and value do not fit.
            NotSerializable: The value cannot be pickled.
            RedisUnavailable: Redis cannot be reached. Striking again is safe.
        """
        await self._instruct(Direction.STRIKE, function, parameter, operator, value)

    async def restore(
        self,
        function: TaskFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | LiteralOperator = "==",
        value: object = None,
    ) -> None:
        """Lift the strike that was given with the same arguments.

        Raises:
            InvalidStrike: See ``strike``, as for the others.
            NotSerializable: The value cannot be pickled.
            RedisUnavailable: Redis cannot be reached. Restoring again is safe.
        """
        await self._instruct(Direction.RESTORE, function, parameter, operator, value)

    async def wait_for_strikes_loaded(self) -> None:
        """Read every strike given so far.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        await self.strikes.catch_up()

    async def get_execution(self, key: str) -> Execution[Any] | None:
        """Return a handle on what is under a key, or ``None`` where nothing is.

        Raises:
            InvalidKey: The key cannot be one.
            RedisUnavailable: Redis cannot be reached.
        """
        record, progress = await self.broker.records.read_with_progress(check_key(key))
        if record is None:
            return None
        execution = Execution[Any](
            broker=self.broker,
            key=key,
            function_name=record.task,
            function=self.function_named(record.task),
            arguments=Pickled(record.task, args=record.args, kwargs=record.kwargs),
            when=record.when,
            generation=record.generation,
            state=record.state,
            worker=record.worker,
            started_at=record.started_at,
            completed_at=record.completed_at,
            error=record.error,
            result_key=record.result_key,
        )
        execution.progress.take(progress)
        return execution

    async def clear(self) -> int:
        """Cancel everything that waits, now or for later. Running tasks and strikes stay.

        Returns:
            How many tasks were cancelled.

        Raises:
            RedisUnavailable: Redis cannot be reached; a part may have been cleared. Clearing again is safe.
        """
        with self._telemetry.span("docket.clear"):
            return await self.broker.backlog.clear(self.broker.clock.now())

    async def snapshot(self) -> DocketSnapshot:
        """Look at what waits, what runs, and who works. Of what is due or runs, the oldest 1000 are listed.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await take_snapshot(self.broker, self, self._patience_with_workers)

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers that live.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await self._workers(None)

    async def task_workers(self, task_name: str) -> list[WorkerInfo]:
        """Return the workers that live and can run a task.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await self._workers(task_name)

    @property
    def _patience_with_workers(self) -> timedelta:
        return self.heartbeat_interval * self.missed_heartbeats

    async def _workers(self, task: str | None) -> list[WorkerInfo]:
        broker = self.broker
        return await broker.presence.workers(now=broker.clock.now(), window=self._patience_with_workers, task=task)

    async def _instruct(
        self,
        direction: Direction,
        function: TaskFunction | str | None,
        parameter: str | None,
        operator: Operator | LiteralOperator,
        value: object,
    ) -> None:
        name = function if isinstance(function, str) or function is None else function.__name__
        instruction = StrikeInstruction(direction, name, parameter, operator, value)
        if parameter is not None and not self._registry.has_parameter(name, parameter):
            self._telemetry.strike_without_effect(parameter)
        with self._telemetry.span_of_strike(instruction):
            await self.strikes.send(instruction)

    def _open_session(self) -> _Session:
        if self._session is None:
            raise NotOpen(f"{self!r} is not open; use it inside `async with docket:`")
        return self._session

    @asynccontextmanager
    async def redis(self) -> AsyncGenerator[Redis]:
        """Give the docket's own Redis client: redis-py's async commands, bytes in and out."""
        yield self.broker.redis
