"""By keyboard alone: what can be reached, in which order, and that the focus can be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import Exchange, serving
from playwright.sync_api import Page
from running_app import ANSWER_MS, Visit, browser_visit, ingest, need_chromium, running_app

pytestmark = pytest.mark.browser

QUESTION = "What does the KV cache store for each layer and each token?"
MOST_STEPS = 80

_FOCUSED = """() => {
    let one = document.activeElement;
    while (one && one.shadowRoot && one.shadowRoot.activeElement) one = one.shadowRoot.activeElement;
    if (!one || one === document.body) return "";
    const label = document.getElementById(one.getAttribute("aria-labelledby"))?.innerText;
    const name = one.getAttribute("aria-label") || label || one.labels?.[0]?.innerText || one.innerText || one.getAttribute("placeholder");
    return `${one.getAttribute("role") || one.tagName.toLowerCase()}: ${(name || "").trim().replace(/\\s+/g, " ")}`;
}"""
"""Role and name of what has the focus, `button: New conversation`; empty for nothing."""
_LOOKS = """one => {
    const looks = [];
    for (let at = one, level = 0; at instanceof Element && level < 6; at = at.parentElement, level += 1) {
        const style = getComputedStyle(at);
        const {outlineStyle, outlineWidth, boxShadow, borderColor, backgroundColor, color} = style;
        looks.push([outlineStyle, outlineWidth, boxShadow, borderColor, backgroundColor, color].join(" "));
    }
    return looks;
}"""
"""How an element and what is around it are drawn."""
_DEEPEST = """() => {
    let one = document.activeElement;
    while (one.shadowRoot && one.shadowRoot.activeElement) one = one.shadowRoot.activeElement;
    return one;
}"""
DRAWN_MS = 250
"""After so long a change of colour has come to its end."""


def steps(page: Page, key: str = "Tab") -> Iterator[str]:
    """What gets the focus, one step after the other, until it comes round."""
    seen: list[str] = []
    for _ in range(MOST_STEPS):
        page.keyboard.press(key)
        focused = page.evaluate(_FOCUSED)
        if focused and len(seen) > 3 and focused == seen[0]:
            return
        seen.append(focused)
        yield focused


def tab_to(page: Page, pattern: str, key: str = "Tab") -> str:
    """Goes on until something of that role and name has the focus, and checks that this can be seen."""
    passed = []
    for focused in steps(page, key):
        passed.append(focused)
        if re.search(pattern, focused):
            assert is_seen(page), f"{focused} has the focus, and nothing shows it"
            return focused
    raise AssertionError(f"nothing like {pattern!r} is reached; what is: {passed}")


def is_seen(page: Page) -> bool:
    """Whether what has the focus looks otherwise without it."""
    one = page.evaluate_handle(_DEEPEST).as_element()
    assert one is not None
    page.wait_for_timeout(DRAWN_MS)
    focused = one.evaluate(_LOOKS)
    one.evaluate("one => one.blur()")
    page.wait_for_timeout(DRAWN_MS)
    if one.evaluate("one => one === document.activeElement"):  # a dialog keeps the focus in it
        return one.evaluate("one => getComputedStyle(one).outlineStyle !== 'none' || getComputedStyle(one).boxShadow !== 'none'")
    blurred = one.evaluate(_LOOKS)
    one.focus()
    return focused != blurred


def test_everything_that_can_be_reached_has_a_name(visit: Visit):
    nameless = [focused for focused in steps(visit.page) if focused and focused.endswith(": ")]
    assert nameless == []


def test_a_question_is_asked_opened_and_left_by_keyboard(visit: Visit):
    page = visit.page
    tab_to(page, "Ask about this course")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    page.get_by_text("Answered in").wait_for(timeout=ANSWER_MS)
    visit.settle()
    tab_to(page, r"^button: \\[1\\] |^button: .*\[1\] ", "Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_test_id("stDialog").wait_for(timeout=20_000)
    visit.settle()
    assert page.evaluate("document.querySelector('[data-testid=stDialog]').contains(document.activeElement)"), "the focus stays behind"
    tab_to(page, "Close|Previous page|Next page")
    page.keyboard.press("Escape")
    page.get_by_test_id("stDialog").wait_for(state="detached")


def test_an_answer_is_read_judged_and_followed_up_by_keyboard(visit: Visit):
    page = visit.page
    visit.ask(QUESTION)
    page.locator("[data-testid=stChatMessageContent]").nth(1).click(position={"x": 2, "y": 2})  # whence to go on
    tab_to(page, r"^a: Source 1, ")
    page.get_by_role("tooltip").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("tooltip").wait_for(state="hidden")
    tab_to(page, r"^summary: Answered in")
    page.keyboard.press("Enter")
    page.get_by_text("Read the prompt").or_(page.get_by_text("Look for an earlier answer")).first.wait_for()
    tab_to(page, r"^button: Copy with sources")
    tab_to(page, r"(?i)thumb|^radio: |^button: .*up")
    page.keyboard.press("Enter")
    page.get_by_label("A note on this answer").wait_for()
    visit.settle()
    tab_to(page, r"^button: .*Ask again")
    tab_to(page, r"^button: .*Edit question")
    page.locator(".st-key-followups button").first.wait_for()
    question = page.locator(".st-key-followups button").first.inner_text()
    tab_to(page, re.escape(question))
    page.keyboard.press("Enter")
    page.get_by_text("Answered in").nth(1).wait_for(timeout=ANSWER_MS)


def silent(exchange: Exchange) -> None:
    exchange.begin()
    exchange.stall()


def test_an_answer_is_stopped_by_keyboard(tmp_path: Path):
    """Of a server that says nothing: the bundled generator may have ended before the button is reached."""
    need_chromium()
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "cache.md").write_text("# KV cache\n\nThe KV cache stores a key and a value for each layer and each token.\n")
    ingest(tmp_path / "demo", tmp_path / "store")
    with serving(silent) as server:
        (tmp_path / "lectern.toml").write_text(f'base_url = "{server.url}"\ngenerator = "silent"\nconfidence_floor = 0.0\n')
        with running_app(tmp_path / "store", LECTERN_CONFIG=str(tmp_path / "lectern.toml")) as url, browser_visit() as visit:
            page = visit.page
            visit.open(url)
            tab_to(page, "Ask about this course")
            page.keyboard.type(QUESTION)
            page.keyboard.press("Enter")
            page.get_by_text("Reading 1 passage").wait_for(timeout=30_000)
            tab_to(page, "(?i)stop")
            assert not server.left.is_set()
            page.keyboard.press("Enter")
            assert server.left.wait(10), "nobody waits for the answer any more"
            page.get_by_test_id("stChatInputSubmitButton").wait_for(timeout=10_000)
            visit.settle()
            assert visit.answers == 0


def test_the_sidebar_is_reached(visit: Visit):
    page = visit.page
    for pattern in ("Course", "New conversation", "Settings"):
        tab_to(page, pattern)
