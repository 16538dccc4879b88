"""The same functions are given the same values by both libraries."""

from __future__ import annotations

from tests.interop.conftest import PYDOCKET, Meeting

CALLS = [
    ("kinds", ""),
    ("kinds", "'given', d='given too'"),
    ("once", ""),
    ("arguments", "1"),
    ("arguments", "1, 2"),
    ("arguments", "a=3, b=4"),
    ("arguments", "3, as_given=7, ten_times=8"),
    ("bindings", ""),
    ("bindings", "7"),
    ("replaced", "1"),
    ("replaced", "1, 'given'"),
    ("replaced", "1, value='given'"),
    ("run", ""),
    ("unlucky", ""),
    ("missing", ""),
    ("missing", "a=5"),
]


def test_what_runs_are_given(meeting: Meeting, ours: str) -> None:
    results: dict[str, list[list[str]]] = {}
    for kind in (PYDOCKET, ours):
        docket = meeting.docket()
        side = meeting.side(kind, docket)
        side.work(concurrency=1)
        results[kind] = []
        for number, (task, call) in enumerate(CALLS):
            side.add(task, call, key=f"call-{number}")
            result = side.result(f"call-{number}")
            results[kind].append([each.replace(docket.name, "DOCKET") for each in result if each is not None])
        side.stop()
    for (task, call), theirs, mine in zip(CALLS, results[PYDOCKET], results[ours], strict=True):
        assert mine == theirs, f"{task}({call})"
    assert [result[0] for result in results[ours]].count("raised") == 1
