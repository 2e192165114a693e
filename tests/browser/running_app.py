"""Starting the real app on a free port, and a browser in front of it. Used by the tests here and by scripts/screenshots.py."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 60
ANSWER_MS = 120_000


_WATCH = """nth => {
    window.seenTexts = [];
    new MutationObserver(() => {
        const text = document.querySelectorAll("[data-testid=stChatMessageContent]")[nth]?.innerText;
        if (text && text !== window.seenTexts.at(-1)) window.seenTexts.push(text);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""
"""Notes every text that the nth message shows; looking again and again from outside misses most of a quick answer."""


_PROBED = re.compile(r"/(?!_stcore)[\w-]+/_stcore/(?:health|host-config)$")
"""Opened at the address of a page, Streamlit looks for its server below that address first, and gets a 404."""


@dataclass
class Visit:
    """A page, the hosts it asked anything of, and what its console complained about."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        return self.page.get_by_text("Answered in").count()

    def summary(self, nth: int = 0) -> str:
        """How long an answer took, as its foot says."""
        return self.page.get_by_text("Answered in").nth(nth).inner_text()

    def another(self) -> Visit:
        """Another visitor: the same browser, nothing shared with this one."""
        browser = self.page.context.browser
        assert browser is not None
        return Visit.watching(browser.new_context(viewport=self.page.viewport_size).new_page())

    @classmethod
    def watching(cls, page: Page) -> Visit:
        visit = cls(page)
        page.on("request", lambda request: visit.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("websocket", lambda websocket: visit.hosts.add(urlsplit(websocket.url).hostname or ""))
        page.on("console", visit.hear)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        return visit

    def hear(self, message: ConsoleMessage) -> None:
        """Keeps what the console complains of."""
        where = message.location["url"]
        if message.type == "error" and not _PROBED.search(where):
            self.complaints.append(f"{message.text} {where}")

    def open(self, url: str) -> None:
        """The page, its models loaded."""
        self.page.goto(url)
        self.page.get_by_text("Answers are written by").or_(self.page.get_by_text("No generator is loaded")).wait_for(timeout=ANSWER_MS)
        self.settle()  # widgets take nothing before the script has run

    def ask(self, question: str) -> list[str]:
        """Asks, and returns what the answer's place showed while it was written."""
        before = self.answers
        self.page.evaluate(_WATCH, 2 * before + 1)
        self.page.get_by_test_id("stChatInputTextArea").fill(question)
        self.page.keyboard.press("Enter")
        deadline = time.monotonic() + ANSWER_MS / 1000
        while self.answers == before:
            assert time.monotonic() < deadline, self.page.evaluate("window.seenTexts")
            self.page.wait_for_timeout(50)
        self.settle()
        return self.page.evaluate("window.seenTexts")

    def open_source(self, words: str) -> None:
        self.page.get_by_role("button", name=words).first.click()
        self.page.get_by_test_id("stDialog").wait_for(timeout=20_000)
        self.settle()

    def settle(self) -> None:
        """Waits until the script has run and its pictures are drawn."""
        self.page.wait_for_function("!document.querySelector('[data-testid=stApp][data-test-script-state=running]')", timeout=30_000)
        self.page.wait_for_timeout(700)


def need_chromium() -> None:
    """Skips the test where there is no Chromium; fails it in CI."""
    if not CHROMIUM.exists():
        message = f"there is no {CHROMIUM}; install it with: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


def ingest(folder: Path, store: Path) -> None:
    """Makes a store of a course folder, as a user does."""
    subprocess.run(
        [sys.executable, "-m", "ingest", str(folder), "--store", str(store)], cwd=ROOT, check=True, capture_output=True, timeout=300
    )


@contextmanager
def running_app(store: Path, app: str = "app.py", **settings: str) -> Iterator[str]:
    """The app's address while it runs; `settings` are environment variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LECTERN_STORE": str(store), **settings}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", app, "--server.port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_up(url, process)
            yield url
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"streamlit ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"the app did not answer within {START_S} s")


@contextmanager
def browser_visit(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Visit]:
    """A new browser with one page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light").new_page()
            yield Visit.watching(page)
        finally:
            browser.close()
