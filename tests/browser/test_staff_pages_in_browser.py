"""The staff pages in a real browser, with the bundled models: what was asked is there, and two evaluations are compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page
from running_app import Visit

pytestmark = pytest.mark.browser

ANSWERED = "What does the KV cache store for each layer and each token?"
REFUSED = "Who won the football world cup in 1998?"
GOLDEN = [
    {"id": "1", "question": ANSWERED, "relevant": [{"source": "lectures/07-inference-kv-cache.pdf"}]},
    {"id": "2", "question": "How is attention computed in the lab?", "relevant": [{"source": "labs/lab1-attention.ipynb"}]},
    {"id": "3", "question": "How many late days are there?", "relevant": [{"source": "syllabus.docx"}]},
    {"id": "4", "question": "What does the zebra policy say?", "relevant": [{"source": "zebra.md"}]},
    {"id": "5", "question": REFUSED, "answerable": False},
]
EVALUATION_MS = 120_000


def open_page(visit: Visit, name: str) -> Page:
    """A page by its link on top, as a person gets there."""
    visit.page.get_by_role("link", name=name, exact=True).click()
    visit.page.get_by_role("tab" if name == "Insights" else "button", name="Questions" if name == "Insights" else "Start").first.wait_for()
    visit.settle()
    return visit.page


def evaluate_and_save(visit: Visit, count: int, name: str) -> None:
    """Asks the first questions; so many that this evaluation is told from the one before."""
    page = visit.page
    page.get_by_label("How many of the 5 questions").fill(str(count))
    page.keyboard.press("Tab")
    visit.settle()
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text(f"It asked {count} questions.").wait_for(timeout=EVALUATION_MS)
    visit.settle()
    page.get_by_label("Save this run as").fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text(f"Saved as {name}.").wait_for(timeout=20_000)
    visit.settle()


def test_what_was_asked_is_on_the_insights_page(visit: Visit):
    visit.ask(ANSWERED)
    visit.ask(REFUSED)
    page = open_page(visit, "Insights")
    page.get_by_text(REFUSED).first.wait_for()
    refused = page.locator("table", has_text="Asked").first
    assert REFUSED in refused.inner_text()
    assert ANSWERED not in refused.inner_text()

    page.get_by_role("tab", name="Topics and pages").click()
    link = page.get_by_role("link", name=re.compile(r"07-inference-kv-cache\.pdf · page \d")).first
    link.wait_for()
    with page.context.expect_page() as opened:
        link.click()
    opened.value.get_by_test_id("stDialog").wait_for(timeout=60_000)
    assert "source=" in opened.value.url
    opened.value.close()

    page.get_by_role("tab", name="Speed").click()
    page.get_by_text("Half of the answers within").wait_for()
    visit.settle()
    assert page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first.is_visible()
    page.get_by_role("tab", name="Machine").click()
    page.get_by_text("tokens written").wait_for(timeout=60_000)


def test_two_evaluations_are_compared(visit: Visit, tmp_path: Path):
    file = tmp_path / "five.jsonl"
    file.write_text("\n".join(map(json.dumps, GOLDEN)))
    visit.page.get_by_role("link", name="Evaluation", exact=True).click()
    page = visit.page
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text("How many of the 5 questions").wait_for()
    visit.settle()
    evaluate_and_save(visit, 4, "base")
    assert "Right at once" in page.locator("table").first.inner_text()
    evaluate_and_save(visit, 5, "again")
    page.get_by_text("Over the 4 questions that both hold. 1 that only one of them holds is left out.").wait_for()
    compared = page.locator("table", has_text="Before → after").inner_text()
    assert "same" in compared
    assert "better" not in compared
