"""The materials page in a real browser, with the bundled models: what is added is answered from, what is deleted is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, WebSocketRoute
from running_app import ROOT, Visit, browser_visit, ingest, need_chromium, running_app

pytestmark = pytest.mark.browser

PRICE = b"# Quagga market\n\nA quagga costs 77 ducats at the market of Zanzibar.\n"
QUESTION = "How many ducats does a quagga cost at the market?"
LONG_MS = 60_000


@dataclass(frozen=True)
class App:
    url: str
    folder: Path
    temporary: Path


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app of these tests' own: they change its course."""
    need_chromium()
    base = tmp_path_factory.mktemp("changing")
    folder, temporary = base / "demo", base / "temporary"
    temporary.mkdir()
    (folder / "labs").mkdir(parents=True)
    shutil.copy(ROOT / "corpora/llm-systems/labs/lab1-attention.ipynb", folder / "labs")
    (folder / "rules.md").write_text("# Rules\n\nEach student has five late days.\n")
    ingest(folder, base / "store")
    with running_app(base / "store", TMPDIR=str(temporary)) as url:
        yield App(url, folder, temporary)
    assert list(temporary.glob("lectern-own-*")) == [], "own files outlived the app"


@pytest.fixture
def visit(app: App) -> Iterator[Visit]:
    with browser_visit() as visit:
        visit.open(app.url)
        yield visit
        assert visit.hosts - {""} == {"127.0.0.1"}
        assert visit.complaints == []


def go_to(visit: Visit, page: str) -> None:
    visit.page.get_by_role("link", name=page, exact=True).click()
    visit.settle()


def put_away(visit: Visit) -> None:
    """Puts away what is told of an earlier job, so that what is told next is of the one to come."""
    if (button := visit.page.get_by_role("button", name="Put this away")).count():
        button.click()
        button.wait_for(state="detached")
        visit.settle()


