"""How soon the page is there, and whether it jumps: real app, headless Chromium, the bundled models.

    python benchmarks/page.py [--runs 5]

Each run starts the app anew over the sample course: seconds from the start of the process to the first paint of the course's title, to the
models loaded, to the first cited answer of a visitor who asks at once; then, warm, a second answer. The layout shift is the browser's own
measure (CLS, web.dev/cls; below .1 is good): while the page is built, and from the question to the finished answer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/browser"))

from running_app import browser_visit, ingest, running_app  # noqa: E402

QUESTIONS = ("How many bytes a token does the KV cache of Wren take?", "What does a late day cost?")
_WATCH_SHIFTS = """
    window.shifts = 0;
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
    }).observe({type: "layout-shift", buffered: true});
"""
"""Runs in the page before anything of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        ingest(ROOT / "corpora/llm-systems", store)
        measured = [measure(store) for _ in range(arguments.runs)]
    for name in measured[0]:
        values = [run[name] for run in measured]
        print(f"{name:42} {statistics.median(values):7.3f}   {' '.join(f'{value:.3f}' for value in sorted(values))}")


def measure(store: Path) -> dict[str, float]:
    """One start of the app: seconds since the start of the process, and layout shift."""
    with browser_visit() as visit:
        page = visit.page
        page.add_init_script(_WATCH_SHIFTS)
        began = time.perf_counter()
        with running_app(store) as url:
            figures = {"server up, s": time.perf_counter() - began}
            page.goto(url)
            page.get_by_role("heading", name="Large Language Model Systems").wait_for()
            figures["first paint, s"] = time.perf_counter() - began
            figures["layout shift while the page is built"] = page.evaluate("window.shifts")
            page.evaluate("window.shifts = 0")
            page.get_by_test_id("stChatInputTextArea").fill(QUESTIONS[0])
            page.keyboard.press("Enter")
            page.get_by_text("Answered in").first.wait_for(timeout=120_000)
            figures["first answer, asked at the first paint, s"] = time.perf_counter() - began
            visit.settle()
            figures["layout shift, first answer"] = page.evaluate("window.shifts")
            page.evaluate("window.shifts = 0")
            asked = time.perf_counter()
            page.get_by_test_id("stChatInputTextArea").fill(QUESTIONS[1])
            page.keyboard.press("Enter")
            page.get_by_text("Answered in").nth(1).wait_for(timeout=120_000)
            figures["second answer, s"] = time.perf_counter() - asked
            visit.settle()
            figures["layout shift, second answer"] = page.evaluate("window.shifts")
    return figures


if __name__ == "__main__":
    main()
