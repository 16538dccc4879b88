"""The command ``docket-anyio``: its subcommands, and how it ends."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version as version_of
from typing import Annotated, Final, cast

import typer

from docket_anyio.cli.complaints import FAILED, OK, USAGE, complain
from docket_anyio.cli.demo.command import demo
from docket_anyio.cli.run import run

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

# The class of every mistake in how a command was called. Some versions of typer have click inside, others beside them.
_Misuse: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

app: Final = typer.Typer(
    name="docket-anyio",
    help="Durable background tasks on Redis, for trio and asyncio.",
    epilog="New here? `docket-anyio demo` needs no Redis and takes a few seconds.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes within boxes, and two columns for the text
)
app.command()(run)
app.command()(demo)


@app.command()
def version() -> None:
    """Print the version, and what it runs on."""
    print("docket-anyio", version_of("docket-anyio"))
    print("Python", platform.python_version())
    print("AnyIO", version_of("anyio"))
    print("redis-py", version_of("redis"))


def _print_version(wanted: bool) -> None:
    if wanted:
        print("docket-anyio", version_of("docket-anyio"))
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def main() -> None:
    """Run the command that the process was given, and exit."""
    try:
        status: object = app(prog_name="docket-anyio", standalone_mode=False)
    except _Misuse as misuse:
        complain(_in_words(misuse))
        status = USAGE
    except BaseExceptionGroup as group:
        status = _status_of(group)
    sys.exit(status if isinstance(status, int) else OK)


def _status_of(group: BaseExceptionGroup[BaseException]) -> int:
    """Return what typer makes of an exception that is not in a group of the nurseries that it went through."""
    if group.split(KeyboardInterrupt)[1] is None:
        return _INTERRUPTED
    if group.split(BrokenPipeError)[1] is not None:
        raise group
    # Nobody reads on, as with `docket-anyio demo | head`. What is left in the buffer would fail again at the exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _in_words(misuse: typer.BadParameter) -> str:
    message = misuse.format_message().rstrip(".")
    variable = getattr(getattr(misuse, "param", None), "envvar", None)
    if isinstance(variable, str) and variable in os.environ:
        message += f", from ${variable}"
    command = "docket-anyio" if misuse.ctx is None else misuse.ctx.command_path
    return f"{message} (see {command} --help)"
