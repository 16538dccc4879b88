"""The docket: what users open to add tasks and to ask about them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

from attrs import frozen

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.keys import Keys
from docket_anyio._client.adding import Adding
from docket_anyio._client.arguments import Pickled
from docket_anyio._client.cancelling import Cancelling
from docket_anyio._client.disposition import Disposition
from docket_anyio._client.execution import Execution
from docket_anyio._client.scheduling import Scheduler
from docket_anyio._client.snapshot import DocketSnapshot, take_snapshot
from docket_anyio._client.strike_list import StrikeList
from docket_anyio._client.strikes import StrikeBook
from docket_anyio._model.keys import check_key
from docket_anyio._model.payloads import DEFAULT_MAX_PAYLOAD_BYTES
from docket_anyio._model.priority import check_priority
from docket_anyio._model.settings import check_at_least, check_aware, check_not_negative
from docket_anyio._redis.client import Redis, connect
from docket_anyio._redis.url import parse_url
from docket_anyio.abc import CredentialProvider, ResultStorage
from docket_anyio.exceptions import InvalidSetting, NotOpen

_HEARTBEAT_INTERVAL: Final = timedelta(seconds=2)
_EXECUTION_TTL: Final = timedelta(minutes=15)


class DocketOptions(TypedDict, total=False):
    """The options of a docket that its users give by keyword."""

    result_storage: ResultStorage | None
    enable_internal_instrumentation: bool
    credential_provider: CredentialProvider | None
    max_payload_bytes: int


@frozen(eq=False)
class _Session:
    """What exists while a docket is open."""

    broker: Broker
    scheduler: Scheduler
    strike_list: StrikeList


class Docket(Adding, Cancelling):
    """A durable set of tasks: added by any number of dockets of the same name and URL, run by any number of workers.

    Open it with ``async with``. That starts nothing and connects to nothing yet, so it may be entered in one task and
    left in another, and again after it was left.

    Args:
        name: All keys in Redis begin with it.
        url: ``redis://``, ``rediss://`` (TLS), ``redis+cluster://``, ``redis+sentinel://``, ``unix://``, or ``memory://``
            for a docket inside this event loop.
        heartbeat_interval: How often workers say that they live.
        missed_heartbeats: After how many missed ones a worker counts as gone.
        execution_ttl: How long records and results are kept after the end; zero keeps none.
        options: All of them may be left out.

            - ``result_storage``: Where results are kept instead of in this Redis; see
              ``docket_anyio.abc.ResultStorage``.
            - ``credential_provider``: Asked for name and password for every new connection, in the place of those in
              the URL; see ``docket_anyio.abc.CredentialProvider``.
            - ``max_payload_bytes``: How large the pickled arguments of a task may be, and its pickled result; 16 MiB.
            - ``enable_internal_instrumentation``: Taken for those who come from pydocket, and of no effect: there are
              no spans of the traffic with Redis that could be kept or left out.

    Raises:
        InvalidURL: The URL names no Redis.
        InvalidSetting: Another argument is out of range, or there are credentials in the URL as well.
    """

    def __init__(
        self,
        name: str = "docket",
        url: str = "redis://localhost:6379/0",
        heartbeat_interval: timedelta = _HEARTBEAT_INTERVAL,
        missed_heartbeats: int = 5,
        execution_ttl: timedelta = _EXECUTION_TTL,
        **options: Unpack[DocketOptions],
    ) -> None:
        if not name:
            raise InvalidSetting("a docket needs a name")
        self.credential_provider: Final = options.get("credential_provider")
        self._address: Final = parse_url(url, self.credential_provider)
        keys = Keys.on(self._address.kind, name)
        super().__init__(name, url, keys, heartbeat_interval, missed_heartbeats)
        self.execution_ttl: Final = check_not_negative("execution_ttl", execution_ttl)
        self.max_payload_bytes: Final = check_at_least(
            "max_payload_bytes", options.get("max_payload_bytes", DEFAULT_MAX_PAYLOAD_BYTES), 1
        )
        self.enable_internal_instrumentation: Final = options.get("enable_internal_instrumentation", False)
        self._own_results: Final = options.get("result_storage")
        self._session: _Session | None = None

    def __repr__(self) -> str:
        return f"Docket(name={self.name!r}, url={self._address.redacted!r})"

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise NotOpen(f"{self!r} is open already; open another one of the same name instead")
        broker = Broker(
            connect(self._address, home=self._keys.prefix),
            self._keys,
            self.execution_ttl,
            in_process=self._address.kind == "memory",
            own_results=self._own_results,
        )
        book = StrikeBook(broker.strikes, self._telemetry)
        scheduler = Scheduler(self, broker, book, self._telemetry)
        self._session = _Session(broker, scheduler, StrikeList.of_docket(self.url, self.name, book))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._session = self._open_session(), None
        session.scheduler.strikes.close()
        await session.broker.aclose()

    @property
    def result_storage(self) -> ResultStorage:
        """Where results are kept: what the docket was given for it, or its own Redis behind the same two methods.

        Raises:
            NotOpen: The docket is not open.
        """
        return self.broker.results

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

    @property
    def strike_list(self) -> StrikeList:
        """The strikes it knows of. A docket hears of new ones when it adds tasks, and while a worker of it runs.

        Raises:
            NotOpen: The docket is not open.
        """
        return self._open_session().strike_list

    async def schedule(
        self,
        execution: Execution[Any],
        *,
        replace: bool = False,
        reschedule_message: bytes | None = None,
        expected_generation: int = 0,
    ) -> Disposition:
        """Add an execution that was made by hand, or once more.

        Args:
            execution: What is added; its ``disposition``, ``state`` and ``generation`` are set.
            replace: In the place of whatever is under its key.
            reschedule_message: The ``message_id`` of a delivery in a worker's hands, which is settled by this.
            expected_generation: Only if the key has not come to a newer one; 0 for any.

        Raises:
            InvalidKey: The key cannot be used.
            InvalidTime: ``when`` or ``expires`` has no time zone.
            InvalidSetting: It would expire before it is due, or its priority is no ``Priority``.
            NotHonoured: It is to expire or has a priority, and a pydocket worker is on the docket.
            NotSerializable: The arguments cannot be pickled.
            NotOpen: The docket is not open.
            RedisUnavailable: Redis cannot be reached.
            RedisRefused: Redis refused it.
        """
        check_key(execution.key)
        check_aware("when", execution.when)
        check_priority(execution.priority)
        scheduler = self._open_session().scheduler
        if reschedule_message:
            await scheduler.reschedule(execution, reschedule_message, expected_generation=expected_generation)
        else:
            await scheduler.schedule(execution, replace=replace, expected_generation=expected_generation)
        return execution.disposition

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
            self,
            self.function_named(record.task),
            (),
            {},
            key,
            record.when,
            function_name=record.task,
            generation=record.generation,
            pickled=Pickled(record.task, args=record.args, kwargs=record.kwargs),
            state=record.state,
            worker=record.worker,
            started_at=record.started_at,
            completed_at=record.completed_at,
            error=record.error,
            result_key=record.result_key,
            expires=record.expires,
            priority=record.priority,
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
        """Look at what waits, what runs, and who works. Of what is due or runs, the first 1000 are listed.

        Raises:
            RedisUnavailable: Redis cannot be reached.
        """
        return await take_snapshot(self, self.patience_with_workers)

    @property
    def _scheduler(self) -> Scheduler:
        return self._open_session().scheduler

    def _open_session(self) -> _Session:
        if self._session is None:
            raise NotOpen(f"{self!r} is not open; use it inside `async with docket:`")
        return self._session

    @asynccontextmanager
    async def redis(self) -> AsyncGenerator[Redis]:
        """Give the docket's own Redis client: redis-py's async commands, bytes in and out."""
        yield self.broker.redis
