"""How the options of commands are declared and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer


def option(
    name: str,
    text: str,
    *,
    metavar: str,
    default: object = None,
    variable: str | None = None,
    parser: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare an option that takes a value.

    Args:
        name: What is typed, as ``--name``.
        text: What it does.
        metavar: What stands for its value in the help.
        default: What the help shows as its default.
        variable: The environment variable that it can be given by.
        parser: Reads what was typed, and raises ``BadParameter``. It is given the default, too.
    """
    notes = [] if default is None else [f"default {default}"]
    if variable is not None:
        notes.append(f"${variable}")
    return typer.Option(
        name,
        help=f"{text} [{', '.join(notes)}]",
        metavar=metavar,
        envvar=variable,
        parser=parser,
        show_default=False,
        show_envvar=False,
    )


def flag(name: str, text: str) -> Any:
    """Declare an option that is given or not."""
    return typer.Option(name, help=text, show_default=False)


def parse_count(text: str | int) -> int:
    """Read a number of things.

    Raises:
        BadParameter: It is not one, or none at all.
    """
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise typer.BadParameter(f"{text!r} is not a whole number above zero")
    return count
