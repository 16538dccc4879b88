"""The list of what ``docket_anyio`` offers: a longer one is a decision."""

from __future__ import annotations

import importlib.metadata

import docket_anyio
from docket_anyio import abc, dependencies, exceptions, tasks

NAMES = """
    Agenda ConcurrencyLimit Cooldown Cron Debounce Disposition Docket DocketSnapshot Execution ExecutionCancelled
    ExecutionProgress ExecutionState ExponentialRetry LiteralOperator Operator Perpetual Progress ProgressEvent
    RateLimit Retry RunningExecution StateEvent StrikeInstruction StrikeList TaskCall Timeout Worker WorkerInfo
    __version__ testing
""".split()

EXCEPTIONS = """
    CorruptMessage DocketError DuplicateTask ExecutionCancelled ExecutionGone InvalidArguments InvalidKey InvalidSetting
    InvalidStrike InvalidTask InvalidTime InvalidURL NotOpen NotSerializable RedisRefused RedisUnavailable
    StrayCancellation TaskFailed TaskTimeout UnknownTask
""".split()


def test_the_names_of_the_package() -> None:
    assert sorted(docket_anyio.__all__) == sorted(NAMES)
    assert all(hasattr(docket_anyio, name) for name in NAMES)


def test_nothing_else_of_ours_is_public() -> None:
    modules = {"abc", "cli", "dependencies", "exceptions", "tasks", "annotations"}
    visible = {name for name in vars(docket_anyio) if not name.startswith("_")} - modules - {"version"}
    assert visible == {name for name in NAMES if not name.startswith("_")}


def test_the_version_is_that_of_the_distribution() -> None:
    assert docket_anyio.__version__ == importlib.metadata.version("docket-anyio")


def test_the_names_of_the_exceptions() -> None:
    classes = {name: each for name, each in vars(exceptions).items() if isinstance(each, type)}
    assert sorted(classes) == sorted(EXCEPTIONS)
    assert all(issubclass(each, exceptions.DocketError) for each in classes.values())


def test_every_exception_says_when_it_is_raised() -> None:
    assert [name for name in EXCEPTIONS if not getattr(exceptions, name).__doc__] == []


def test_the_names_of_the_other_public_modules() -> None:
    names = """
        ConcurrencyLimit Cooldown Cron Debounce ExponentialRetry ForcedRetry Perpetual Progress RateLimit Retry Timeout
        current_docket current_execution
    """
    assert sorted(dependencies.__all__) == names.split()
    names = "assert_no_tasks assert_task_count assert_task_not_scheduled assert_task_scheduled"
    assert sorted(docket_anyio.testing.__all__) == names.split()
    assert sorted(tasks.__all__) == ["fail", "sleep", "standard_tasks", "trace"]
    assert [each.__name__ for each in tasks.standard_tasks] == ["trace", "fail", "sleep"]
    assert hasattr(abc, "Instrument")
