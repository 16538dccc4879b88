"""Find what is asked for once, by its class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from docket_anyio._injection.library import Dependency, get_annotation_dependencies, get_dependency_parameters
from docket_anyio.exceptions import InvalidSetting

D = TypeVar("D", bound=Dependency[Any])


def get_single_dependency_parameter_of_type(function: Callable[..., Any], dependency_type: type[D]) -> D | None:
    """Return what a function asks for, among what it can ask for once.

    Args:
        function: The function of a task.
        dependency_type: ``Retry``, ``Timeout`` or another class that is ``single``.

    Raises:
        InvalidSetting: The class is not ``single``.
    """
    annotated = get_annotation_dependencies(function).values()
    return _find(
        (*get_dependency_parameters(function).values(), *(each for several in annotated for each in several)),
        dependency_type,
    )


def get_single_dependency_of_type(dependencies: Mapping[str, Any], dependency_type: type[D]) -> D | None:
    """Return the one of a class among resolved dependencies.

    Args:
        dependencies: By parameter.
        dependency_type: A class that is ``single``.

    Raises:
        InvalidSetting: The class is not ``single``.
    """
    return _find(dependencies.values(), dependency_type)


def _find(dependencies: Iterable[object], kind: type[D]) -> D | None:
    if not kind.single:
        raise InvalidSetting(f"a task may ask for several {kind.__name__}, so there is no single one to be found")
    return next((each for each in dependencies if isinstance(each, kind)), None)
