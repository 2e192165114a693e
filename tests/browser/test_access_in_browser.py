"""Login, staff and students in a real browser, against a provider of our own."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from oidc_provider import CLIENT, SECRET, Provider, providing
from playwright.sync_api import Page
from running_app import ANSWER_MS, Visit, browser_visit, ingest, need_chromium, running_app

from rag.store import Store
from rag.types import Scope
from support import SAMPLE_COURSE

pytestmark = pytest.mark.browser

LECTURE = SAMPLE_COURSE / "lectures/07-inference-kv-cache.pdf"
TITLE = "Optics for the patient"
STAFF_PAGES = ("Insights", "Evaluation")
ADA = {"sub": "ada-1", "email": "Ada@Uni.edu", "email_verified": True, "name": "Ada Prof"}
BOB = {"sub": "bob-2", "email": "bob@uni.edu", "email_verified": True, "name": "Bob Student"}
EVE = {"sub": "eve-3", "email": "eve@uni.edu", "email_verified": True, "name": "Eve Student"}
STRANGER = {"sub": "zoe-4", "email": "zoe@elsewhere.example", "name": "Zoe"}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("class")


@pytest.fixture(scope="module")
def class_url(provider: Provider, class_folder: Path) -> Iterator[str]:
    """Lectern opened to a class: one course, one member of staff, students of one domain."""
    need_chromium()
    folder = class_folder
    (folder / "optics").mkdir()
    shutil.copy(LECTURE, folder / "optics")  # its pages are drawn
    (folder / "optics/course.toml").write_text(f'[course]\nname = "optics"\ntitle = "{TITLE}"\n')
    (folder / "optics/lenses.md").write_text("# Lenses\n\nA thin lens has the focal length f. Light through its center is not bent.\n")
    ingest(folder / "optics", folder / "store")
    (folder / "lectern.toml").write_text('generator = "none"\nstaff = ["ada@uni.edu"]\nstudents = ["@uni.edu"]\n')
    (folder / "secrets.toml").write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "{"c" * 40}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"
"""
    )
    settings = {"LECTERN_CONFIG": str(folder / "lectern.toml"), "STREAMLIT_SECRETS_FILES": str(folder / "secrets.toml")}
    with running_app(folder / "store", **settings) as url:
        yield url


@pytest.fixture
def visit(class_url: str) -> Iterator[Visit]:
    """Nothing but the app and the provider is asked, and the console complains of nothing."""
    with browser_visit() as visit:
        yield visit
        assert visit.hosts - {""} == {"127.0.0.1"}
        assert visit.complaints == []


def log_in(visit: Visit, url: str, provider: Provider, person: dict[str, object]) -> Page:
    """From a page that asks for it, back to the first page."""
    provider.person = person
    visit.page.goto(url)
    visit.page.get_by_role("button", name="Log in").click()
    visit.page.get_by_role("button", name="Log out").wait_for(timeout=30_000)
    visit.settle()
    return visit.page


def ask(page: Page, question: str) -> str:
    """Asks, and returns the address of the conversation."""
    page.get_by_test_id("stChatInputTextArea").fill(question)
    page.keyboard.press("Enter")
    page.get_by_text("Answered in").wait_for(timeout=ANSWER_MS)
    page.wait_for_function("location.search.includes('conversation=')")
    return page.url


@pytest.mark.parametrize("path", ["", "?course=optics&conversation=0", "materials", "insights", "evaluation", "?course=optics&source=1.1"])
def test_before_the_login_there_is_only_the_login(visit: Visit, class_url: str, path: str):
    page = visit.page
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    page.goto(f"{class_url}/{path}")
    page.get_by_role("button", name="Log in").wait_for(timeout=30_000)
    visit.settle()
    assert page.get_by_test_id("stMain").inner_text().split("\n\n") == ["Lectern", "Log in to ask about your courses.", "Log in"]
    assert page.get_by_test_id("stSidebar").count() == 0
    assert frames
    for word in {"Optics", "optics", "lenses", "focal"} - ({"optics"} if "optics" in path else set()):  # the address is said back
        assert not any(word in frame for frame in frames), word
    for name in (*STAFF_PAGES, "Materials"):
        assert page.get_by_role("link", name=name).count() == 0


