"""What ``Annotated[...]`` says about a parameter besides its type."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sized
from typing import Self

from attrs import frozen


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
