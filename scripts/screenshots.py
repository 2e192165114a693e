"""Takes the pictures of the README: an answer with its sources and its latency, and an opened page of a PDF.

    python scripts/screenshots.py

Indexes the sample course into a temporary store, starts the app and drives headless Chromium. Writes docs/answer.png and docs/source.png.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))

from running_app import Visit, browser_visit, ingest, running_app  # noqa: E402

WARM_UP = "What is perplexity?"
QUESTION = "How many bytes a token does the KV cache of Wren take?"
CITATION = ".pdf · page"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        ingest(ROOT / "corpora/llm-systems", store)
        with running_app(store) as url, browser_visit(1280, 900) as visit:
            visit.open(url)
            take_pictures(visit)


def take_pictures(visit: Visit) -> None:
    visit.ask(WARM_UP)  # the first answer of a process is slower than all that follow
    visit.page.get_by_role("button", name="New conversation").click()
    visit.settle()
    visit.ask(QUESTION)
    visit.page.mouse.move(640, 5)
    visit.page.screenshot(path=ROOT / "docs/answer.png")
    visit.open_source(CITATION)
    visit.page.screenshot(path=ROOT / "docs/source.png")


if __name__ == "__main__":
    main()
