"""axe-core on every page, light and dark, wide and narrow: nothing serious or critical.

A page is a name, an address and what is done there; add a row to PAGES for a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from axe import Violation, need_axe, violations, worst
from playwright.sync_api import Browser, Page
from running_app import Visit, browser_visit, need_chromium, running_app

pytestmark = pytest.mark.browser

LOOKS = ((1280, 900, "light"), (360, 740, "dark"))
"""Each width and each scheme once; all four pairs take twice as long and have shown nothing else."""
QUESTIONS = {
    "answer": "What does the KV cache store for each layer and each token?",
    "quote": "What does the zebra policy say about apples?",
    "refusal": "Who won the football championship of 1954 in Bern?",
}
"""What is asked once, for all the tests here: their conversations have addresses."""


def nothing(page: Page) -> None:
    """The page as it opens."""


def unfold(page: Page) -> None:
    for folded in page.get_by_test_id("stMainBlockContainer").get_by_test_id("stExpander").locator("summary").all():
        folded.click()
    page.wait_for_timeout(500)


def open_sidebar(page: Page) -> None:
    """On a narrow page it is folded away."""
    if page.get_by_test_id("stExpandSidebarButton").is_visible():
        page.get_by_test_id("stExpandSidebarButton").click()
        page.wait_for_timeout(500)


def open_settings(page: Page) -> None:
    open_sidebar(page)
    page.get_by_role("button", name="Settings").click()
    page.get_by_text("For your next answers").wait_for()


def open_courses(page: Page) -> None:
    open_sidebar(page)
    page.get_by_role("combobox", name="Course").click()
    page.wait_for_timeout(300)


def open_source(page: Page) -> None:
    page.locator("[class*='st-key-source-'] button").first.click()
    page.get_by_test_id("stDialog").wait_for(timeout=20_000)
    page.wait_for_timeout(700)


def open_filters(page: Page) -> None:
    open_sidebar(page)
    page.get_by_text("Search only in").click()
    page.wait_for_timeout(500)


def open_conversation(page: Page) -> None:
    open_sidebar(page)
    page.get_by_text("This conversation").click()
    page.wait_for_timeout(500)


def show_quote(page: Page) -> None:
    """What a citation rests on, as the focus shows it."""
    page.locator("[data-testid=stMainBlockContainer] a[href*='source=']").first.focus()
    page.locator(".lectern-quote").wait_for()


@dataclass(frozen=True, slots=True)
class Shown:
    """`address` is a path, or the name of a question whose conversation is opened."""

    address: str = "/"
    act: Callable[[Page], None] = nothing


PAGES = {
    "first page": Shown(),
    "sidebar": Shown(act=open_sidebar),
    "list of courses": Shown(act=open_courses),
    "settings": Shown(act=open_settings),
    "answer": Shown("answer"),
    "answer, unfolded": Shown("answer", unfold),
    "answer, a citation's quote": Shown("answer", show_quote),
    "answer, its conversation": Shown("answer", open_conversation),
    "filters": Shown(act=open_filters),
    "refusal": Shown("refusal"),
    "opened page": Shown("answer", open_source),
    "opened text": Shown("quote", open_source),
    "materials": Shown("/materials"),
    "insights": Shown("/insights"),
    "evaluation": Shown("/evaluation"),
    "unknown course": Shown("/?course=none"),
    "deleted conversation": Shown("/?conversation=0"),
    "deleted source": Shown("/?source=999999.1"),
}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    need_chromium()
    need_axe()


@pytest.fixture(scope="module")
def addresses(app_url: str) -> dict[str, str]:
    """Question → the address of its conversation."""
    found = {}
    with browser_visit() as visit:
        for name, question in QUESTIONS.items():
            visit.open(app_url)
            visit.ask(question)
            found[name] = visit.page.url
    return found


def look(browser: Browser, address: str, act: Callable[[Page], None] = nothing) -> Iterator[tuple[str, list[Violation]]]:
    """The page in each look, with what axe-core finds there."""
    for width, height, scheme in LOOKS:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        page.locator("[data-testid=stHeading], [data-testid=stAlert]").first.wait_for(timeout=30_000)
        Visit(page).settle()
        act(page)
        yield f"{width} px, {scheme}", violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page is wider than the window"
        context.close()


def check(name: str, seen: Iterator[tuple[str, list[Violation]]]) -> None:
    """Fails with all that is serious or critical in any size; `pytest -s` shows the numbers of docs/reliability.md."""
    looked = list(seen)
    bad = "\n".join(f"{where}: {one}" for where, found in looked for one in worst(found))
    print(f"{name}: {len(looked)} looks, {sum(len(found) for _, found in looked)} violations of any kind")
    assert not bad, f"{name}\n{bad}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_nobody_out(name: str, addresses: dict[str, str], app_url: str):
    shown = PAGES[name]
    address = addresses.get(shown.address) or f"{app_url}{shown.address}"
    with browser_visit() as visit:
        check(name, look(visit.page.context.browser, address, shown.act))


# --- without a course


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


@pytest.mark.parametrize(("which", "words"), [("empty_url", "no course here yet"), ("locked_url", "Log in"), ("broken_url", "not set up")])
def test_a_page_without_a_course_keeps_nobody_out(which: str, words: str, request: pytest.FixtureRequest):
    with browser_visit() as visit:
        check(
            which,
            look(visit.page.context.browser, request.getfixturevalue(which), lambda page: page.get_by_text(words).first.wait_for()),
        )
