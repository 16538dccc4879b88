"""What a task takes, in a line of a log."""

from __future__ import annotations

import inspect
import reprlib
from typing import Final

from docket_anyio._injection.plan import Plan

_STARS: Final[dict[object, str]] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def describe(plan: Plan) -> str:
    """Return the parameters that a caller gives; three dots stand for those that the worker fills in."""
    given = [each for name, each in plan.signature.parameters.items() if name not in plan.markers]
    return ", ".join([*(_described(each) for each in given), *(["..."] if plan.markers else [])])


def _described(parameter: inspect.Parameter) -> str:
    text = _STARS.get(parameter.kind, "") + parameter.name
    annotation: object = parameter.annotation
    if annotation is not parameter.empty:
        text += f": {annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {reprlib.repr(parameter.default)}"  # short, and never an error
    return text
