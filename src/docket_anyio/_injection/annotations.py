"""What ``Annotated[...]`` says about a parameter besides its type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any, Self

from attrs import frozen

from docket_anyio._injection.library import Dependency
from docket_anyio.exceptions import InvalidTask


class Annotation:
    """Metadata in the annotation of a parameter: ``Annotated[int, Logged]`` or ``Annotated[int, Logged()]``."""

    @classmethod
    def annotated_parameters(cls, signature: inspect.Signature) -> Mapping[str, Self]:
        """Return the last annotation of this kind on each parameter that has one.

        Args:
            signature: With annotations that are no text: ``inspect.signature(function, eval_str=True)``.
        """
        found: dict[str, Self] = {}
        for name, parameter in signature.parameters.items():
            for each in getattr(parameter.annotation, "__metadata__", ()):
                if isinstance(each, cls):
                    found[name] = each
                elif isinstance(each, type) and issubclass(each, cls):
                    found[name] = each()
        return found


@frozen
class Logged(Annotation):
    """Show an argument in log lines, where arguments are left out otherwise.

    ``async def send(to: Annotated[str, Logged], letters: Annotated[list[str], Logged(length_only=True)]): ...``

    Args:
        length_only: Show how long it is, not what it is.
    """

    length_only: bool = False

    def format(self, argument: object) -> str:
        """Return how an argument is shown."""
        if not self.length_only or not isinstance(argument, Sized):
            return repr(argument)
        length = f"len {len(argument)}"
        if isinstance(argument, dict | set):
            return f"{{{length}}}"
        return f"({length})" if isinstance(argument, tuple) else f"[{length}]"


def kinds_in(annotation: object) -> Iterator[type[Dependency[Any]]]:
    """Return the classes of the dependencies in an annotation that is no text."""
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, Dependency):
            yield type(each)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(each, type) and issubclass(each, Dependency):
            yield each


def readable_signature(task: str, function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a task with its annotations as they are meant, as far as they can be read.

    Raises:
        InvalidTask: One that begins with ``Annotated`` cannot be read: what stands there may be a limit.
    """
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # noqa: BLE001 - a user's annotation may raise anything
        signature = inspect.signature(function)
        parameters = [
            each.replace(annotation=_read(task, function, each.annotation)) for each in signature.parameters.values()
        ]
        return signature.replace(parameters=parameters)


def _read(task: str, function: Callable[..., Any], annotation: object) -> object:
    def alone() -> None: ...

    alone.__annotations__ = {"it": annotation}
    names = getattr(inspect.unwrap(function), "__globals__", None) or getattr(
        getattr(function, "__call__", None),  # noqa: B004 - a callable object
        "__globals__",
        {},
    )
    try:
        return inspect.get_annotations(alone, globals=names, eval_str=True)["it"]
    except Exception as error:
        if "Annotated" in str(annotation):
            raise InvalidTask(
                f"the annotations of task {task!r} cannot be read: {error}; define what they name in its module"
            ) from error
        return annotation
