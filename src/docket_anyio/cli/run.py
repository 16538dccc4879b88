"""``docket-anyio run``: a worker in a process of its own."""

from __future__ import annotations

import logging
import traceback
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from docket_anyio._client.registry import load
from docket_anyio._worker.session import WINDING_UP
from docket_anyio._worker.settings import WorkerOptions
from docket_anyio._worker.worker import Worker
from docket_anyio.cli.backends import ASYNCIO, BACKENDS, Backend, parse_backend, run_on
from docket_anyio.cli.complaints import complain, complaints
from docket_anyio.cli.durations import parse_duration, parse_positive_duration
from docket_anyio.cli.last_resort import LastResort
from docket_anyio.cli.logs import LEVELS, parse_level, set_up_logging
from docket_anyio.cli.options import flag, option, parse_count
from docket_anyio.exceptions import InvalidTask

_STANDARD_TASKS: Final = "docket_anyio.tasks:standard_tasks"
_DURATIONS: Final = {
    "grace": "20s",
    "redelivery-timeout": "5m",
    "reconnection-delay": "5s",
    "minimum-check-interval": "100ms",
    "scheduling-resolution": "250ms",
}
_GRACE: Final = parse_duration(_DURATIONS["grace"])
_REDELIVERY_TIMEOUT: Final = parse_duration(_DURATIONS["redelivery-timeout"])
_RECONNECTION_DELAY: Final = parse_duration(_DURATIONS["reconnection-delay"])
_MINIMUM_CHECK_INTERVAL: Final = parse_duration(_DURATIONS["minimum-check-interval"])
_SCHEDULING_RESOLUTION: Final = parse_duration(_DURATIONS["scheduling-resolution"])


def _worker_option(name: str, text: str, **more: Any) -> Any:
    return option(f"--{name}", text, variable=f"DOCKET_WORKER_{name.upper().replace('-', '_')}", **more)


def _duration(name: str, text: str, *, zero: bool = False) -> Any:
    parser = parse_duration if zero else parse_positive_duration
    return _worker_option(name, text, metavar="DURATION", default=_DURATIONS[name], parser=parser)


def run(
    docket: Annotated[
        str,
        option("--docket", "The docket whose tasks to run.", metavar="NAME", default="docket", variable="DOCKET_NAME"),
    ] = "docket",
    url: Annotated[
        str,
        option(
            "--url",
            "Its Redis: redis://, rediss:// (TLS), unix:// or memory://.",
            metavar="URL",
            default="redis://localhost:6379/0",
            variable="DOCKET_URL",
        ),
    ] = "redis://localhost:6379/0",
    tasks: Annotated[
        list[str] | None,
        option(
            "--tasks",
            "A collection of task functions, such as a list. Repeatable; the variable takes several, with spaces.",
            metavar="MODULE:NAME",
            default=_STANDARD_TASKS,
            variable="DOCKET_TASKS",
        ),
    ] = None,
    name: Annotated[
        str | None, _worker_option("name", "The worker's name.", metavar="NAME", default="host#pid")
    ] = None,
    concurrency: Annotated[
        int, _worker_option("concurrency", "How many tasks run at once.", metavar="N", default=10, parser=parse_count)
    ] = 10,
    backend: Annotated[
        Backend,
        _worker_option(
            "backend",
            "The event loop that the tasks are written for.",
            metavar="|".join(BACKENDS),
            default=ASYNCIO,
            parser=parse_backend,
        ),
    ] = ASYNCIO,
    until_finished: Annotated[
        bool, flag("--until-finished", "End once nothing waits, now or for later, and nothing runs.")
    ] = False,
    grace: Annotated[
        timedelta,
        _duration("grace", "How long tasks may go on after the first signal, before they are cancelled.", zero=True),
    ] = _GRACE,
    redelivery_timeout: Annotated[
        timedelta, _duration("redelivery-timeout", "After how long the tasks of a worker that died are taken over.")
    ] = _REDELIVERY_TIMEOUT,
    reconnection_delay: Annotated[
        timedelta, _duration("reconnection-delay", "The longest pause between tries to reach Redis again.")
    ] = _RECONNECTION_DELAY,
    minimum_check_interval: Annotated[
        timedelta, _duration("minimum-check-interval", "How often --until-finished looks at what other workers do.")
    ] = _MINIMUM_CHECK_INTERVAL,
    scheduling_resolution: Annotated[
        timedelta, _duration("scheduling-resolution", "How late at most a task that pydocket has scheduled is seen.")
    ] = _SCHEDULING_RESOLUTION,
    message_batch: Annotated[
        int,
        _worker_option(
            "message-batch", "How many tasks to claim at once at most.", metavar="N", default=1000, parser=parse_count
        ),
    ] = 1000,
    logging_level: Annotated[
        int,
        option(
            "--logging-level",
            "What to log on stderr.",
            metavar="|".join(LEVELS),
            default="INFO",
            variable="DOCKET_LOGGING_LEVEL",
            parser=parse_level,
        ),
    ] = logging.INFO,
) -> None:
    """Run a worker until it is told to stop.

    The first SIGTERM or SIGINT (Ctrl-C) drains it: it takes nothing new, and what runs may go on for the grace. The
    second cancels what is left, which goes back into the queue. Either way the exit code is 0. It is 2 if an option is
    wrong, and 1 if Redis cannot be used, or if a thread has to be left running at the end.

    A DURATION is a number of seconds, or one with a unit (250ms, 0.5s, 5m, 2h), or mm:ss, or hh:mm:ss.

    Example: docket-anyio run --docket emails --tasks emails:tasks --backend trio
    """
    set_up_logging(logging_level)
    if url.startswith("memory:"):
        complain("note: a docket on memory:// is seen by this process alone, so nobody else can add tasks to it")
    options: WorkerOptions = {
        "concurrency": concurrency,
        "redelivery_timeout": redelivery_timeout,
        "reconnection_delay": reconnection_delay,
        "minimum_check_interval": minimum_check_interval,
        "scheduling_resolution": scheduling_resolution,
        "message_batch": message_batch,
        "grace": grace,
    }
    paths = tasks or [_STANDARD_TASKS]
    with complaints(), LastResort(grace + timedelta(seconds=WINDING_UP)) as last_resort:
        _import(paths)
        main = partial(Worker.run, docket, url, name, until_finished=until_finished, tasks=paths, **options)
        run_on(backend, partial(main, instruments=[last_resort]))


def _import(paths: list[str]) -> None:
    """Import the modules before an event loop runs, so that what is wrong in them is told as such."""
    for path in paths:
        try:
            load(path)
        except InvalidTask:
            raise
        except Exception as error:
            raise InvalidTask(f"{path!r} cannot be loaded: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: Exception) -> str:
    # A SyntaxError names its place by itself.
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return ""
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
