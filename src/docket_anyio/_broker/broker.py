"""The broker of one docket: everything that is remembered of it, over one Redis."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import anyio
from attrs import define, field

from docket_anyio._broker.backlog import Backlog
from docket_anyio._broker.errors import redis_errors
from docket_anyio._broker.events import Events
from docket_anyio._broker.gates import Gates
from docket_anyio._broker.intake import Intake, open_intake
from docket_anyio._broker.keys import Keys
from docket_anyio._broker.locks import Locks
from docket_anyio._broker.pauses import Pauses
from docket_anyio._broker.presence import Presence
from docket_anyio._broker.progress import ProgressReports
from docket_anyio._broker.queue import Queue
from docket_anyio._broker.records import Records
from docket_anyio._broker.results import RedisResults
from docket_anyio._broker.slots import Slots
from docket_anyio._broker.strikes import StrikeStream
from docket_anyio._clock import ServerClock
from docket_anyio._redis.client import Redis
from docket_anyio.abc import ResultStorage


@define(eq=False)
class Broker:
    """The parts of a docket that live in Redis, and the clock that they go by."""

    redis: Redis
    keys: Keys
    execution_ttl: timedelta
    in_process: bool
    """Nobody but this process can reach it."""
    own_results: ResultStorage | None = None
    """Where results are kept instead of in Redis, if the user has a place for them."""
    queue: Queue = field(init=False)
    backlog: Backlog = field(init=False)
    records: Records = field(init=False)
    progress: ProgressReports = field(init=False)
    presence: Presence = field(init=False)
    events: Events = field(init=False)
    strikes: StrikeStream = field(init=False)
    locks: Locks = field(init=False)
    results: ResultStorage = field(init=False)
    closed: bool = field(default=False, init=False)
    gates: Gates = field(init=False)
    pauses: Pauses = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.queue = Queue(self.redis, self.keys, self.execution_ttl)
        self.backlog = Backlog(self.redis, self.keys, self.execution_ttl)
        self.records = Records(self.redis, self.keys)
        self.progress = ProgressReports(self.redis, self.keys)
        self.presence = Presence(self.redis, self.keys)
        self.events = Events(self.redis, self.keys)
        self.strikes = StrikeStream(self.redis, self.keys)
        self.locks = Locks(self.redis, self.keys)
        in_redis = RedisResults(self.redis, self.keys)
        self.results = in_redis if self.own_results is None else self.own_results
        self.gates = Gates(self.redis, self.keys)
        self.pauses = Pauses(self.redis, self.keys)

    @property
    def clock(self) -> ServerClock:
        """The time as Redis has it."""
        return self.redis.clock

    def open_intake(self, worker: str) -> AbstractAsyncContextManager[Intake]:
        """Open a worker's way to deliveries."""
        return open_intake(self.redis, self.keys, worker)

    def slots(self, redelivery_timeout: timedelta) -> Slots:
        """Return the slots of concurrency limits, for a worker with that timeout."""
        return Slots(self.redis, self.keys, redelivery_timeout)

    async def measure_clock(self) -> None:
        """Ask Redis for its time, so that a clock that drifts, or was set, does not stay wrong."""
        asked_at = anyio.current_time()
        with redis_errors():
            reply = await self.redis.transport.execute(("TIME",), repeatable=True)
        match reply:
            case [bytes(seconds), bytes(microseconds)]:
                server_time = int(seconds) + int(microseconds) / 1_000_000
                self.clock.measured(server_time, asked_at=asked_at, answered_at=anyio.current_time())
            case _:
                raise TypeError(f"TIME answered {reply!r}")

    async def aclose(self) -> None:
        """Close the connections."""
        self.closed = True
        await self.redis.aclose()
