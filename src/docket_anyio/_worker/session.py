"""One session of a worker: three nested nurseries, each ending before the one around it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from math import inf
from typing import Final

import anyio
from anyio import CancelScope, Event, create_task_group
from anyio.abc import TaskGroup, TaskStatus
from attrs import define, field

from docket_anyio._broker.broker import Broker
from docket_anyio._broker.slots import SAFEGUARD
from docket_anyio._client.docket import Docket
from docket_anyio._client.following import StrikeService
from docket_anyio._client.registry import define_task
from docket_anyio._client.supervisor import Supervisor
from docket_anyio._executors.processes import CLOSING as CLOSING_PROCESSES
from docket_anyio._executors.processes import ProcessPool
from docket_anyio._injection.shared import CLOSING, open_shared_values
from docket_anyio._model.outcome import CancelReason
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._worker.admission import Admissions
from docket_anyio._worker.attempts import Attempts
from docket_anyio._worker.cancellations import CancellationListener
from docket_anyio._worker.consumer import Consumer
from docket_anyio._worker.executors import Executors
from docket_anyio._worker.finished import EmptyDocket
from docket_anyio._worker.gate import Gate
from docket_anyio._worker.heartbeat import Heartbeat
from docket_anyio._worker.leases import LeaseKeeper
from docket_anyio._worker.limits import RunLimits
from docket_anyio._worker.overdue import BodiesInThreads
from docket_anyio._worker.promoter import Promoter
from docket_anyio._worker.results import ResultWriter
from docket_anyio._worker.runner import Runner
from docket_anyio._worker.runs import ActiveRuns
from docket_anyio._worker.seeder import Seeder
from docket_anyio._worker.settings import WorkerSettings
from docket_anyio._worker.slots import SlotKeeper
from docket_anyio.exceptions import DocketError, NotOpen

# After their grace runs are cancelled; this is how long, in seconds, they have to clean up and be settled.
SETTLING: Final = 5.0

# How long, in seconds, a session may take to end after its grace: runs settle, what they shared is closed, then what
# was open for the worker, its processes end, and it departs.
WINDING_UP: Final = 2 * SETTLING + 2 * CLOSING + CLOSING_PROCESSES


@define(eq=False)
class Session:
    """What exists while a worker runs."""

    _docket: Docket
    _settings: WorkerSettings
    _instruments: Instruments
    _broker: Broker = field(init=False)
    _runs: ActiveRuns = field(init=False)
    _supervisor: Supervisor = field(init=False)
    _slots: SlotKeeper = field(init=False)
    _heartbeat: Heartbeat = field(init=False)
    _executors: Executors = field(init=False)
    _ready: Event = field(factory=Event, init=False)
    _stop: Event = field(factory=Event, init=False)
    _ended: Event = field(factory=Event, init=False)
    _shield: CancelScope = field(factory=lambda: CancelScope(shield=True), init=False)
    _grace: CancelScope = field(factory=CancelScope, init=False)
    _ended_by: BaseException | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        settings, docket = self._settings, self._docket
        self._broker = docket.broker
        self._runs = ActiveRuns(settings.concurrency)
        self._supervisor = Supervisor(settings.reconnection_delay, self._instruments, self._check_open)
        self._heartbeat = Heartbeat(self._broker, settings.name, docket, self._instruments)
        self._slots = SlotKeeper(self._broker, settings, self._runs)
        self._executors = Executors(BodiesInThreads(self._instruments), ProcessPool(settings.processes))

    async def run(
        self,
        *,
        until_empty: bool,
        limits: RunLimits,
        lifecycles: AbstractAsyncContextManager[None],
        task_status: TaskStatus[None],
    ) -> None:
        """Serve until stopped, or until the docket is empty.

        Cancelling the caller is a stop too: what runs gets its grace, and the cancellation goes on afterwards.
        """
        try:
            async with create_task_group() as host:
                # Children both, so that a native cancellation of the host task cannot reach into the shield.
                host.start_soon(self._stop_with_host)
                host.start_soon(self._serve, host, until_empty, limits, lifecycles)
                await self._ready.wait()
                task_status.started()
            if not self._ready.is_set():
                task_status.started()  # stopped before that: for who started it this is no failure
        finally:
            self._ended.set()
        if self._ended_by is not None:
            raise self._ended_by

    def stop(self, grace: timedelta) -> None:
        """Claim nothing more, and cancel what still runs after ``grace``. A later call can only shorten it."""
        self._grace.deadline = min(self._grace.deadline, anyio.current_time() + grace.total_seconds())
        self._stop.set()
        if not self._ready.is_set():
            self._shield.cancel("stopped before it was ready")

    def resize(self, concurrency: int) -> None:
        """Run so many tasks at once from now on; what runs goes on."""
        self._runs.resize(concurrency)

    async def wait_ended(self) -> None:
        """Wait until nothing of it runs any more."""
        await self._ended.wait()

    @property
    def closed(self) -> bool:
        """Whether the docket that it was made for is closed."""
        return self._broker.closed

    def _check_open(self) -> None:
        if self.closed:
            raise NotOpen(f"{self._docket!r} was closed while its worker {self._settings.name!r} ran; stop that first")

    async def _stop_with_host(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.stop(self._settings.grace)

    async def _serve(
        self,
        host: TaskGroup,
        until_empty: bool,  # noqa: FBT001 - start_soon has no keywords
        limits: RunLimits,
        lifecycles: AbstractAsyncContextManager[None],
    ) -> None:
        with self._shield:  # a drain is not interrupted, only bounded
            async with create_task_group() as upkeep:  # 3. leases and heartbeats outlive the runs
                await self._start_upkeep(upkeep)
                async with lifecycles, open_shared_values(lambda: self.stop(self._settings.grace)):
                    await self._serve_runs(upkeep, until_empty=until_empty, limits=limits)
                upkeep.cancel_scope.cancel("stopped")
            await self._depart()
        host.cancel_scope.cancel("stopped")

    async def _serve_runs(self, upkeep: TaskGroup, *, until_empty: bool, limits: RunLimits) -> None:
        async with create_task_group() as running:  # 2. runs may use up their grace
            async with create_task_group() as intake:  # 1. stops first
                await self._start_intake(intake, running, limits)
                self._instruments.worker_started(self._docket.registry.parameters())
                if until_empty:
                    intake.start_soon(self._stop_when_empty)
                await self._stop.wait()
                self._instruments.worker_stopping(len(self._runs))
                intake.cancel_scope.cancel("stopping")
            upkeep.start_soon(self._end_grace, running)  # noqa: ASYNC111 - ends just after running

    async def _start_upkeep(self, upkeep: TaskGroup) -> None:
        listener = CancellationListener(self._broker, self._runs, self._slots)
        leases = LeaseKeeper(self._broker, self._settings, self._runs)
        for name, service in (
            ("listening for cancellations", listener.run),
            ("following strikes", StrikeService(self._broker.strikes, self._docket.strikes).run),
            ("renewing leases", leases.run),
            ("renewing slots", self._slots.run),
            ("heartbeats", self._heartbeat.run),
            ("watching threads", self._executors.in_threads.run),
            ("having processes", self._executors.processes.run),
        ):
            await upkeep.start(self._supervisor.keep_running, name, service)
        if self._settings.warm_processes:
            self._executors.processes.warm()

    async def _start_intake(self, intake: TaskGroup, running: TaskGroup, limits: RunLimits) -> None:  # noqa: ASYNC910 - private; waits for the services
        gate = Gate(self._broker)
        admissions = Admissions(self._broker, self._supervisor, self._slots)
        runner = Runner(
            self._docket,
            self._broker,
            self._settings.name,
            self._runs,
            Attempts(self._docket, admissions, self._settings.dependencies, self._instruments, self._executors),
            ResultWriter(self._docket, self._settings.name),
            admissions,
            define_task(SAFEGUARD, self._slots.safeguard_wake),
            define_task("the fallback task", self._settings.fallback_task),
            limits,
            gate,
            self._supervisor,
            self._instruments,
            partial(self._end_program, running),
        )
        consumer = Consumer(self._broker, self._settings, self._runs, runner, running, gate)
        # Nobody but this process can reach memory://, and our own dockets wake the promoter.
        backstop = inf if self._broker.in_process else self._settings.scheduling_resolution.total_seconds()
        promoter = Promoter(self._broker, backstop)

        async def claim(ready: Callable[[], None]) -> None:
            def ready_to_claim() -> None:
                # Before the first claim: from then on a stop is a drain, or what was just claimed would be forgotten.
                self._ready.set()
                ready()

            await consumer.run(ready_to_claim)

        services = [("promoting", promoter.run), ("watching for a pause", gate.run), ("claiming", claim)]
        if self._settings.schedule_automatic_tasks:
            services.insert(0, ("adding automatic tasks", Seeder(self._docket, self._broker).run))
        for name, service in services:
            await intake.start(self._supervisor.keep_running, name, service)

    def _end_program(self, running: TaskGroup, error: BaseException) -> None:
        # Whoever runs the worker is to raise it, in a task of their own.
        self._ended_by = error
        self.stop(timedelta(0))
        running.cancel_scope.cancel("the program ends")

    async def _stop_when_empty(self) -> None:
        watch = EmptyDocket(self._broker, self._runs, self._settings.minimum_check_interval)
        await self._supervisor.keep_running("watching for the end", watch.run)
        self.stop(self._settings.grace)

    async def _end_grace(self, running: TaskGroup) -> None:
        with self._grace:
            await anyio.sleep_forever()
        self._runs.cancel_all(CancelReason.SHUTDOWN)
        # A body in a thread or a process takes what it takes, and then its run has to be settled like any other.
        await self._executors.wait_none()
        await anyio.sleep(SETTLING)
        # What is still not settled keeps its message; it is delivered again when its lease has run out.
        running.cancel_scope.cancel("not settled in time")

    async def _depart(self) -> None:  # noqa: ASYNC910 - private; Redis is asked
        with anyio.move_on_after(SETTLING):  # noqa: ASYNC912 - Redis is asked
            try:
                await self._heartbeat.depart()
            except DocketError as error:
                # Its heartbeats stop all the same, and it is forgotten by that.
                self._instruments.redis_lost("departing", error)
