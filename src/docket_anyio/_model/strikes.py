"""Strikes: tasks, or calls with certain arguments, that are not to run for now."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, TypeAlias, cast

from attrs import define, field, frozen

from docket_anyio.exceptions import InvalidStrike


class Operator(StrEnum):
    """How an argument is compared with the value of a strike."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER_THAN = ">"
    GREATER_THAN_OR_EQUAL = ">="
    LESS_THAN = "<"
    LESS_THAN_OR_EQUAL = "<="
    BETWEEN = "between"


LiteralOperator: TypeAlias = Literal["==", "!=", ">", ">=", "<", "<=", "between"]


def _between(argument: Any, bounds: Any) -> bool:
    lowest, highest = bounds
    return bool(lowest <= argument <= highest)


_COMPARE: Final[Mapping[Operator, Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        Operator.EQUAL: operator.eq,
        Operator.NOT_EQUAL: operator.ne,
        Operator.GREATER_THAN: operator.gt,
        Operator.GREATER_THAN_OR_EQUAL: operator.ge,
        Operator.LESS_THAN: operator.lt,
        Operator.LESS_THAN_OR_EQUAL: operator.le,
        Operator.BETWEEN: _between,
    }
)


@frozen
class Condition:
    """An operator and a value that an argument is compared with."""

    operator: Operator
    value: object

    def matches(self, argument: object) -> bool:
        """Tell whether an argument is struck; one that cannot be compared is not."""
        try:
            return bool(_COMPARE[self.operator](argument, self.value))
        except (TypeError, ValueError):
            return False


def _operator(given: Operator | str) -> Operator:
    try:
        return Operator(given)
    except ValueError as error:
        known = ", ".join(each.value for each in Operator)
        raise InvalidStrike(f"{given!r} is no operator of strikes; there are {known}") from error


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(cast("tuple[object, ...]", value)) == 2


class Direction(StrEnum):
    """Whether an instruction puts a strike in force or lifts it."""

    STRIKE = "strike"
    RESTORE = "restore"


@frozen
class StrikeInstruction:
    """A ``Strike`` or a ``Restore``: of a task, of a parameter of every task, or of a parameter of one task.

    Args:
        function: The name of the task; ``None`` for all tasks.
        parameter: The parameter; ``None`` for the whole task.
        operator: How its argument is compared.
        value: With what. ``between`` takes a pair of the lowest and the highest.

    Raises:
        InvalidStrike: Neither function nor parameter is given, or the operator or the value cannot be used.
    """

    direction: ClassVar[Direction]

    function: str | None = None
    parameter: str | None = None
    operator: Operator = field(default=Operator.EQUAL, converter=_operator)
    value: object = None

    def __attrs_post_init__(self) -> None:
        if self.function is None and self.parameter is None:
            raise InvalidStrike("a strike needs a task, a parameter, or both")
        try:
            hash(self.value)
        except TypeError as error:
            # pydocket's workers would pass over it, and the fleet would not agree on what is struck.
            raise InvalidStrike(f"the value {self.value!r} of a strike cannot be hashed") from error
        if self.operator is Operator.BETWEEN and not _is_pair(self.value):
            raise InvalidStrike(f"between takes a pair of the lowest and the highest, not {self.value!r}")

    @property
    def condition(self) -> Condition:
        """What an argument is compared with."""
        return Condition(self.operator, self.value)


@frozen
class Strike(StrikeInstruction):
    """Says that calls are struck from now on; see ``StrikeInstruction``."""

    direction: ClassVar[Direction] = Direction.STRIKE


@frozen
class Restore(StrikeInstruction):
    """Says that calls are no longer struck, where a ``Strike`` of the same kind was in force."""

    direction: ClassVar[Direction] = Direction.RESTORE


INSTRUCTIONS: Final[Mapping[Direction, type[StrikeInstruction]]] = MappingProxyType(
    {each.direction: each for each in (Strike, Restore)}
)


@define(eq=False)
class StrikeSet:
    """The strikes in force."""

    tasks: set[str] = field(factory=set[str], init=False)
    """Those that are struck whole."""
    by_task: dict[str, dict[str, set[Condition]]] = field(factory=dict[str, dict[str, set[Condition]]], init=False)
    """Conditions by task and parameter."""
    by_parameter: dict[str, set[Condition]] = field(factory=dict[str, set[Condition]], init=False)
    """Conditions by parameter, whatever the task."""

    def apply(self, instruction: StrikeInstruction) -> None:
        """Put a strike in force, or lift the one that is equal. Doing so again changes nothing."""
        striking = instruction.direction is Direction.STRIKE
        match instruction.function, instruction.parameter:
            case str(function), None:
                (self.tasks.add if striking else self.tasks.discard)(function)
            case str(function), str(parameter):
                conditions = self.by_task.setdefault(function, {})
                _change(conditions, parameter, instruction.condition, striking=striking)
                if not conditions:
                    del self.by_task[function]
            case None, str(parameter):
                _change(self.by_parameter, parameter, instruction.condition, striking=striking)
            case _:
                raise InvalidStrike("a strike needs a task, a parameter, or both")

    def matches(self, task: str, arguments: Mapping[str, object]) -> bool:
        """Tell whether a call is struck.

        Args:
            task: The name of the task.
            arguments: Its arguments by parameter, defaults included.
        """
        if task in self.tasks:
            return True
        of_task = self.by_task.get(task, {})
        return self.matches_parameters(arguments) or any(
            _any_matches(of_task.get(name, ()), argument) for name, argument in arguments.items()
        )

    def matches_parameters(self, arguments: Mapping[str, object]) -> bool:
        """Tell whether a strike that holds for every task matches one of the arguments."""
        return any(_any_matches(self.by_parameter.get(name, ()), argument) for name, argument in arguments.items())

    def __bool__(self) -> bool:
        return bool(self.tasks or self.by_task or self.by_parameter)


def _change(conditions: dict[str, set[Condition]], parameter: str, condition: Condition, *, striking: bool) -> None:
    if striking:
        conditions.setdefault(parameter, set()).add(condition)
    elif parameter in conditions:
        conditions[parameter].discard(condition)
        if not conditions[parameter]:
            del conditions[parameter]


def _any_matches(conditions: Iterable[Condition], argument: object) -> bool:
    return any(each.matches(argument) for each in conditions)
