"""The list of what ``docket_anyio`` offers: a longer one is a decision."""

from __future__ import annotations

import importlib.metadata

import docket_anyio
from docket_anyio import abc, dependencies, exceptions, instrumentation, tasks

NAMES = """
    Agenda Annotation CallArgument CancelReason Cancellation ConcurrencyLimit Cooldown Cron CurrentDocket
    CurrentExecution CurrentWorker CycleError Debounce Depends Disposition Docket DocketSnapshot Execution
    ExecutionCancelled ExecutionProgress ExecutionState ExecutionTasks ExponentialRetry LiteralOperator Logged
    Operator Perpetual Priority Progress ProgressEvent RateLimit Restore Retry RunningExecution Shared StateEvent
    StopRequest Strike StrikeInstruction StrikeList TaskArgument TaskCall TaskCollection TaskFunction TaskKey
    TaskLogger Timeout Worker WorkerInfo WorkerProcess WorkerThread __version__ check_cancelled compact_signature
    get_signature testing
""".split()

EXCEPTIONS = """
    AdmissionBlocked CircularDependency CleanupTimeout ConcurrencyBlocked CorruptMessage DocketError DuplicateTask
    ExecutionCancelled ExecutionExpired ExecutionGone InvalidArguments InvalidDependency InvalidKey InvalidSetting
    InvalidStrike InvalidTask InvalidTime InvalidURL NotHonoured NotOpen NotSerializable PayloadTooLarge RedisRefused
    RedisUnavailable StrayCancellation TaskFailed TaskTimeout UnknownTask WorkerProcessDied
""".split()


def test_the_names_of_the_package() -> None:
    assert sorted(docket_anyio.__all__) == sorted(NAMES)
    assert all(hasattr(docket_anyio, name) for name in NAMES)


def test_nothing_else_of_ours_is_public() -> None:
    modules = {"abc", "cli", "dependencies", "exceptions", "instrumentation", "tasks", "annotations"}
    visible = {name for name in vars(docket_anyio) if not name.startswith("_")} - modules - {"version"}
    assert visible == {name for name in NAMES if not name.startswith("_")}


def test_the_version_is_that_of_the_distribution() -> None:
    assert docket_anyio.__version__ == importlib.metadata.version("docket-anyio")


def test_the_names_of_the_exceptions() -> None:
    classes = {
        name: each for name, each in vars(exceptions).items() if isinstance(each, type) and issubclass(each, Exception)
    }
    assert sorted(classes) == sorted(EXCEPTIONS)
    assert all(issubclass(each, exceptions.DocketError) for each in classes.values())


def test_every_exception_says_when_it_is_raised() -> None:
    assert [name for name in EXCEPTIONS if not getattr(exceptions, name).__doc__] == []


def test_the_names_of_the_other_public_modules() -> None:
    names = """
        AdmissionBlocked Annotation CallArgument CancellationHandler CompletionHandler ConcurrencyBlocked
        ConcurrencyLimit Cooldown Cron CurrentDocket CurrentExecution CurrentWorker CycleError Debounce Dependency
        DependencyFunction Depends ExecutionTasks ExponentialRetry FailedDependency FailureHandler ForcedRetry Logged
        Middleware Perpetual Progress Provided Provider RateLimit Retry Runtime Shared SharedContext TaskArgument
        TaskKey TaskLogger TaskOutcome Timeout WorkerProcess WorkerThread _Depends _parameter_cache current_docket
        current_execution current_worker format_duration get_annotation_dependencies get_dependency_parameters
        get_single_dependency_of_type
        get_single_dependency_parameter_of_type resolved_dependencies validate_dependencies
    """
    assert sorted(dependencies.__all__) == sorted(names.split())
    names = "assert_no_tasks assert_task_count assert_task_not_scheduled assert_task_scheduled"
    assert sorted(docket_anyio.testing.__all__) == names.split()
    assert sorted(tasks.__all__) == ["default_fallback_task", "fail", "sleep", "standard_tasks", "trace"]
    assert [each.__name__ for each in tasks.standard_tasks] == ["trace", "fail", "sleep"]
    assert all(hasattr(abc, name) for name in ("CredentialProvider", "Instrument", "ResultStorage"))
    assert all(hasattr(instrumentation, name) for name in instrumentation.__all__)
