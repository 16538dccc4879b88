"""``docket-anyio demo``: plays the demo on a terminal, or as lines."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Final

import anyio
import typer
from anyio import create_task_group
from rich.console import Console
from rich.live import Live

from docket_anyio.cli.backends import ASYNCIO, BACKENDS, TRIO, Backend, parse_backend, run_on
from docket_anyio.cli.complaints import FAILED, complain, complaints
from docket_anyio.cli.demo.journal import Journal
from docket_anyio.cli.demo.screen import dashboard, shows_results
from docket_anyio.cli.demo.show import CONCURRENCY, play
from docket_anyio.cli.demo.verdict import Report, report
from docket_anyio.cli.options import flag, option

_FRAME: Final = 1 / 15


def demo(
    backend: Annotated[
        Backend | None,
        option(
            "--backend",
            "The event loop to run on.",
            metavar="|".join(BACKENDS),
            default="trio where it is installed, else asyncio",
            parser=parse_backend,
        ),
    ] = None,
    plain: Annotated[bool, flag("--plain", "Print a line for each event, as where the output is no terminal.")] = False,
) -> None:
    """Watch tasks run, in a few seconds and without a Redis.

    A producer and a worker in one process, on memory://: tasks that run at once, wait for a slot, are due later, fail
    and are retried, time out, are cancelled. The exit code is 1 if one of them does not end as it should.

    Example: docket-anyio demo --backend trio
    """
    # Tasks that fail are part of the show; the log would tell of them in the middle of it.
    logging.getLogger("docket_anyio").setLevel(logging.CRITICAL)
    if backend is None:
        backend = TRIO if TRIO.installed else ASYNCIO
    console = Console(highlight=False)
    lively = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
    print(f"A producer, a docket on memory:// and a worker with {CONCURRENCY} slots, on {backend}.")
    with complaints():
        outcome = run_on(backend, _in_lines if plain or not lively else partial(_live, console))
    print(outcome.totals)
    if outcome.problems:
        for problem in outcome.problems:
            complain(problem)
        raise typer.Exit(FAILED)
    print("Each task ended as it should.")


async def _in_lines() -> Report:
    journal = Journal(_print_line)
    print()
    await play(journal)
    outcome = report(journal, CONCURRENCY)
    print("", *outcome.lines, "", sep="\n")
    return outcome


async def _live(console: Console) -> Report:
    journal = Journal(_pass_over)
    with Live(console=console, auto_refresh=False) as live:
        async with create_task_group() as painting:
            painting.start_soon(_paint, live, journal)
            await play(journal)
            painting.cancel_scope.cancel("the show is over")
        live.update(dashboard(journal, CONCURRENCY, console.width), refresh=True)
    outcome = report(journal, CONCURRENCY)
    if not shows_results(console.width):
        print(*outcome.lines, "", sep="\n")
    return outcome


def _print_line(time: float, key: str, words: str) -> None:
    print(f"{time:6.2f} s  {key:<10} {words}", flush=True)


def _pass_over(time: float, key: str, words: str) -> None:
    pass


async def _paint(live: Live, journal: Journal) -> None:
    while True:
        live.update(dashboard(journal, CONCURRENCY, live.console.width), refresh=True)
        await anyio.sleep(_FRAME)
