"""What a task can ask for in its signature, and what to derive from for more."""

from __future__ import annotations

from docket_anyio._client.current import CurrentDocket as CurrentDocket
from docket_anyio._client.current import CurrentExecution as CurrentExecution
from docket_anyio._client.current import TaskKey as TaskKey
from docket_anyio._client.current import current_docket as current_docket
from docket_anyio._client.current import current_execution as current_execution
from docket_anyio._client.handlers import CancellationHandler as CancellationHandler
from docket_anyio._client.handlers import CompletionHandler as CompletionHandler
from docket_anyio._client.handlers import FailureHandler as FailureHandler
from docket_anyio._client.handlers import Middleware as Middleware
from docket_anyio._client.handlers import Runtime as Runtime
from docket_anyio._client.handlers import TaskOutcome as TaskOutcome
from docket_anyio._client.reporting import Progress as Progress
from docket_anyio._injection.annotations import Annotation as Annotation
from docket_anyio._injection.annotations import Logged as Logged
from docket_anyio._injection.functional import Depends as Depends
from docket_anyio._injection.functional import FunctionValue as _Depends
from docket_anyio._injection.functional import TaskArgument as TaskArgument
from docket_anyio._injection.library import CallArgument as CallArgument
from docket_anyio._injection.library import CycleError as CycleError
from docket_anyio._injection.library import Dependency as Dependency
from docket_anyio._injection.library import DependencyFactory as DependencyFunction
from docket_anyio._injection.library import FailedDependency as FailedDependency
from docket_anyio._injection.library import Provided as Provided
from docket_anyio._injection.library import Provider as Provider
from docket_anyio._injection.library import get_annotation_dependencies as get_annotation_dependencies
from docket_anyio._injection.library import get_dependency_parameters as get_dependency_parameters
from docket_anyio._injection.library import parameter_cache as _parameter_cache
from docket_anyio._injection.library import validate_dependencies as validate_dependencies
from docket_anyio._injection.lookup import get_single_dependency_of_type as get_single_dependency_of_type
from docket_anyio._injection.lookup import (
    get_single_dependency_parameter_of_type as get_single_dependency_parameter_of_type,
)
from docket_anyio._injection.shared import Shared as Shared
from docket_anyio._injection.shared import open_shared_values as SharedContext  # noqa: N812 - pydocket's name, and used as one uses a class
from docket_anyio._policies.concurrency import ConcurrencyLimit as ConcurrencyLimit
from docket_anyio._policies.cooldown import Cooldown as Cooldown
from docket_anyio._policies.debounce import Debounce as Debounce
from docket_anyio._policies.perpetual import Cron as Cron
from docket_anyio._policies.perpetual import Perpetual as Perpetual
from docket_anyio._policies.ratelimit import RateLimit as RateLimit
from docket_anyio._policies.retry import ExponentialRetry as ExponentialRetry
from docket_anyio._policies.retry import ForcedRetry as ForcedRetry
from docket_anyio._policies.retry import Retry as Retry
from docket_anyio._policies.task_group import ExecutionTasks as ExecutionTasks
from docket_anyio._policies.timeout import Timeout as Timeout
from docket_anyio._policies.worker_process import WorkerProcess as WorkerProcess
from docket_anyio._policies.worker_thread import WorkerThread as WorkerThread
from docket_anyio._telemetry.logs import format_duration as format_duration
from docket_anyio._worker.current import CurrentWorker as CurrentWorker
from docket_anyio._worker.current import TaskLogger as TaskLogger
from docket_anyio._worker.resolving import resolved_dependencies as resolved_dependencies
from docket_anyio._worker.worker import current_worker as current_worker
from docket_anyio.exceptions import AdmissionBlocked as AdmissionBlocked
from docket_anyio.exceptions import ConcurrencyBlocked as ConcurrencyBlocked

# The two names with an underscore are what FastMCP reaches for in pydocket.
__all__ = [
    "AdmissionBlocked",
    "Annotation",
    "CallArgument",
    "CancellationHandler",
    "CompletionHandler",
    "ConcurrencyBlocked",
    "ConcurrencyLimit",
    "Cooldown",
    "Cron",
    "CurrentDocket",
    "CurrentExecution",
    "CurrentWorker",
    "CycleError",
    "Debounce",
    "Dependency",
    "DependencyFunction",
    "Depends",
    "ExecutionTasks",
    "ExponentialRetry",
    "FailedDependency",
    "FailureHandler",
    "ForcedRetry",
    "Logged",
    "Middleware",
    "Perpetual",
    "Progress",
    "Provided",
    "Provider",
    "RateLimit",
    "Retry",
    "Runtime",
    "Shared",
    "SharedContext",
    "TaskArgument",
    "TaskKey",
    "TaskLogger",
    "TaskOutcome",
    "Timeout",
    "WorkerProcess",
    "WorkerThread",
    "_Depends",
    "_parameter_cache",
    "current_docket",
    "current_execution",
    "current_worker",
    "format_duration",
    "get_annotation_dependencies",
    "get_dependency_parameters",
    "get_single_dependency_of_type",
    "get_single_dependency_parameter_of_type",
    "resolved_dependencies",
    "validate_dependencies",
]
