"""The whole page in a real browser, with the bundled models: what a student does, and what a document must not do."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
from running_app import Visit

pytestmark = pytest.mark.browser

QUESTION = "What does the KV cache store for each layer and each token?"


def test_a_question_is_answered_opened_and_kept(visit: Visit):
    page = visit.page
    seen = visit.ask(QUESTION)
    assert any("Reading 4 passages" in text for text in seen), seen
    drafts = [text.split("\n")[0] for text in seen if "Gray words" in text.split("\n", 1)[-1]]
    assert len(set(drafts)) >= 3, "the answer did not stream"

    answer = page.get_by_test_id("stChatMessageContent").nth(1)
    assert "[1]" in answer.get_by_test_id("stMarkdown").first.inner_text()
    assert "Reading" not in answer.inner_text()
    assert answer.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first.is_visible()
    assert re.search(r"Answered in [\d.]+ m?s · first word after [\d.]+ m?s · \d+ tokens", answer.inner_text())

    visit.open_source("lectures/07-inference-kv-cache.pdf · page")
    dialog = page.get_by_test_id("stDialog")
    number = int(re.search(r"Page (\d+) of 7", dialog.inner_text())[1])
    picture = dialog.locator("img")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 600
    page.get_by_role("button", name="Next page" if number < 7 else "Previous page").click()
    page.get_by_text(f"Page {number + 1 if number < 7 else 6} of 7").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('source=')")

    said = answer.inner_text()
    page.reload()
    page.get_by_text("Answered in").wait_for(timeout=30_000)
    visit.settle()
    assert page.get_by_test_id("stChatMessageContent").nth(1).inner_text() == said
    assert page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first.is_visible()


def test_a_link_to_a_source_opens_it(visit: Visit, app_url: str):
    visit.ask(QUESTION)
    visit.open_source("[1] ")
    address = visit.page.url
    assert "source=" in address
    assert "conversation=" in address
    visit.open(address)
    visit.page.get_by_test_id("stDialog").wait_for(timeout=20_000)


def test_nothing_in_a_document_comes_alive(visit: Visit):
    page = visit.page
    visit.ask("What does the zebra policy say about apples?")
    visit.open_source("[1] zebra.md")
    text = page.get_by_test_id("stDialog").inner_text().replace("\u2060", "")
    for literal in ("$5", "https://evil.example/a.png", "<img src=", ":material/delete:", ":red[red]", ":smile:", "www.evil.example"):
        assert literal in text
    assert page.locator("[data-testid=stMain] a, [data-testid=stDialog] a").count() == 0
    assert page.locator("[data-testid=stDialog] img").count() == 0
    assert page.locator("[data-testid=stDialog] .katex").count() == 1


def test_stopping_ends_the_answer_and_keeps_nothing(visit: Visit):
    page = visit.page
    page.get_by_test_id("stChatInputTextArea").fill("Explain how attention and the KV cache work together, in detail.")
    page.keyboard.press("Enter")
    page.get_by_text("Reading 4 passages").wait_for(timeout=30_000)
    page.get_by_test_id("stChatInputStopButton").click()
    page.get_by_test_id("stChatInputSubmitButton").wait_for(timeout=10_000)
    page.wait_for_timeout(3000)
    assert visit.answers == 0
    assert "conversation=" not in page.url


def test_the_server_sends_safe_headers_and_its_health(app_url: str):
    with urllib.request.urlopen(app_url) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "img-src 'self' data: blob:" in policy
    assert "frame-ancestors 'none'" in policy
    with urllib.request.urlopen(f"{app_url}/health") as response:
        assert json.load(response)["status"] == "ready"
