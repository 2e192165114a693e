"""Takes the pictures of the documentation: every page, light, dark and as wide as a phone.

    python scripts/screenshots.py

Indexes the sample course into a temporary store, starts the app and drives headless Chromium. Writes docs/answer.png and docs/source.png
for the README, and docs/pages/<page>-<view>.png. Colours are reduced to a palette, which makes the files a third as large.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))

from running_app import ANSWER_MS, Visit, browser_visit, ingest, running_app  # noqa: E402

QUESTION = "How many bytes a token does the KV cache of Wren take?"
REFUSED = "Who won the football championship of 1954 in Bern?"
CITATION = ".pdf · page"
VIEWS = {"light": (1280, 900, False), "dark": (1280, 900, True), "phone": (360, 740, False)}
PAGES = ROOT / "docs/pages"


def main() -> None:
    PAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        ingest(ROOT / "corpora/llm-systems", store)
        with running_app(store) as url:
            with browser_visit(1280, 900) as visit:
                answered = ask_for_readme(visit, url)
            for view, (width, height, dark) in VIEWS.items():
                with browser_visit(width, height, dark) as visit:
                    take_pages(visit, url, answered, view)


def ask_for_readme(visit: Visit, url: str) -> str:
    """The two pictures of the README; the address of the conversation with an answer."""
    visit.open(url)
    visit.ask(REFUSED)  # the first answer of a process is slower than all that follow
    visit.page.get_by_role("button", name="New conversation").click()
    visit.settle()
    visit.ask(QUESTION)
    visit.page.mouse.move(640, 5)
    address = visit.page.url
    take(visit, ROOT / "docs/answer.png")
    visit.open_source(CITATION)
    take(visit, ROOT / "docs/source.png")
    return address


def take_pages(visit: Visit, url: str, answered: str, view: str) -> None:
    def picture(name: str, address: str, act: Callable[[Visit], None] = lambda _: None) -> None:
        visit.page.goto(address)
        visit.page.locator("[data-testid=stHeading]").first.wait_for(timeout=ANSWER_MS)
        visit.settle()
        act(visit)
        take(visit, PAGES / f"{name}-{view}.png")

    picture("ask", url)
    picture("answer", answered)
    picture("quote", answered, show_quote)
    picture("source", answered, lambda visit: visit.open_source(CITATION))
    picture("materials", f"{url}/materials")
    picture("insights", f"{url}/insights")
    picture("speed", f"{url}/insights", lambda visit: choose(visit, "Speed"))
    picture("evaluation", f"{url}/evaluation")
    picture("settings", url, open_settings)  # last: a sidebar that was opened stays open


def show_quote(visit: Visit) -> None:
    visit.page.locator("[data-testid=stChatMessageContent] a").first.focus()
    visit.page.get_by_role("tooltip").wait_for()


def open_settings(visit: Visit) -> None:
    fold = visit.page.get_by_test_id("stExpandSidebarButton")
    if fold.is_visible():
        fold.click()
        visit.settle()
    choose(visit, "Settings")


def choose(visit: Visit, name: str) -> None:
    visit.page.get_by_text(name, exact=True).first.click()
    visit.settle()


def take(visit: Visit, path: Path) -> None:
    with Image.open(io.BytesIO(visit.page.screenshot())) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
