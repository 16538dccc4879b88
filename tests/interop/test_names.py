"""Whoever comes from pydocket finds each name again, and each parameter."""

from __future__ import annotations

import importlib
import inspect
from datetime import UTC, datetime
from typing import Any

import pytest

from docket_anyio._client.docket import DocketOptions
from docket_anyio._worker.settings import WorkerOptions

# Where pydocket's users import from, where they find it here, and what. See the table in share-with-pydocket.md.
SECOND_LEVEL = {
    ("docket.dependencies", "docket_anyio.dependencies"): """
        AdmissionBlocked CallArgument CompletionHandler ConcurrencyBlocked ConcurrencyLimit Cooldown Cron CurrentDocket
        CurrentExecution CurrentWorker CycleError Debounce Dependency DependencyFunction Depends ExponentialRetry
        FailedDependency FailureHandler ForcedRetry Perpetual Progress RateLimit Retry Runtime Shared SharedContext
        TaskArgument TaskKey TaskLogger TaskOutcome Timeout current_docket current_execution current_worker
        format_duration get_annotation_dependencies get_dependency_parameters get_single_dependency_of_type
        get_single_dependency_parameter_of_type resolved_dependencies validate_dependencies
    """,
    ("docket.execution", "docket_anyio"): """
        Disposition Execution ExecutionCancelled ExecutionProgress ExecutionState ProgressEvent StateEvent TaskCall
        TaskFunction compact_signature get_signature
    """,
    ("docket.docket", "docket_anyio"): "Docket DocketSnapshot RunningExecution TaskCollection WorkerInfo",
    ("docket.worker", "docket_anyio"): "Worker",
    ("docket.worker", "docket_anyio.tasks"): "default_fallback_task",
    ("docket.strikelist", "docket_anyio"): """
        LiteralOperator Operator Restore Strike StrikeInstruction StrikeList
    """,
    ("docket.annotations", "docket_anyio"): "Annotation Logged",
    ("docket.agenda", "docket_anyio"): "Agenda",
    ("docket.tasks", "docket_anyio.tasks"): "fail sleep standard_tasks trace",
    ("docket.testing", "docket_anyio.testing"): """
        assert_no_tasks assert_task_count assert_task_not_scheduled assert_task_scheduled
    """,
}

CALLABLES = """
    Agenda.add Agenda.clear Agenda.scatter
    Docket Docket.add Docket.add_many Docket.call Docket.cancel Docket.cancel_channel Docket.clear Docket.get_execution
    Docket.key Docket.known_task_key Docket.labels Docket.parked_task_key Docket.redis Docket.register
    Docket.register_collection Docket.replace Docket.replace_many Docket.restore Docket.runs_key Docket.schedule
    Docket.snapshot Docket.stream_id_key Docket.strike Docket.task_workers Docket.task_workers_set
    Docket.wait_for_strikes_loaded Docket.worker_tasks_set Docket.workers
    Execution Execution.as_message Execution.call_repr Execution.claim Execution.from_message Execution.general_labels
    Execution.get_argument Execution.get_result Execution.is_superseded Execution.mark_as_cancelled
    Execution.mark_as_completed Execution.mark_as_failed Execution.schedule Execution.specific_labels
    Execution.subscribe Execution.sync
    ConcurrencyLimit Cooldown Cron Debounce Depends ExponentialRetry Logged Perpetual RateLimit Retry Shared
    TaskArgument Timeout
    StrikeList StrikeList.add_condition StrikeList.is_stricken StrikeList.remove_condition StrikeList.restore
    StrikeList.send_instruction StrikeList.strike StrikeList.update StrikeList.wait_for_strikes_loaded
    Worker Worker.labels Worker.run Worker.run_at_most Worker.run_forever Worker.run_until_finished
    Worker.task_workers_set Worker.worker_tasks_set
    testing.assert_no_tasks testing.assert_task_count testing.assert_task_not_scheduled testing.assert_task_scheduled
""".split()

# What is taken by no other name here, and why not.
LEFT_OUT = {
    ("Worker.run", "healthcheck_port"): "issue 8",
    ("Worker.run", "metrics_port"): "issue 8",
}


NO_MEMBERS = {
    "Execution": {"incoming_span_links"},  # issue 6
    "Worker": {"validate_task_dependencies"},  # what a run asks for is checked by its plan
}


def found(path: str, module: str = "") -> Any:
    """Return what stands in one of the libraries under a path of names."""
    value: Any = importlib.import_module(module)
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_each_name_of_the_package() -> None:
    ours = importlib.import_module("docket_anyio")
    missing = {name for name in importlib.import_module("docket").__all__ if not hasattr(ours, name)}
    assert missing == set()


@pytest.mark.parametrize(("theirs", "ours"), SECOND_LEVEL)
def test_each_name_of_the_second_level(theirs: str, ours: str) -> None:
    names = SECOND_LEVEL[theirs, ours].split()
    public = {*dir(importlib.import_module(ours))}
    assert {name for name in names if not hasattr(importlib.import_module(theirs), name)} == set()
    assert {name for name in names if name not in public} == set()


@pytest.mark.parametrize("path", CALLABLES)
def test_each_parameter(path: str) -> None:
    """By the same name, and by position where it can be given by position in both."""
    theirs, ours = (inspect.signature(found(path, module)).parameters for module in ("docket", "docket_anyio"))
    options = {**WorkerOptions.__annotations__, **DocketOptions.__annotations__} if "options" in ours else {}
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    named = [name for name, each in theirs.items() if each.kind not in variable]
    missing = {name for name in named if name not in ours and name not in options}
    assert missing == {name for place, name in LEFT_OUT if place == path}
    positional = [name for name, each in ours.items() if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional[: len(named)] == named[: len(positional)]


@pytest.mark.parametrize("name", ["Disposition", "ExecutionState", "Operator"])
def test_each_member_of_an_enumeration(name: str) -> None:
    ours, theirs = found(name, "docket_anyio"), found(name, "docket.strikelist" if name == "Operator" else "docket")
    assert {each.name: each.value for each in ours} == {each.name: each.value for each in theirs}


def members(module: str, execution_module: str) -> dict[str, set[str]]:
    """Return the public members of some objects of a library: of their classes, and what they set in themselves."""
    library, when = importlib.import_module(module), datetime(2026, 1, 1, tzinfo=UTC)
    docket = library.Docket("d", "redis://localhost")

    async def task() -> None: ...

    some = {
        "Agenda": library.Agenda(),
        "Docket": docket,
        "Execution": library.Execution(docket, task, (), {}, "K", when, 1),
        "ExecutionProgress": importlib.import_module(execution_module).ExecutionProgress(docket, "K"),
        "StrikeList": library.StrikeList(),
        "Worker": library.Worker(docket),
    }
    known = {name: {*dir(type(each)), *getattr(each, "__dict__", {})} for name, each in some.items()}
    return {name: {each for each in names if not each.startswith("_")} for name, names in known.items()}


def test_each_public_member() -> None:
    theirs, ours = members("docket", "docket.execution"), members("docket_anyio", "docket_anyio")
    missing = {name: theirs[name] - ours[name] for name in theirs if theirs[name] - ours[name]}
    assert missing == NO_MEMBERS
