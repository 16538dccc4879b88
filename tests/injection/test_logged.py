"""Which arguments are shown in log lines, and how."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import pytest

from docket_anyio.dependencies import Annotation, Logged


class Note(Annotation):
    """Another kind of annotation."""


class Unreadable:
    def __len__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "<unreadable>"


@pytest.mark.parametrize(
    ("argument", "whole", "length"),
    [
        ("text", "'text'", "[len 4]"),
        (b"four", "b'four'", "[len 4]"),
        ([1, 2], "[1, 2]", "[len 2]"),
        ((1, 2), "(1, 2)", "(len 2)"),
        ({"a": 1}, "{'a': 1}", "{len 1}"),
        (set(), "set()", "{len 0}"),
        (Unreadable(), "<unreadable>", "[len 7]"),
        (5, "5", "5"),
        (None, "None", "None"),
    ],
)
def test_how(argument: object, whole: str, length: str) -> None:
    assert Logged().format(argument) == whole
    assert Logged(length_only=True).format(argument) == length


async def body(
    plain: int,
    text: Annotated[str, Note, "words"],
    shown: Annotated[str, Logged],
    short: Annotated[list[int], Logged(length_only=True)],
    last_wins: Annotated[str, Logged, Note(), Logged(length_only=True)],
    *more: Annotated[Any, Logged],
) -> None: ...


def test_which() -> None:
    signature = inspect.signature(body, eval_str=True)
    shown = Logged.annotated_parameters(signature)
    short = Logged(length_only=True)
    assert shown == {"shown": Logged(), "short": short, "last_wins": short, "more": Logged()}
    assert list(Note.annotated_parameters(signature)) == ["text", "last_wins"]
