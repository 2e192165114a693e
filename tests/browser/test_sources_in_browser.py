"""One source of each kind, opened by its link in a real browser: what is drawn, by keyboard, on a phone, in both themes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator
from running_app import ROOT, Visit, browser_visit, ingest, running_app

from ingest.office_pages import find_office
from rag.store import Store
from rag.types import Scope

pytestmark = pytest.mark.browser

KINDS = {
    "lectures/07-inference-kv-cache.pdf": ("KV cache", "Next page"),
    "lectures/04-training.pptx": ("Gradient clipping", "Next slide"),
    "syllabus.docx": ("One imaginary model", "Next page" if find_office() else "Next section"),
    "lectures/02-tokenization.md": ("Symbols at the start", "Next section"),
    "lectures/08-serving.html": ("slot-steps", "Next section"),
    "lectures/09-quantization.tex": ("A floating-point format", "Next section"),
    "labs/lab1-attention.ipynb": ("softmax_naive", "Next cell"),
    "labs/README.txt": ("HOW THE LABS WORK", "Next lines"),
    "transcripts/07-inference.srt": ("Good morning", "Next part"),
}
DRAWN = {".pdf"} | ({".pptx", ".docx"} if find_office() else set())


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of a passage of each kind in a running app."""
    folder = tmp_path_factory.mktemp("kinds") / "demo"
    for source in KINDS:
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "corpora/llm-systems" / source, folder / source)
    store = folder.parent / "store"
    ingest(folder, store)
    with running_app(store) as url:
        yield {source: f"{url}/?course=demo&source={chunk_with(store, source, words)}.1" for source, (words, _) in KINDS.items()}


def chunk_with(directory: Path, source: str, words: str) -> int:
    store = Store.open(directory)
    try:
        scope = Scope("demo", path=source)
        passages = store.passages_in(scope, [int(one) for one in store.chunk_ids(scope)]).values()
        return next(passage.chunk_id for passage in passages if words in passage.chunk.text)
    finally:
        store.close()


def open_link(visit: Visit, link: str) -> Locator:
    """The drawer that a link opens, drawn to its end."""
    visit.open(link)
    dialog = visit.page.get_by_test_id("stDialog")
    dialog.get_by_role("button", name="Search only here").wait_for(timeout=60_000)
    visit.settle()
    return dialog


@pytest.mark.parametrize("width", [1280, 360], ids=["wide", "phone"])
def test_a_source_of_each_kind_opens_and_turns(links: dict[str, str], width: int, tmp_path: Path):
    with browser_visit(width, 780) as visit:
        for source, (_, forth) in KINDS.items():
            dialog = open_link(visit, links[source])
            assert Path(source).name in dialog.inner_text()
            if Path(source).suffix in DRAWN:
                picture = dialog.locator("img").first
                assert picture.evaluate("image => image.complete && image.naturalWidth") >= 1000
                assert picture.get_attribute("alt").endswith("the cited words marked")
            else:
                assert dialog.locator("img").count() == 0
                assert dialog.get_by_test_id("stMarkdown").count() > 0
            assert dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth"), source
            unnamed = dialog.get_by_role("button").evaluate_all("all => all.filter(one => !(one.innerText || one.ariaLabel)).length")
            assert unnamed == 0, source
            before = dialog.inner_text()
            dialog.get_by_role("button", name=forth).click()
            visit.settle()
            assert dialog.inner_text() != before
            visit.page.screenshot(path=tmp_path / f"{Path(source).suffix[1:]}.png")
        assert visit.hosts - {""} == {"127.0.0.1"}
        assert visit.complaints == []


def test_the_drawer_works_by_keyboard(links: dict[str, str]):
    with browser_visit() as visit:
        page = visit.page
        dialog = open_link(visit, links["labs/lab1-attention.ipynb"])
        place = re.search(r"Cell (\d+)", dialog.inner_text())[1]
        press_tab_until(visit, "Next cell")
        page.keyboard.press("Enter")
        page.get_by_text(f"Cell {int(place) + 1} (").wait_for()
        assert visit.page.evaluate("document.activeElement.innerText") == "Next cell"
        press_tab_until(visit, "Link to this source")
        page.keyboard.press("Enter")
        visit.settle()
        assert re.search(r"http://127\.0\.0\.1:\d+/\S*\?course=demo&source=\d+\.1\s", dialog.inner_text() + "\n")
        press_tab_until(visit, "Search only here")
        page.keyboard.press("Enter")
        page.wait_for_function("location.search.includes('path=labs%2Flab1-attention.ipynb') && !location.search.includes('source=')")
        visit.settle()
        assert page.get_by_test_id("stDialog").count() == 0
        assert visit.complaints == []


def press_tab_until(visit: Visit, name: str) -> None:
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if name in visit.page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel || ''"):
            return
    raise AssertionError(f"no way to {name} by keyboard")


def test_a_page_can_be_enlarged_by_two_fingers(links: dict[str, str]):
    """On a phone the picture is as wide as the drawer: it holds more than that, and nothing forbids to zoom."""
    with browser_visit(360, 740) as visit:
        picture = open_link(visit, links["lectures/07-inference-kv-cache.pdf"]).locator("img").first
        assert picture.evaluate("image => image.naturalWidth") >= 3 * picture.bounding_box()["width"]
        zoom = visit.page.locator("meta[name=viewport]").get_attribute("content")
        assert "user-scalable=no" not in zoom
        assert "maximum-scale" not in zoom
        assert visit.complaints == []
