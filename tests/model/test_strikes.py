"""Which calls are struck."""

from __future__ import annotations

from typing import Any

import pytest

from docket_anyio._model.strikes import INSTRUCTIONS, Direction, Restore, Strike, StrikeSet
from docket_anyio.exceptions import InvalidStrike


def strikes(*instructions: tuple[Any, ...]) -> StrikeSet:
    found = StrikeSet()
    for direction, *rest in instructions:
        found.apply(INSTRUCTIONS[Direction(direction)](*rest))
    return found


@pytest.mark.parametrize(
    ("operator", "value", "struck", "spared"),
    [
        ("==", 5, 5, 6),
        ("!=", 5, 6, 5),
        (">", 5, 6, 5),
        (">=", 5, 5, 4),
        ("<", 5, 4, 5),
        ("<=", 5, 5, 6),
        ("between", (3, 5), 5, 6),
    ],
)
def test_operators(operator: str, value: object, struck: object, spared: object) -> None:
    found = strikes(("strike", None, "x", operator, value))
    assert found.matches("any", {"x": struck})
    assert not found.matches("any", {"x": spared})


def test_what_cannot_be_compared_is_not_struck() -> None:
    found = strikes(("strike", None, "x", ">", 5), ("strike", None, "x", "between", (1, 2)))
    assert not found.matches("any", {"x": "text"})
    assert not found.matches("any", {"x": None})


def test_a_whole_task() -> None:
    found = strikes(("strike", "send"))
    assert found.matches("send", {})
    assert not found.matches("other", {})


def test_a_parameter_of_one_task() -> None:
    found = strikes(("strike", "send", "to", "==", "ann"))
    assert found.matches("send", {"to": "ann"})
    assert not found.matches("send", {"to": "bob"})
    assert not found.matches("other", {"to": "ann"})
    assert not found.matches_parameters({"to": "ann"})


def test_a_restore_lifts_what_is_equal_and_nothing_else() -> None:
    found = strikes(("strike", None, "x", "==", 1), ("strike", None, "x", "==", 2), ("restore", None, "x", "==", 1))
    assert not found.matches("any", {"x": 1})
    assert found.matches("any", {"x": 2})
    found.apply(Restore(None, "x", "==", 2))
    assert not found


def test_combinations_are_kept_apart() -> None:
    """pydocket forgets that a task is struck whole once one of its parameters is struck, too."""
    found = strikes(("strike", "send"), ("strike", "send", "to", "==", "ann"))
    assert found.matches("send", {"to": "bob"})
    found.apply(Restore("send"))
    assert found.matches("send", {"to": "ann"})
    assert not found.matches("send", {"to": "bob"})
    found.apply(Strike("send"))
    found.apply(Restore("send", "to", "==", "ann"))
    assert found.matches("send", {"to": "bob"})


def test_doing_it_again_changes_nothing() -> None:
    found = strikes(("strike", "send"), ("strike", "send"), ("restore", "send"))
    assert not found
    found.apply(Restore("send", "to", "==", "ann"))
    assert not found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None, None), "needs a task, a parameter, or both"),
        (("send", "to", "~="), "'~=' is no operator of strikes; there are ==, !="),
        (("send", "to", "==", []), "cannot be hashed"),
        (("send", "to", "between", 3), "a pair of the lowest and the highest"),
        (("send", "to", "between", (1, 2, 3)), "a pair of the lowest and the highest"),
    ],
)
def test_mistakes(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidStrike, match=words):
        Strike(*arguments)
