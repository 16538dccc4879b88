"""What is used of the library `uncalled-for`, which pydocket injects by too: a dependency written for one serves both.

The classes behind ``Depends`` and ``CallArgument`` have no public name there, and are needed to look through a graph of
dependencies before anything runs and to let a generator be a factory. They are imported here and nowhere else; the
tests of each of its versions that we allow hold them.
"""

from __future__ import annotations

from uncalled_for import CallArgument as CallArgument
from uncalled_for import CycleError as CycleError
from uncalled_for import Dependency as Dependency
from uncalled_for import DependencyFactory as DependencyFactory
from uncalled_for import FailedDependency as FailedDependency
from uncalled_for import Provided as Provided
from uncalled_for import Provider as Provider
from uncalled_for import current_frame as current_frame
from uncalled_for import frame_scope as frame_scope
from uncalled_for import get_annotation_dependencies as get_annotation_dependencies
from uncalled_for import get_dependency_parameters as get_dependency_parameters
from uncalled_for import get_signature as get_signature
from uncalled_for import validate_dependencies as validate_dependencies
from uncalled_for.frames import _CallArgument as ArgumentReference
from uncalled_for.functional import _Depends as FactoryDependency
from uncalled_for.introspection import _parameter_cache as parameter_cache

__all__ = [
    "ArgumentReference",
    "CallArgument",
    "CycleError",
    "Dependency",
    "DependencyFactory",
    "FactoryDependency",
    "FailedDependency",
    "Provided",
    "Provider",
    "current_frame",
    "frame_scope",
    "get_annotation_dependencies",
    "get_dependency_parameters",
    "get_signature",
    "parameter_cache",
    "validate_dependencies",
]
