"""Payloads in the real page, in Chromium, under our headers: none asks for anything, runs, opens, leads away, or is stopped by them alone.

Two ways. Each place where a text of a reader, a model or a document may stand, shown by the very functions of `ui` for every payload and
its prefixes. And the app itself: documents, file names and a title made of payloads, and a generator's server that streams them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from openai_server import Exchange, Reply, serving
from playwright.sync_api import Page, Route
from running_app import Visit, browser_visit, ingest, need_chromium, running_app
from safety_page import PLACES

from payloads import PAYLOADS, texts_of

pytestmark = pytest.mark.browser

AT_ONCE = 700
"""Texts on one page."""

_WATCH = """
window.pwned = 0;
window.alive = [];
window.violations = [];
const FORBIDDEN = "script, iframe, object, embed, form, base, meta, link, style, template, video, audio, svg image, svg script, " +
    "math, details:not([data-testid] *), [onerror], [onload], [onclick], [onfocus], [ontoggle], [onbegin], [onmouseover]";
const TEXTS = "[data-testid=stMarkdownContainer], [data-testid=stCaptionContainer], [data-testid=stCode], [data-testid=stHeading]";
document.addEventListener("securitypolicyviolation", e => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
for (const name of ["alert", "confirm", "prompt", "open", "print"]) window[name] = () => { window.pwned = name; };
const note = (what, element) => window.alive.push(`${what}: ${element.outerHTML.slice(0, 300)}`);
const look = root => {
    if (root.nodeType !== 1) return;
    for (const a of [root, ...root.querySelectorAll("a, area")]) {
        if (!a.matches("a, area") || !a.closest("[data-testid=stMain], [data-testid=stSidebar], [data-testid=stDialog]")) continue;
        if (a.hasAttribute("href") && (a.origin !== location.origin || a.hasAttribute("ping"))) note("link", a);
    }
    for (const text of root.matches(TEXTS) ? [root] : [...root.querySelectorAll(TEXTS), ...(root.closest(TEXTS) ? [root] : [])]) {
        if (text.matches(FORBIDDEN)) note("element", text);
        for (const one of text.querySelectorAll(FORBIDDEN)) if (!one.closest(".katex") || !one.matches("math")) note("element", one);
        for (const one of text.querySelectorAll("img, picture, source")) note("picture", one);
        for (const one of text.querySelectorAll("[style*='url('], [style*=image-set], [style*=expression]")) note("style", one);
    }
};
new MutationObserver(changes => {
    for (const change of changes) for (const added of change.addedNodes) look(added);
}).observe(document, {subtree: true, childList: true});
"""
"""Before anything else in the page: notes whatever comes alive in a text, be it for a moment only."""


@dataclass
class Findings:
    """What must stay empty, and what was looked at."""

    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    visits: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def check(self, page: Page) -> None:
        found = page.evaluate("[window.pwned, window.alive, window.violations]")
        assert found == [0, [], []]
        assert (self.requests, self.dialogs, self.complaints) == ([], [], [])
        assert {urlsplit(url).hostname for url in self.visits} <= {"127.0.0.1"}


@contextmanager
def watched(**how: Any) -> Iterator[tuple[Visit, Findings]]:
    """A visit in which every request elsewhere is stopped and noted, and so is all that a payload could do."""
    findings = Findings()

    def let_pass(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            findings.requests.append(route.request.url)
            route.abort()

    with browser_visit(**how) as visit:
        page = visit.page
        page.context.route("**/*", let_pass)
        page.add_init_script(_WATCH)
        page.on("dialog", lambda dialog: (findings.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("popup", lambda popup: findings.dialogs.append(popup.url))
        page.on("framenavigated", lambda frame: findings.visits.append(frame.url))
        findings.complaints = visit.complaints
        yield visit, findings


@pytest.fixture(scope="module")
def safety_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need_chromium()
    with running_app(tmp_path_factory.mktemp("none"), app="tests/browser/safety_app.py", PYTHONPATH="tests") as url:
        yield url


def test_there_are_enough_payloads_and_they_differ():
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 100


def show(page: Page, url: str, place: str, first: int = 0) -> str:
    """Shows AT_ONCE texts in a place, and returns the address of that page."""
    address = f"{url}/?place={quote(place)}&first={first}&last={first + AT_ONCE}"
    page.goto(address)
    page.get_by_text("all shown").wait_for(timeout=120_000)
    page.wait_for_function("!document.querySelector('[data-test-script-state=running]')", timeout=60_000)
    return address


def test_the_watch_sees_what_comes_alive(safety_url: str):
    with watched() as (visit, _):
        show(visit.page, safety_url, "raw Markdown")
        alive = visit.page.evaluate("window.alive")
        assert {what.partition(":")[0] for what in alive} >= {"link", "picture"}
        assert any("img-src https://evil.example" in one for one in visit.page.evaluate("window.violations"))
    with watched() as (visit, findings):
        visit.page.goto(f"{safety_url}/?place=raw+HTML&first=0&last=0")
        visit.page.get_by_text("all shown").wait_for()
        visit.page.evaluate("document.querySelector('[data-testid=stMain]').insertAdjacentHTML('beforeend', '<img src=x onerror=pwned=1>')")
        visit.page.wait_for_function("window.pwned === 1")
        visit.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://evil.example/x>')")
        visit.page.wait_for_function("window.violations.length > 0")
        with pytest.raises(AssertionError):
            findings.check(visit.page)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_comes_alive_in_a_place(place: str, safety_url: str):
    texts = texts_of(place)
    with watched() as (visit, findings):
        for first in range(0, len(texts), AT_ONCE):
            address = show(visit.page, safety_url, place, first)
            findings.check(visit.page)
            assert findings.visits[-1] == address
    print(f"{place}: {len(PAYLOADS)} payloads, {len(texts)} texts, 0 requests, 0 scripts")


# --- the app itself

QUESTIONS = 4
SETTINGS = """
generator = "storyteller"
base_url = "{url}"
unsupported = "mark"
answer_sentences = 500
max_new_tokens = 20000
sources = 8
server_context_tokens = 100000
confidence_floor = 0.0
deadline_s = 170
cached_answers = 0
"""


def as_file_name(payload: str) -> str:
    """The payload as a name that a file system takes."""
    return payload.replace("/", "\u2215").replace("\x00", "").replace("\n", " ").encode("utf-8", "ignore")[:200].decode("utf-8", "ignore")


def make_course(folder: Path) -> None:
    """Every payload in a text, a quarter of them as a title and a heading, every file named after one."""
    folder.mkdir()
    title = " ".join((PAYLOADS[5], ":material/delete: ![x](https://evil.example/t.png) $x$"))
    (folder / "course.toml").write_text(f'[course]\nname = "rules"\ntitle = {json.dumps(title)}\n')
    for first in range(0, len(PAYLOADS), 4):
        name, four = as_file_name(PAYLOADS[first]), PAYLOADS[first : first + 4]
        said = "\n\n".join(f"Zebra rule {first + n} says that {one} is so." for n, one in enumerate(four))
        (folder / f"{name}.txt").write_text(said, "utf-8", "surrogatepass")
        heading = " ".join(four[1].split())
        (folder / f"{first}.md").write_text(f"# {heading}\n\n## {heading}\n\nThe zebra rules from {first} are told here: {four[2]}\n")
        (folder / f"{first}.py").write_text(f'"""Zebra rule {first}."""\nRULE = {four[3]!r}\n')


def tell(words: Sequence[str]) -> Reply:
    """A generator that says these sentences, two letters a token."""

    def reply(exchange: Exchange) -> None:
        exchange.begin()
        text = " ".join(words)
        for start in range(0, len(text), 2):
            exchange.say(text[start : start + 2])
            time.sleep(0.004)  # faster, and the page would skip most states
        exchange.finish()

    return reply


def test_nothing_comes_alive_in_the_app(tmp_path: Path):
    need_chromium()
    make_course(tmp_path / "rules")
    ingest(tmp_path / "rules", tmp_path / "store")
    said = [[f"Zebra rule {n} says that {PAYLOADS[n]} is so." for n in range(k, len(PAYLOADS), QUESTIONS)] for k in range(QUESTIONS)]
    with serving(*map(tell, said)) as server:
        (tmp_path / "lectern.toml").write_text(SETTINGS.format(url=server.url))
        settings = {"LECTERN_CONFIG": str(tmp_path / "lectern.toml")}
        with running_app(tmp_path / "store", **settings) as url, watched() as (visit, findings):
            page = visit.page
            visit.open(url)
            drafts = opened = 0
            for number in range(QUESTIONS):
                seen = visit.ask(f"What does zebra rule {number} say of {PAYLOADS[number * 7 + 1]} and {PAYLOADS[number * 11 + 60]}?")
                drafts += len(set(seen))
                findings.check(page)
                open_everything(page)
                findings.check(page)
                opened += open_sources(visit, findings)
            page.reload()
            page.get_by_text("Answered in").nth(QUESTIONS - 1).wait_for(timeout=60_000)
            visit.settle()
            open_everything(page)
            page.get_by_role("combobox", name="Course").click()
            page.keyboard.press("Escape")
            findings.check(page)
            page.get_by_role("button", name="New conversation").click()
            visit.settle()
            findings.check(page)
            for name in ("Materials", "Insights", "Evaluation"):
                page.get_by_role("link", name=name).click()
                visit.settle()
                findings.check(page)
    print(f"the app: {len(PAYLOADS)} payloads, {drafts} states of streamed answers seen, {opened} sources opened, 0 requests, 0 scripts")
    assert drafts > 500
    assert opened >= 8


def open_everything(page: Page) -> None:
    """Unfolds what is folded under the last answer."""
    for folded in page.get_by_test_id("stChatMessage").last.get_by_test_id("stExpander").locator("summary").all():
        folded.click()
    page.wait_for_timeout(300)


def open_sources(visit: Visit, findings: Findings) -> int:
    """Opens the sources of the last answer one after the other, as links do, and returns how many."""
    keys = visit.page.get_by_test_id("stChatMessage").last.locator("[class*='st-key-source-'] button")
    count = keys.count()
    for number in range(count):
        keys.nth(number).click()
        visit.page.get_by_test_id("stDialog").wait_for(timeout=20_000)
        visit.settle()
        findings.check(visit.page)
        visit.page.keyboard.press("Escape")
        visit.page.get_by_test_id("stDialog").wait_for(state="detached")
        visit.settle()
    return count
