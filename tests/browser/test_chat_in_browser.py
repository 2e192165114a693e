"""The whole page in a real browser, with the bundled models: what a student does, and what a document must not do."""

from __future__ import annotations

import json
import re
import time
import urllib.request

import pytest
from running_app import Visit, browser_visit

pytestmark = pytest.mark.browser

QUESTION = "What does the KV cache store for each layer and each token?"


def test_a_question_is_answered_opened_and_kept(visit: Visit):
    page = visit.page
    seen = visit.ask("What does the KV cache store for every layer and every token?")  # no other test's: a cached answer does not stream
    assert any("Reading 4 passages" in text for text in seen), seen
    drafts = [text.split("\n")[0] for text in seen if "Gray words" in text.split("\n", 1)[-1]]
    assert len(set(drafts)) >= 3, "the answer did not stream"

    answer = page.get_by_test_id("stChatMessageContent").nth(1)
    assert "[1]" in answer.get_by_test_id("stMarkdown").first.inner_text()
    assert "Reading" not in answer.inner_text()
    assert re.fullmatch(r"Answered in [\d.]+ m?s · first word after [\d.]+ m?s · \d+ tokens, \d+ a second", visit.summary())

    visit.open_source("lectures/07-inference-kv-cache.pdf · page")
    dialog = page.get_by_test_id("stDialog")
    number = int(re.search(r"Page (\d+) of 7", dialog.inner_text())[1])
    picture = dialog.locator("img")
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 600
    page.get_by_role("button", name="Next page" if number < 7 else "Previous page").click()
    page.get_by_text(f"Page {number + 1 if number < 7 else 6} of 7").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('source=')")

    page.evaluate("window.isSameVisit = true")
    answer.get_by_role("link", name="Source 1").first.click()
    dialog.get_by_text("Cited:").wait_for()
    assert page.evaluate("window.isSameVisit"), "the number led away from the page instead of opening the drawer"
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")

    said = answer.inner_text()
    page.reload()
    page.get_by_text("Answered in").wait_for(timeout=30_000)
    visit.settle()
    assert page.get_by_test_id("stChatMessageContent").nth(1).inner_text() == said


def test_a_citation_shows_its_quote_and_opens_its_source(visit: Visit):
    page = visit.page
    visit.ask(QUESTION)
    citation, quote = page.locator("[data-testid=stChatMessageContent] a").first, page.get_by_role("tooltip")
    assert citation.get_attribute("aria-label").startswith("Source 1, lectures/07-inference-kv-cache.pdf · page ")
    citation.hover()
    quote.wait_for()
    place, words = quote.inner_text().split("\n", 1)
    assert place.startswith("lectures/07-inference-kv-cache.pdf · page ")
    assert words.strip().startswith("“")
    page.mouse.move(5, 5)
    quote.wait_for(state="hidden")
    citation.focus()
    quote.wait_for()
    assert citation.get_attribute("aria-describedby") == quote.get_attribute("id")
    page.keyboard.press("Escape")
    quote.wait_for(state="hidden")
    page.keyboard.press("Enter")
    page.get_by_test_id("stDialog").wait_for(timeout=20_000)
    assert "source=" in page.url


def test_the_time_by_stage_opens_and_adds_up(visit: Visit):
    visit.ask("What does the KV cache store for each layer, each head and each token?")  # no other test's: a cached answer has one stage
    page = visit.page
    page.get_by_text("Answered in").first.click()
    rows = page.locator(".foot tbody tr")
    names = rows.locator("th").all_inner_texts()
    assert names[0] == "Look for an earlier answer"
    assert {"Search by meaning", "Search by words", "Read the prompt", "Write the answer", "Check the answer"} <= set(names)
    shares = [int(text.removesuffix("%")) for text in rows.locator("td:last-child").all_inner_texts()]
    assert abs(sum(shares) - 100) <= len(shares) / 2
    widths = page.locator(".foot .bar span").evaluate_all("parts => parts.map(part => part.getBoundingClientRect().width)")
    bar = page.locator(".foot .bar").evaluate("bar => bar.getBoundingClientRect().width")
    assert abs(sum(widths) - bar) < 2


def test_an_answer_is_copied_with_its_sources_and_by_its_link(visit: Visit, app_url: str):
    page = visit.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=app_url)
    visit.ask(QUESTION)
    page.get_by_role("button", name="Copy with sources").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "[1]" in copied
    assert "lectures/07-inference-kv-cache.pdf" in copied
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Link copied").wait_for()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address.startswith(app_url)
    visit.ask("How long is the midterm exam?")
    visit.open(address)
    visit.settle()
    answer = page.locator(f".st-key-answer-{address.rpartition('=')[2]}")
    tops: list[float] = []
    while len(tops) < 100 and not (len(set(tops[-40:])) == 1 and len(tops) >= 40):  # 4 s without a move, of at most 10
        tops.append(answer.bounding_box()["y"])
        page.wait_for_timeout(100)
    assert 0 <= tops[-1] < 450, tops


def test_a_follow_up_is_offered_and_answered(visit: Visit):
    visit.ask(QUESTION)
    page = visit.page
    offered = page.locator(".st-key-followups button")
    assert 1 <= offered.count() <= 3
    question = offered.first.inner_text()
    offered.first.click()
    page.get_by_text("Answered in").nth(1).wait_for(timeout=60_000)
    visit.settle()
    assert page.get_by_test_id("stChatMessageContent").nth(2).inner_text() == question


