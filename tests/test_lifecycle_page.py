"""The documentation shows the transitions that the code has."""

from __future__ import annotations

from docket_anyio._model.lifecycle import Step
from tests.lifecycle_page import PAGE, SCRIPTS, drawn, redraw, written


def test_the_page_is_as_the_code_is() -> None:
    assert written(PAGE.read_text("utf-8")) == drawn(), "draw it again: python -m tests.lifecycle_page"


def test_every_step_has_a_script() -> None:
    assert SCRIPTS.keys() == set(Step)


def test_what_people_wrote_is_kept() -> None:
    page = PAGE.read_text("utf-8").replace("queued", "changed by hand")
    again = redraw(page)
    assert written(again) == drawn()
    assert again.partition("<!--")[0] == page.partition("<!--")[0]