def test_the_server_tells_strangers_nothing(class_url: str):
    with urllib.request.urlopen(f"{class_url}/health") as response:
        assert json.load(response) == {"status": "ready"}
    for path in ("_stcore/metrics", "media/0.png", "_stcore/upload_file/1/2"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{class_url}/{path}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{class_url}/_stcore/agent/interact")
    assert refused.value.code in (403, 404, 405)
    assert b"optics" not in refused.value.read().lower()


def test_staff_see_the_staff_pages(visit: Visit, class_url: str, provider: Provider):
    page = log_in(visit, class_url, provider, ADA)
    assert "Ada Prof · staff" in page.get_by_test_id("stSidebar").inner_text()
    page.get_by_role("heading", name=TITLE).wait_for()
    for name in STAFF_PAGES:
        page.get_by_role("link", name=name).click()
        visit.settle()
        assert "for the staff" not in page.get_by_test_id("stMain").inner_text()


def test_a_student_sees_no_staff_page_and_is_refused_one(visit: Visit, class_url: str, provider: Provider):
    page = log_in(visit, class_url, provider, BOB)
    assert "Bob Student" in page.get_by_test_id("stSidebar").inner_text()
    page.get_by_role("heading", name=TITLE).wait_for()
    page.get_by_role("link", name="Materials").wait_for()
    for name in STAFF_PAGES:
        assert page.get_by_role("link", name=name).count() == 0
        page.goto(f"{class_url}/{name.lower()}")
        page.get_by_text("This page is for the staff of the course.").wait_for(timeout=20_000)
        visit.settle()
        assert page.get_by_test_id("stMain").inner_text().strip() == "This page is for the staff of the course."


def test_a_conversation_opens_for_its_owner_alone(visit: Visit, class_url: str, provider: Provider):
    page = log_in(visit, class_url, provider, BOB)
    address = ask(page, "What does a thin lens have?")
    page.goto(address)
    page.get_by_text("Answered in").wait_for(timeout=30_000)
    for other in (EVE, ADA):
        context = page.context.browser.new_context()
        theirs = Visit(context.new_page())
        log_in(theirs, class_url, provider, other)
        theirs.page.goto(address)
        theirs.page.get_by_text("That conversation is not here").wait_for(timeout=30_000)
        theirs.settle()
        assert "What does a thin lens have" not in theirs.page.locator("body").inner_text()
        context.close()


def test_logging_out_ends_it_here_and_at_the_provider(visit: Visit, class_url: str, provider: Provider):
    page = log_in(visit, class_url, provider, BOB)
    address = ask(page, "Is light bent through the center?")
    logouts = provider.logouts
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in").wait_for(timeout=30_000)
    assert provider.logouts == logouts + 1
    assert not [cookie for cookie in page.context.cookies() if cookie["name"].startswith("_streamlit_user")]
    page.goto(address)
    page.get_by_role("button", name="Log in").wait_for(timeout=30_000)
    visit.settle()
    assert "Is light bent" not in page.locator("body").inner_text()
    page.get_by_role("button", name="Log in").click()  # and back to the link
    page.get_by_text("Answered in").wait_for(timeout=30_000)
    assert "Is light bent" in page.locator("body").inner_text()


def test_cookies_are_kept_from_scripts_and_other_sites(visit: Visit, class_url: str, provider: Provider):
    log_in(visit, class_url, provider, BOB)
    kept = {cookie["name"]: cookie for cookie in visit.page.context.cookies()}
    for name in ("_streamlit_user", "_streamlit_user_tokens"):
        assert (kept[name]["httpOnly"], kept[name]["sameSite"]) == (True, "Lax")
    assert "_streamlit_user" not in visit.page.evaluate("document.cookie")


def test_whoever_is_on_no_list_or_was_declined_stays_outside(visit: Visit, class_url: str, provider: Provider):
    page = visit.page
    page.goto(class_url)
    for person, words in ((None, "Log in to ask"), (STRANGER, "may not use Lectern here")):
        provider.person = person
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{class_url}/")
        page.get_by_text(words).wait_for(timeout=30_000)
        visit.settle()
        assert TITLE not in page.locator("body").inner_text()
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("Log in to ask").wait_for(timeout=30_000)


def test_an_old_login_is_asked_for_again(visit: Visit, class_url: str, provider: Provider):
    provider.person, provider.issued_at = BOB, time.time() - 13 * 3600
    page = visit.page
    try:
        page.goto(class_url)
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("Your login has expired").wait_for(timeout=30_000)
    finally:
        provider.issued_at = None
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name=TITLE).wait_for(timeout=30_000)


def test_a_picture_is_not_given_to_a_stranger_who_knows_its_name(visit: Visit, class_url: str, class_folder: Path, provider: Provider):
    page = log_in(visit, class_url, provider, BOB)
    store = Store.open(class_folder / "store")
    passage = store.passages_of(Scope("optics"), LECTURE.name)[0]
    store.close()
    page.goto(f"{class_url}/?course=optics&source={passage.chunk_id}.1")
    picture = page.get_by_test_id("stDialog").locator("img").first
    picture.wait_for(timeout=30_000)
    address = urllib.parse.urljoin(class_url, picture.get_attribute("src"))
    assert page.request.get(address).status == 200
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address)