def test_the_chat_is_narrowed_to_a_document_and_widened_again(visit: Visit):
    page = visit.page
    page.get_by_text("Search only in").click()
    visit.settle()  # what unfolds moves what is below
    page.locator(".st-key-filter-path button").click()
    page.get_by_role("option", name="syllabus.docx").click()
    page.get_by_text("Searching only in: syllabus.docx").wait_for()
    assert "path=syllabus.docx" in page.url
    visit.ask("What does the KV cache hold?")
    sources = page.locator("[class*=st-key-source-] button")
    assert sources.count() > 0
    assert all("syllabus.docx" in text for text in sources.all_inner_texts())
    page.get_by_role("button", name="Search everything").first.click()
    page.wait_for_function("!location.search.includes('path=')")


def test_thumbs_a_note_and_an_export(visit: Visit):
    page = visit.page
    visit.ask(QUESTION)
    page.get_by_test_id("stFeedback").or_(page.locator("[class*=st-key-rating-]")).first.get_by_role("button").or_(
        page.locator("[class*=st-key-rating-]").get_by_role("radio")
    ).nth(1).click()
    note = page.get_by_label("A note on this answer")
    note.wait_for()
    note.fill("Which layer?")
    note.press("Enter")
    visit.settle()
    page.reload()
    note.wait_for(timeout=30_000)
    assert note.input_value() == "Which layer?"
    page.get_by_text("This conversation").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as Markdown").click()
    text = download.value.path().read_text()
    assert QUESTION.rstrip("?") in text
    assert "07-inference-kv-cache" in text
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as JSON").click()
    exported = json.loads(download.value.path().read_text())
    assert QUESTION in json.dumps(exported)


def test_a_question_is_edited_and_asked_again(visit: Visit):
    page = visit.page
    visit.ask(QUESTION)
    page.get_by_role("button", name="Edit question").click()
    field = page.get_by_label("Your question")
    field.fill("How many points does each late day cost?")
    page.get_by_role("button", name="Ask this instead").click()
    page.get_by_text("Ask this instead").wait_for(state="hidden")
    page.get_by_text("Answered in").first.wait_for(timeout=60_000)
    visit.settle()
    messages = page.get_by_test_id("stChatMessageContent")
    assert messages.count() == 2
    assert messages.nth(0).inner_text() == "How many points does each late day cost?"
    assert "syllabus.docx" in messages.nth(1).inner_text()


def test_two_sessions_ask_at_once_and_get_their_own_answers(app_url: str):
    asked = {"What does the KV cache store for each layer?": "07-inference", "How many points does each late day cost?": "syllabus"}
    with browser_visit() as first:
        second = first.another()
        for visit in (first, second):
            visit.open(app_url)
        for visit, question in zip((first, second), asked, strict=True):
            visit.page.get_by_test_id("stChatInputTextArea").fill(question)
            visit.page.keyboard.press("Enter")
        for visit, (question, source) in zip((first, second), asked.items(), strict=True):
            visit.page.get_by_text("Answered in").wait_for(timeout=60_000)
            visit.settle()
            messages = visit.page.get_by_test_id("stChatMessageContent")
            assert messages.count() == 2
            assert messages.nth(0).inner_text() == question
            assert source in messages.nth(1).inner_text()


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
    assert page.locator("[data-testid=stDialog] a").count() == 0
    links = page.locator("[data-testid=stMainBlockContainer] a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links
    assert all(link.startswith("?course=demo&conversation=") for link in links), links
    assert page.locator("[data-testid=stDialog] img").count() == 0
    assert page.locator("[data-testid=stDialog] .katex").count() == 1


def serving(app_url: str) -> int:
    """Questions whose answers are being generated."""
    with urllib.request.urlopen(f"{app_url}/health") as response:
        return json.load(response)["load"]["serving"]


def wait_for_serving(visit: Visit, app_url: str, wanted: int) -> None:
    deadline = time.monotonic() + 30
    while serving(app_url) != wanted:
        assert time.monotonic() < deadline, serving(app_url)
        visit.page.wait_for_timeout(20)


@pytest.mark.parametrize("leave", ["stop", "close the tab", "reload"])
def test_leaving_in_mid_answer_ends_the_work_and_keeps_nothing(visit: Visit, app_url: str, leave: str):
    page = visit.page
    page.get_by_test_id("stChatInputTextArea").fill(f"Explain in detail, before I {leave}, how attention and the KV cache work together.")
    page.keyboard.press("Enter")
    wait_for_serving(visit, app_url, 1)
    if leave == "stop":
        page.get_by_test_id("stChatInputStopButton").click()
    elif leave == "reload":
        page.reload()
    else:
        page.close()
        visit = visit.another()
    wait_for_serving(visit, app_url, 0)
    visit.open(app_url)
    assert visit.answers == 0
    assert visit.page.get_by_role("button", name=f"before I {leave}").count() == 0  # no conversation of that name


def test_the_server_sends_safe_headers_and_its_health(app_url: str):
    with urllib.request.urlopen(app_url) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "img-src 'self' data: blob:" in policy
    assert "frame-ancestors 'none'" in policy
    with urllib.request.urlopen(f"{app_url}/health") as response:
        assert json.load(response)["status"] == "ready"