def payload(name: str, data: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def upload(visit: Visit, *files: FilePayload) -> None:
    """Chooses files, adds them and waits until they are indexed."""
    page = visit.page
    put_away(visit)
    if not page.get_by_test_id("stFileUploader").is_visible():  # it is there in a closed expander, too
        page.get_by_text("Add files").first.click()
    page.locator("input[type=file]").set_input_files(list(files))
    page.get_by_role("button", name=f"Add {len(files)} file").click()
    page.get_by_text("done in").wait_for(timeout=LONG_MS)
    visit.settle()


def choose(visit: Visit, title: str, act: str) -> None:
    """An entry of a document's menu."""
    visit.page.get_by_role("button", name=title).first.click()
    visit.page.get_by_text(act, exact=True).click()
    visit.settle()


def delete(visit: Visit, title: str) -> None:
    put_away(visit)
    choose(visit, title, "Delete…")
    visit.page.get_by_role("button", name="Delete it").click()
    visit.page.get_by_test_id("stDialog").wait_for(state="detached", timeout=LONG_MS)
    visit.page.get_by_text("done in").wait_for(timeout=LONG_MS)
    visit.settle()


def test_what_is_uploaded_is_answered_from_and_what_is_deleted_is_gone(visit: Visit, app: App):
    page = visit.page
    go_to(visit, "Materials")
    upload(visit, payload("quagga.md", PRICE))
    assert (app.folder / "uploads/quagga.md").read_bytes() == PRICE
    page.get_by_role("button", name="Quagga market").wait_for()

    choose(visit, "Quagga market", "Open")
    page.get_by_test_id("stDialog").get_by_text("77 ducats").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("!location.search.includes('source=')")

    choose(visit, "Quagga market", "Ask about this only")
    page.wait_for_function("location.search.includes('path=')")
    visit.ask(QUESTION)
    assert "77 ducats" in page.get_by_test_id("stChatMessageContent").nth(1).inner_text()
    page.get_by_role("button", name="[1] uploads/quagga.md").first.wait_for()
    answered = page.url

    go_to(visit, "Materials")
    delete(visit, "Quagga market")
    assert page.get_by_role("button", name="Quagga market").count() == 0
    assert not (app.folder / "uploads/quagga.md").exists()

    visit.open(answered)
    page.get_by_text("materials that have been removed").wait_for()
    assert "77 ducats" not in page.get_by_test_id("stApp").inner_text()
    visit.open(app.url)
    visit.ask(QUESTION)
    assert "77" not in page.get_by_test_id("stChatMessageContent").nth(1).inner_text()


def test_own_files_are_seen_in_their_session_alone_and_survive_a_lost_connection(app: App):
    with browser_visit() as visit:
        cut = cut_connection(visit.page)
        visit.open(app.url)
        page = visit.page
        go_to(visit, "Materials")
        page.get_by_test_id("stMain").get_by_role("button", name="Use your own files").click()
        page.get_by_text("Nobody else sees them").first.wait_for()
        visit.settle()
        assert page.get_by_test_id("stFileUploader").is_visible(), "closed, as it was in the course before"
        upload(visit, payload("okapi.md", b"# Okapi market\n\nAn okapi costs 55 thalers at the market of Zanzibar.\n"))
        assert len(list(app.temporary.glob("lectern-own-*"))) == 1
        page.get_by_role("button", name="Ask about your files").click()
        page.wait_for_function("location.search.includes('course=your-files')")
        visit.ask("How many thalers does an okapi cost at the market?")
        assert "55 thalers" in page.get_by_test_id("stChatMessageContent").nth(1).inner_text()
        page.get_by_role("button", name="[1] okapi.md").first.wait_for()

        other = visit.another().page
        for address in (page.url, f"{app.url}/?course=your-files"):
            other.goto(address)
            other.get_by_text("This link leads to a course that is not here").wait_for(timeout=LONG_MS)
            assert "thalers" not in other.get_by_test_id("stApp").inner_text()
        other.goto(app.url)
        other.get_by_role("link", name="Materials", exact=True).click()
        other.get_by_role("button", name="Rules").wait_for(timeout=LONG_MS)
        assert "kapi" not in other.get_by_test_id("stApp").inner_text()

        cut()
        go_to(visit, "Materials")
        page.get_by_role("button", name="Okapi market").wait_for(timeout=LONG_MS)
        page.get_by_text("Add files").first.click()
        page.get_by_role("button", name="Delete all of your files").click()
        page.get_by_role("button", name="Use your own files").first.wait_for(timeout=LONG_MS)
        assert list(app.temporary.glob("lectern-own-*")) == []


def cut_connection(page: Page) -> Callable[[], None]:
    """Cuts the page's connection to its server when called; Streamlit's page then connects again, to its session."""
    routes: list[WebSocketRoute] = []

    def forward(route: WebSocketRoute) -> None:
        routes.append(route)
        route.connect_to_server()

    page.route_web_socket(lambda url: "/_stcore/stream" in url, forward)

    def cut() -> None:
        connections = len(routes)
        routes[-1].close()
        deadline = 200
        while len(routes) == connections:
            page.wait_for_timeout(100)
            deadline -= 1
            assert deadline, "the page did not connect again"

    return cut


def test_names_of_files_do_nothing_but_name_them(visit: Visit, app: App):
    page = visit.page
    go_to(visit, "Materials")
    names = ["<img src=x onerror=document.title=1>.md", "\u202egnp.md", f"{'long ' * 60}.md", "![x](https:evil.example).md"]
    upload(visit, *(payload(name, f"Nothing of note {number}.\n".encode()) for number, name in enumerate(names)))
    there = sorted(path.name for path in (app.folder / "uploads").glob("*.md"))
    assert there == [
        "__x_(https_evil.example).md",
        "_img src=x onerror=document.title=1_.md",
        "gnp.md",
        f"{('long ' * 60)[:117].rstrip()}.md",
    ]
    shown = page.get_by_test_id("stMain").inner_text().replace("\u2060", "")
    assert all(name in shown for name in there)
    assert page.title() != "1"
    assert page.locator("[data-testid=stMain] img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
