"""The worker that users open: it claims the tasks of a docket and runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import Final, Self, Unpack

from anyio import TASK_STATUS_IGNORED, create_task_group, move_on_after
from anyio.abc import TaskStatus
from attrs import evolve

from docket_anyio._client.current import current_docket, is_current
from docket_anyio._client.docket import Docket
from docket_anyio._injection.plan import Placed
from docket_anyio._model.keys import check_key
from docket_anyio._model.settings import check_at_least, check_not_negative
from docket_anyio._telemetry.instruments import Instruments
from docket_anyio._telemetry.standard import standard_instruments
from docket_anyio._worker.groups import unwrapped
from docket_anyio._worker.lifecycles import open_lifecycles
from docket_anyio._worker.limits import RunLimits
from docket_anyio._worker.session import WINDING_UP, Session
from docket_anyio._worker.settings import WorkerOptions, WorkerSettings, default_name
from docket_anyio._worker.signals import stop_on_signals
from docket_anyio.abc import Instrument
from docket_anyio.exceptions import NotOpen

current_worker: Final[ContextVar[Worker]] = ContextVar("current_worker")


class Worker:
    """Claims the tasks of a docket and runs them.

    Open it with ``async with``, then await one of the ``run_`` methods, or start it in a task group of yours:
    ``await tg.start(worker.run_forever)`` returns once it can claim. It holds no task group of its own, so it may be
    entered in one task and left in another; leaving it stops it.

    Args:
        docket: An open docket.
        name: What it is called in Redis, unique among the workers of a docket; host and process by default.
        instruments: Told what happens; log lines are written, and metrics and traces kept, in any case.
        options: All of them may be left out.

            - ``concurrency``: How many tasks run at once; 10.
            - ``redelivery_timeout``: How long a task of a worker that died waits until another takes it; 5 minutes.
            - ``reconnection_delay``: The longest pause between tries to reach Redis; 5 seconds.
            - ``minimum_check_interval``: How often to look whether other workers have finished; 250 ms.
            - ``scheduling_resolution``: How late at most a future task that pydocket added is seen; 250 ms.
            - ``message_batch``: How many tasks one claim takes at most; 1000.
            - ``grace``: How long running tasks may go on when the worker is stopped; 20 seconds.
            - ``schedule_automatic_tasks``: Whether to add tasks with an automatic ``Perpetual`` or ``Cron``; yes.
            - ``dependencies``: Opened around every task, before its own, in order: ``Depends(...)``, ``Retry(...)``,
              a ``Middleware`` and the like, by name or as a list, or its ``module:name``. Their values are not passed
              to the tasks.
            - ``fallback_task``: Called in the place of tasks that are not registered, or its ``module:name``; does
              nothing by default.
            - ``processes``: How many processes there are at most for tasks that ask for a ``WorkerProcess``; as many
              as there are cores.
            - ``warm_processes``: Whether to start them with the worker, and not when they are needed; no.
            - ``enable_internal_instrumentation``: Taken and of no effect, as for ``Docket``.

    Raises:
        InvalidSetting: An option is out of range.
        InvalidDependency: One of the dependencies is none.
        InvalidTask: The fallback task cannot be loaded.
    """

    def __init__(
        self,
        docket: Docket,
        name: str | None = None,
        *,
        instruments: Sequence[Instrument] = (),
        **options: Unpack[WorkerOptions],
    ) -> None:
        self.docket: Final = docket
        self._settings = WorkerSettings(default_name() if name is None else name, **options)
        self.redelivery_timeout: Final = self._settings.redelivery_timeout
        self.reconnection_delay: Final = self._settings.reconnection_delay
        self.minimum_check_interval: Final = self._settings.minimum_check_interval
        self.scheduling_resolution: Final = self._settings.scheduling_resolution
        self.message_batch: Final = self._settings.message_batch
        self.schedule_automatic_tasks: Final = self._settings.schedule_automatic_tasks
        self.fallback_task: Final = self._settings.fallback_task
        self.enable_internal_instrumentation: Final = self._settings.enable_internal_instrumentation
        keys = {"docket.queue_key": docket.queue_key, "docket.stream_key": docket.stream_key}
        standard = standard_instruments(docket.labels(), keys)
        self._instruments: Final = Instruments(self._settings.name, [*standard, *instruments])
        self._session: Session | None = None
        self._running = False

    def __repr__(self) -> str:
        return f"Worker({self.docket!r}, name={self.name!r})"

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise NotOpen(f"{self!r} is open already")
        self._session = self._new_session()
        return self

    async def __aexit__(  # noqa: ASYNC910 - a checkpoint only where there is something to wait for
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        session, self._session = self._open_session(), None
        if self._running:
            # It is bounded itself; only what shields itself takes longer.
            with move_on_after(self._settings.grace.total_seconds() + WINDING_UP, shield=True):
                await session.wait_ended()

    @property
    def name(self) -> str:
        """What the worker is called in Redis."""
        return self._settings.name

    @property
    def dependencies(self) -> Sequence[Placed]:
        """What it opens around every task, and where each was given."""
        return self._settings.dependencies

    @property
    def concurrency(self) -> int:
        """How many tasks run at once. Another number holds at once; where it is lowered, what runs goes on.

        Raises:
            InvalidSetting: It was set below 1.
        """
        return self._settings.concurrency

    @concurrency.setter
    def concurrency(self, number: int) -> None:
        self._settings = evolve(self._settings, concurrency=number)
        if self._session is not None:
            self._session.resize(number)

    @property
    def workers_set(self) -> str:
        """The sorted set of workers, by last heartbeat."""
        return self.docket.workers_set

    def worker_tasks_set(self, worker_name: str) -> str:
        """Return the set of the tasks that a worker can run."""
        return self.docket.worker_tasks_set(worker_name)

    def task_workers_set(self, task_name: str) -> str:
        """Return the sorted set of the workers that can run a task, by last heartbeat."""
        return self.docket.task_workers_set(task_name)

    def labels(self) -> Mapping[str, str]:
        """Return what metrics and log lines are labelled with."""
        return {**self.docket.labels(), "docket.worker": self.name}

    async def run_forever(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC128 - passed on
        """Run tasks until stopped.

        Cancelling it stops it: what runs has its grace to end, then is cancelled and goes back into the queue, and the
        cancellation goes on. A plain function in a thread cannot be made to end: it is waited for however long it
        takes, and its lease is renewed until then.

        Args:
            task_status: Told once the worker can claim.

        Raises:
            RedisUnavailable: Redis cannot be reached at the start. Later outages are waited for.
            RedisRefused: Redis refused, for want of a right or the like.
            NotOpen: The worker is not open, or runs already; or its docket was closed under it, and what ran is
                delivered again after its lease.
        """
        await self._run(until_empty=False, limits=RunLimits({}), task_status=task_status)

    async def run_until_finished(self) -> None:
        """Run tasks until nothing waits, now or in the future, and nothing runs on any worker.

        Where the docket is paused it waits until that is over.

        Raises:
            RedisUnavailable: Redis cannot be reached at the start. Later outages are waited for.
            RedisRefused: Redis refused, for want of a right or the like.
            NotOpen: The worker is not open, or runs already; or its docket was closed under it, and what ran is
                delivered again after its lease.
        """
        await self._run(until_empty=True, limits=RunLimits({}), task_status=TASK_STATUS_IGNORED)

    async def run_at_most(self, iterations_by_key: Mapping[str, int]) -> None:
        """Run tasks until the docket is empty, but those of some keys only so often; for tests of perpetual tasks.

        After the last of its runs nothing follows under a key: what repeats has ended, a retry that is due is
        cancelled, and so is what is added under the key later and comes to this worker. Other workers are not told.

        Args:
            iterations_by_key: How often each key may run here, retries included. Others run as often as they are due.

        Raises:
            InvalidSetting: A number is negative.
            InvalidKey: A key cannot be one.
            RedisUnavailable: Redis cannot be reached at the start. Later outages are waited for.
            RedisRefused: Redis refused, for want of a right or the like.
            NotOpen: The worker is not open, or runs already; or its docket was closed under it, and what ran is
                delivered again after its lease.
        """
        at_most = {check_key(key): check_at_least(f"the runs of {key!r}", n, 0) for key, n in iterations_by_key.items()}
        await self._run(until_empty=True, limits=RunLimits(at_most), task_status=TASK_STATUS_IGNORED)

    def stop(self, grace: timedelta | None = None) -> None:
        """Claim nothing more, let what runs end, and return from ``run_``. Where nothing runs yet: from the next one.

        Args:
            grace: How long what runs may go on; as the worker was told at first where it is left out. Called again,
                it can only shorten the grace; zero cancels at once.

        Raises:
            InvalidSetting: The grace is negative.
            NotOpen: The worker is not open.
        """
        self._open_session().stop(check_not_negative("grace", self._settings.grace if grace is None else grace))

    @classmethod
    async def run(
        cls,
        docket_name: str = "docket",
        url: str = "redis://localhost:6379/0",
        name: str | None = None,
        *,
        until_finished: bool = False,
        tasks: Sequence[str] = ("docket_anyio.tasks:standard_tasks",),
        instruments: Sequence[Instrument] = (),
        **options: Unpack[WorkerOptions],
    ) -> None:
        """Open a docket and a worker, and run it in a process of its own.

        The first SIGTERM or SIGINT drains it, the second cancels what runs.

        Args:
            docket_name: The docket's name.
            url: Its URL.
            name: See ``Worker``.
            until_finished: Return once the docket is empty.
            tasks: Collections of tasks to register, each ``module:name``.
            instruments: See ``Worker``.
            options: See ``Worker``.

        Raises:
            InvalidURL: The URL names no Redis.
            InvalidSetting: An option is out of range.
            InvalidTask: A collection cannot be loaded.
            RedisUnavailable: Redis cannot be reached at the start.
            RedisRefused: Redis refused, for want of a right or the like.
        """
        docket = Docket(docket_name, url)
        for path in tasks:
            docket.register_collection(path)
        worker = cls(docket, name, instruments=instruments, **options)
        with unwrapped():
            async with docket, worker, create_task_group() as signals:
                await signals.start(stop_on_signals, worker.stop)
                await (worker.run_until_finished() if until_finished else worker.run_forever())
                signals.cancel_scope.cancel("the worker has ended")

    def _new_session(self) -> Session:
        return Session(self.docket, self._settings, self._instruments)

    def _open_session(self) -> Session:
        if self._session is None:
            raise NotOpen(f"{self!r} is not open; use it inside `async with worker:`")
        return self._session

    async def _run(self, *, until_empty: bool, limits: RunLimits, task_status: TaskStatus[None]) -> None:  # noqa: ASYNC128 - passed on
        session = self._open_session()
        if self._running:
            raise NotOpen(f"{self!r} runs already; open another one to run more")
        self._running = True
        try:
            with unwrapped(), is_current(current_worker, self), is_current(current_docket, self.docket):
                await session.run(
                    until_empty=until_empty,
                    limits=limits,
                    lifecycles=open_lifecycles(self.docket, self, self.dependencies),
                    task_status=task_status,
                )
        finally:
            self._running = False
            # Where the docket was closed under it, there is nothing to begin anew with.
            if self._session is not None and not session.closed:
                self._session = self._new_session()
