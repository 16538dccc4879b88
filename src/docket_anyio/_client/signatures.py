"""Signatures of tasks, for people to read."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from typing import Annotated, Any, Final, get_args, get_origin

from docket_anyio._injection.library import Dependency

_FILLED_IN: Final = "..."
_STARS: Final[dict[object, str]] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def get_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function; of one that has a ``__signature__``, that."""
    return inspect.signature(function)


def compact_signature(signature: inspect.Signature) -> str:
    """Return the parameters of a task as one line; ``...`` stands for those that the worker fills in."""
    parameters = signature.parameters.values()
    shown = [_parameter(each) for each in parameters if not isinstance(each.default, Dependency)]
    return ", ".join(shown if len(shown) == len(parameters) else [*shown, _FILLED_IN])


def _parameter(parameter: inspect.Parameter) -> str:
    text = _STARS.get(parameter.kind, "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {reprlib.repr(parameter.default)}"  # short, and never an error
    return text


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
