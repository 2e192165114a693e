"""axe-core on every page, light and dark, wide and narrow: nothing serious or critical.

A page is a name and what leads to it from a fresh visit; add a row to PAGES for a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe import need_axe, violations, worst
from playwright.sync_api import Page
from running_app import Visit, browser_visit, need_chromium, running_app

pytestmark = pytest.mark.browser

QUESTION = "What does the KV cache store for each layer and each token?"
WIDTHS = (1280, 360)


def first_page(visit: Visit) -> None:
    """As it opens: nothing asked yet."""


def answer(visit: Visit) -> None:
    visit.ask(QUESTION)


def unfolded_answer(visit: Visit) -> None:
    visit.ask(QUESTION)
    for folded in visit.page.get_by_test_id("stMain").get_by_test_id("stExpander").locator("summary").all():
        folded.click()
    visit.page.wait_for_timeout(500)


def refusal(visit: Visit) -> None:
    visit.ask("Who won the football championship of 1954 in Bern?")


def opened_page(visit: Visit) -> None:
    visit.ask(QUESTION)
    visit.open_source(".pdf · page")


def opened_text(visit: Visit) -> None:
    visit.ask("What does the zebra policy say about apples?")
    visit.open_source("zebra.md")


def settings(visit: Visit) -> None:
    open_sidebar(visit.page)
    visit.page.get_by_test_id("stPopover").get_by_role("button", name="Settings").click()
    visit.page.get_by_text("For your next answers").wait_for()


def course_list(visit: Visit) -> None:
    open_sidebar(visit.page)
    visit.page.get_by_role("combobox", name="Course").click()
    visit.page.wait_for_timeout(300)


def sidebar(visit: Visit) -> None:
    open_sidebar(visit.page)


def open_sidebar(page: Page) -> None:
    """On a narrow page it is folded away."""
    if page.get_by_test_id("stExpandSidebarButton").is_visible():
        page.get_by_test_id("stExpandSidebarButton").click()
        page.wait_for_timeout(500)


def at(path: str) -> Callable[[Visit], None]:
    """The page at an address."""

    def go(visit: Visit) -> None:
        visit.page.goto(visit.page.url.split("?")[0].rstrip("/") + path)
        visit.page.get_by_test_id("stHeading").or_(visit.page.get_by_test_id("stAlert")).first.wait_for(timeout=30_000)
        visit.settle()

    return go


PAGES: dict[str, Callable[[Visit], None]] = {
    "first page": first_page,
    "sidebar": sidebar,
    "list of courses": course_list,
    "settings": settings,
    "answer": answer,
    "answer, unfolded": unfolded_answer,
    "refusal": refusal,
    "opened page of a PDF": opened_page,
    "opened text": opened_text,
    "materials": at("/materials"),
    "insights": at("/insights"),
    "evaluation": at("/evaluation"),
    "unknown course": at("/?course=none"),
    "deleted conversation": at("/?conversation=0"),
    "deleted source": at("/?source=999999.1"),
}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    need_chromium()
    need_axe()


@pytest.fixture(params=["light", "dark"])
def dark(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "dark")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_nobody_out(name: str, width: int, dark: bool, app_url: str):
    with browser_visit(width=width, dark=dark) as visit:
        visit.open(app_url)
        PAGES[name](visit)
        found = violations(visit.page)
    report(f"{name}, {width} px, {'dark' if dark else 'light'}", len(found))
    assert not worst(found), "\n".join(map(str, worst(found)))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_fits_its_width(width: int, app_url: str):
    with browser_visit(width=width) as visit:
        visit.open(app_url)
        answer(visit)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.get_by_test_id("stMain").evaluate("main => main.scrollWidth - main.clientWidth") <= 0


@pytest.fixture(scope="module")
def empty_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Lectern with no course yet."""
    with running_app(tmp_path_factory.mktemp("empty") / "store") as url:
        yield url


@pytest.fixture(scope="module")
def locked_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Lectern with a login that nobody has passed."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "secrets.toml").write_text("[auth]\n")
    with running_app(folder / "store", STREAMLIT_SECRETS_FILES=str(folder / "secrets.toml")) as url:
        yield url


@pytest.fixture(scope="module")
def broken_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Lectern with settings that cannot be."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "lectern.toml").write_text("hits = -1\n")
    with running_app(folder / "store", LECTERN_CONFIG=str(folder / "lectern.toml")) as url:
        yield url


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("which", "words"), [("empty_url", "no course here yet"), ("locked_url", "Log in"), ("broken_url", "not set up")])
def test_a_page_without_a_course_keeps_nobody_out(which: str, words: str, width: int, dark: bool, request: pytest.FixtureRequest):
    url = request.getfixturevalue(which)
    with browser_visit(width=width, dark=dark) as visit:
        visit.page.goto(url)
        visit.page.get_by_text(words).first.wait_for(timeout=30_000)
        visit.settle()
        found = violations(visit.page)
    report(f"{which}, {width} px, {'dark' if dark else 'light'}", len(found))
    assert not worst(found), "\n".join(map(str, worst(found)))


def report(page: str, found: int) -> None:
    """Shown with `pytest -s`: the table of docs/reliability.md."""
    print(f"{page}: 0 serious or critical, {found} of any kind")
