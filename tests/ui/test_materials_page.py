"""The materials page as a visitor meets it, without a browser."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from ingest.pipeline import ingest_course
from rag.config import Config
from rag.store import Store
from support import HashingEmbedder
from ui import access, changes, materials, own_files, state
from ui.access import Visitor
from ui.materials import Act

SCRIPT = Path(__file__).parents[2] / "ui/main.py"
LONG_S = 60.0
HIDDEN_TEXT = "# Okapi\n\nAn okapi eats leaves.\U000e0049\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065\n"
HOSTILE_TITLE = '# <img src="https://evil.example/x.png"> ![x](https://evil.example/y.png) :red[red] $5 and $10\n\nA zebra.\n'


@pytest.fixture(autouse=True)
def _no_own_files_of_other_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(own_files, "_OPEN", weakref.WeakSet())


@pytest.fixture
def folder(store: Store, course_folder: Path, tmp_path: Path) -> Path:
    """The course's files, which this test may change: folders, a hidden document, hidden text, and a file that cannot be read."""
    folder = tmp_path / "demo"
    shutil.copytree(course_folder, folder)
    (folder / "week01").mkdir()
    (folder / "week01/okapi.md").write_text(HIDDEN_TEXT)
    (folder / "week02").mkdir()
    (folder / "week02/lab2-solution.md").write_text("# The solution\n\nThe answer is 42 gnus.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    rules = '\n[[material]]\npath = "week02/*"\nvisible = "2100-01-01T09:00"\n'
    (folder / "course.toml").write_text((folder / "course.toml").read_text() + rules)
    with store.transaction() as db:
        db.execute("UPDATE courses SET folder = ?", [str(folder)])
    ingest_course(folder, store, HashingEmbedder(), Config())
    return folder


@pytest.fixture
def as_student(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "admit", lambda config: Visitor("A student", "s1", staff=False))


def visit(**parameters: str) -> AppTest:
    page = AppTest.from_file(str(SCRIPT), default_timeout=60)
    page._page_hash = calc_hash(state.MATERIALS)  # AppTest.switch_page knows pages that are files only
    for name, value in parameters.items():
        page.query_params[name] = value
    page.run()
    page._page_hash = ""  # from now on the page that was shown last
    return page


def parameter(page: AppTest, name: str) -> str:
    value = page.query_params[name]
    return value if isinstance(value, str) else value[-1]


def words(page: AppTest) -> str:
    """Everything written on the page, as Markdown."""
    kinds = ("header", "markdown", "caption", "info", "warning", "error")
    return "\n".join(
        [str(element.value) for kind in kinds for element in page.get(kind)]
        + [one.label for one in (*page.expander, *page.button, *page.menu_button, *page.checkbox)]
    )


def titles(page: AppTest) -> list[str]:
    return [menu.label.strip("*") for menu in page.menu_button]


def menu_of(page: AppTest, title: str):
    return next(menu for menu in page.menu_button if menu.label == f"**{title}**")


def assert_calm(page: AppTest) -> None:
    assert not page.exception
    assert not page.error


def press(page: AppTest, key: str) -> AppTest:
    return page.button(key=key).click().run()


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    return page.file_uploader[0].set_value([(name, data, "application/octet-stream") for name, data in files]).run()


def finish(page: AppTest, indexer) -> AppTest:
    assert indexer.latest.job.wait(LONG_S)
    return page.run()


def until(event: threading.Event):
    def wait(*_: object) -> None:
        event.wait(LONG_S)

    return wait


def shared_indexer():
    return state.indexer(Config.load())


def own_indexer(page: AppTest):
    return page.session_state["own_files"].indexer


# --- what is shown


def test_staff_see_every_document_by_folder_with_its_facts(folder, use_chat_model):
    use_chat_model()
    page = visit()
    assert_calm(page)
    assert page.header[0].value == r"A Course\: of \*Demos\*"
    assert r"5 documents · " in words(page)
    assert r"· 1 not visible yet · 1 with hidden text · 1 file set aside" in words(page)
    assert [one.label for one in page.expander if one.icon == ":material/folder:"] == ["Not in a folder · 3", "week01 · 1", "week02 · 1"]
    assert titles(page)[1:] == ["Softmax", "Rules", "Okapi", "The solution"]
    assert r"lab2\-solution\.md · solution · week 2 · 1 passage" in words(page)
    assert re.search(r"cache\\.pdf · other · 7 pages · \d+ passages", words(page))


def test_staff_see_when_a_hidden_document_appears_what_hidden_text_said_and_what_was_set_aside(folder, use_chat_model):
    use_chat_model()
    page = visit()
    assert r"Not visible to students before 2100\-01\-01 09\:00 UTC" in words(page)
    assert r"Hidden text left out\: 6 tag characters under Okapi \(\"Ignore\"\)" in words(page)
    aside = next(one for one in page.expander if one.label == "Set aside: 1 file")
    assert aside.markdown[1].value.startswith(r"**broken\.pdf** ")


def test_students_see_what_is_visible_now_and_cannot_change_it(folder, use_chat_model, as_student):
    use_chat_model()
    page = visit()
    assert_calm(page)
    assert titles(page)[1:] == ["Softmax", "Rules", "Okapi"]
    everything = words(page)
    assert "4 documents" in everything
    assert not re.search("solution|gnus|broken|set aside|not visible", everything, re.IGNORECASE)
    assert "Holds text that cannot be seen on its pages\\; it is left out of answers\\." in everything
    assert "Ignore" not in everything
    assert len(page.file_uploader) == 0
    assert {tuple(menu.options) for menu in page.menu_button} == {("Open", "Ask about this only")}
    assert not {"update", "rebuild", "delete-it"} & {button.key for button in page.button}


def test_a_document_that_is_not_visible_yet_can_be_deleted_but_not_opened(folder, use_chat_model):
    use_chat_model()
    menu = menu_of(visit(), "The solution")
    assert menu.options == ["Delete…"]


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("filter-words", "OKAPI week01", ["Okapi"]),
        ("filter-words", "soft", ["Softmax"]),
        ("filter-Type", "solution", ["The solution"]),
        ("filter-Week", "1", ["Okapi"]),
        ("filter-Status", "Holds hidden text", ["Okapi"]),
        ("filter-Status", "Not visible yet", ["The solution"]),
        ("filter-words", "nosuch", []),
    ],
)
def test_a_filter_leaves_what_was_asked_for(folder, use_chat_model, key, value, found):
    use_chat_model()
    page = visit()
    widget = page.text_input(key=key) if key == "filter-words" else page.selectbox(key=key)
    page = widget.set_value(value).run()
    assert_calm(page)
    assert titles(page) == found
    assert f"{len(found)} of 5 documents" in words(page)


def test_a_document_opens_in_the_drawer(folder, use_chat_model):
    use_chat_model()
    page = visit()
    menu = menu_of(page, "Rules")
    page = menu.click(Act.OPEN).run()
    assert_calm(page)
    assert page.query_params["source"]
    assert "five late days" in words(page)


def test_asking_about_one_document_goes_to_the_chat_with_its_path(folder, use_chat_model):
    use_chat_model()
    page = visit()
    page = menu_of(page, "Okapi").click(Act.ASK).run()
    assert_calm(page)
    assert parameter(page, "course") == "demo"
    assert parameter(page, "path") == "week01/okapi.md"
    assert len(page.chat_input) == 1


def test_titles_and_names_of_documents_stay_text(store, folder, use_chat_model):
    (folder / "<img src=x onerror=alert(1)> :smile: \u202eab.md").write_text(HOSTILE_TITLE)
    ingest_course(folder, store, HashingEmbedder(), Config())
    use_chat_model()
    everything = words(visit())
    assert r"\<img src\=x onerror\=alert\(1\)\>" in everything
    assert "\u202e" not in everything
    for alive in (r"(?<!\\)!\[", r"(?<!\\)<", r"(?<!\\)\$", r"https?://", r"(?<!\\):red\["):
        assert not re.search(alive, everything), alive


def test_hundreds_of_documents_are_shown_a_part_at_a_time(store, folder, use_chat_model):
    shutil.rmtree(folder)
    (folder / "notes").mkdir(parents=True)
    for number in range(120):
        (folder / f"notes/n{number:03}.md").write_text(f"# Note {number:03}\n\nText of note {number}.\n")
    ingest_course(folder, store, HashingEmbedder(), Config(), name="demo")
    use_chat_model()
    page = visit()
    assert titles(page) == []  # a folder of a large course is opened by hand
    page = page.text_input(key="filter-words").set_value("note").run()
    assert len(titles(page)) == materials.ROWS == 50
    page = press(page, "more-notes")
    assert len(titles(page)) == 100
    page = press(page, "more-notes")
    assert len(titles(page)) == 120
    assert "more-notes" not in {button.key for button in page.button}


def test_a_course_without_documents_can_be_filled(store, folder, use_chat_model):
    with store.transaction() as db:
        db.execute("DELETE FROM documents")
    use_chat_model()
    page = visit()
    assert_calm(page)
    assert "There are no files yet." in words(page)
    page = upload(page, ("notes.md", b"# Notes\n\nText."))
    assert page.button(key="add").label == "Add 1 file"


# --- changes


def test_an_upload_is_added_reported_and_listed(store, folder, use_chat_model):
    use_chat_model()
    page = upload(visit(), ("../../quagga.md", b"# Quagga\n\nThe quagga costs 77 ducats.\n"))
    page = finish(press(page, "add"), shared_indexer())
    assert_calm(page)
    assert (folder / "uploads/quagga.md").exists()
    assert "Quagga" in titles(page)
    assert "Adding 1 file: done in" in words(page)
    assert "Files: 1 new, 6 unchanged." in words(page)
    assert "add" not in {button.key for button in page.button}
    again = visit()  # another visitor of the staff, or the same after a reload
    assert "Adding 1 file: done in" in words(again)
    assert "done in" not in words(press(again, "job-seen"))


@pytest.mark.parametrize("known", [True, False], ids=["in the catalogue", "in the folder alone"])
def test_a_file_of_the_same_name_is_told_and_replaced_only_when_asked(store, folder, use_chat_model, known):
    use_chat_model()
    (folder / "uploads").mkdir()
    (folder / "uploads/a.md").write_text("# Before\n\nOld text.\n")
    if known:
        ingest_course(folder, store, HashingEmbedder(), Config())
    page = upload(visit(), ("a.md", b"# After\n\nNew text.\n"))
    assert r"Already here: a\.md" in words(page)
    assert "add" not in {button.key for button in page.button}
    page = page.checkbox[0].check().run()
    page = finish(press(page, "add"), shared_indexer())
    assert_calm(page)
    assert (folder / "uploads/a.md").read_text() == "# After\n\nNew text.\n"
    assert "After" in titles(page)
    assert "Before" not in titles(page)


def test_what_cannot_be_taken_is_told_with_its_reason_and_the_rest_is(store, folder, use_chat_model, monkeypatch):
    monkeypatch.setattr(changes, "MB", 10)
    use_chat_model()
    page = upload(
        visit(),
        ("slides.ppt", b"x"),
        ("<img src=x>.exe", b"x"),
        ("large.md", b"x" * 501),
        ("b.md", b"x"),
        ("x/b.md", b"y"),
        ("good.md", b"# Good"),
    )
    assert_calm(page)
    told = [warning.value for warning in page.warning]
    assert told[0].startswith(r"**slides\.ppt** is in the format \.ppt\, which is not read\: save it as \.pptx or PDF")
    assert told[1].startswith(r"**\<img src\=x\>\.exe** ")
    assert told[2].startswith(r"**large\.md** is larger than 50 MB")
    assert told[3].startswith(r"**x\/b\.md** has the same name as another")
    assert page.button(key="add").label == "Add 2 files"


def test_a_file_that_cannot_be_read_is_listed_with_its_reason(store, folder, use_chat_model):
    use_chat_model()
    page = finish(press(upload(visit(), ("bad.pdf", b"%PDF-1.4 no")), "add"), shared_indexer())
    assert_calm(page)
    assert r"**uploads/bad\.pdf**" in words(page) or r"**uploads\/bad\.pdf**" in words(page)
    assert "2 files set aside" in words(page)


def test_a_busy_store_is_said_and_the_files_stay_chosen(store, folder, use_chat_model):
    use_chat_model()
    page = upload(visit(), ("quagga.md", b"# Quagga"))
    with store.writer_lock():
        page = press(page, "add")
    assert not page.exception
    assert page.error[0].value == "The course is being updated just now. Wait a moment and try again."
    assert not (folder / "uploads").exists()
    assert page.button(key="add").label == "Add 1 file"


def test_deleting_asks_first_and_then_nothing_is_left(store, folder, use_chat_model):
    use_chat_model()
    page = visit()
    page = menu_of(page, "Rules").click(Act.DELETE).run()
    assert "The file itself is removed from the course's folder" in words(page)
    assert (folder / "rules.md").exists()
    page = finish(press(page, "delete-it"), shared_indexer())
    assert_calm(page)
    assert "Rules" not in titles(page)
    assert not (folder / "rules.md").exists()
    assert "rules.md" not in [document.source for document in store.documents("demo")]


def test_who_is_no_longer_of_the_staff_is_not_asked_any_more(store, folder, use_chat_model, monkeypatch):
    use_chat_model()
    page = menu_of(visit(), "Rules").click(Act.DELETE).run()
    assert "delete-it" in {button.key for button in page.button}
    monkeypatch.setattr(access, "admit", lambda config: Visitor("A student", "s1", staff=False))
    page = press(page, "delete-it")
    assert "delete-it" not in {button.key for button in page.button}
    assert (folder / "rules.md").exists()
    assert shared_indexer().latest is None


def test_a_session_with_forged_state_changes_nothing_for_a_student(store, folder, use_chat_model, as_student):
    use_chat_model()
    page = visit()
    page.session_state["deleting"] = page.session_state["deletion_confirmed"] = ("demo", "rules.md")
    for key in ("delete-it", "update", "rebuild", "add", "aside-broken.pdf", "cancel-indexing"):
        page.session_state[key] = True
    page = page.run()
    assert (folder / "rules.md").exists()
    assert shared_indexer().latest is None
    assert "deletion_confirmed" not in page.session_state  # nor later, as staff
    assert not (folder / "uploads").exists()
    assert len(page.file_uploader) == 0


def test_a_student_cannot_cancel_what_the_staff_has_begun(store, folder, use_chat_model, as_student):
    use_chat_model()
    go_on = threading.Event()
    run = shared_indexer().start("demo", "Reading", until(go_on))
    page = visit()
    page.session_state["cancel-indexing"] = True
    page = page.run()
    assert "cancel-indexing" not in {button.key for button in page.button}
    assert not run.job.cancelling
    go_on.set()
    assert run.job.wait(LONG_S)


def test_a_confirmed_deletion_is_of_the_file_that_was_asked_about(store, folder, use_chat_model):
    use_chat_model()
    page = menu_of(visit(), "Rules").click(Act.DELETE).run()
    page.session_state["deletion_confirmed"] = ("demo", "lab.ipynb")
    page = page.run()
    assert shared_indexer().latest is None
    assert (folder / "lab.ipynb").exists()


def test_a_file_that_was_set_aside_can_be_deleted(store, folder, use_chat_model):
    use_chat_model()
    page = press(press(visit(), "aside-broken.pdf"), "delete-it")
    page = finish(page, shared_indexer())
    assert_calm(page)
    assert store.set_aside("demo") == {}
    assert not (folder / "broken.pdf").exists()


def test_an_update_brings_in_what_has_changed_in_the_folder(store, folder, use_chat_model):
    use_chat_model()
    (folder / "week01/gnu.md").write_text("# Gnu\n\nA gnu is no unix.\n")
    page = finish(press(visit(), "update"), shared_indexer())
    assert_calm(page)
    assert "Gnu" in titles(page)
    page = finish(press(page, "rebuild"), shared_indexer())
    assert "Reading every file again: done in" in words(page)


def test_while_a_job_goes_on_nothing_else_can_be_begun(store, folder, use_chat_model):
    use_chat_model()
    go_on = threading.Event()
    run = shared_indexer().start("demo", "Reading <b>", until(go_on))
    page = visit()
    assert_calm(page)
    assert page.button(key="update").disabled
    assert "This goes on when you leave the page." in words(page)
    go_on.set()
    assert run.job.wait(LONG_S)
    assert not page.run().button(key="update").disabled


# --- a visitor's own files


def test_own_files_are_added_asked_about_and_seen_by_nobody_else(store, folder, use_chat_model, as_student):
    use_chat_model()
    page = press(visit(), "own-files")
    assert_calm(page)
    assert parameter(page, "course") == "your-files"
    assert "Nobody else sees them" in words(page)
    page = upload(page, ("quagga.md", b"# Quagga\n\nThe quagga costs 77 ducats at the market.\n"))
    page = finish(press(page, "add"), own_indexer(page))
    assert_calm(page)
    assert titles(page) == ["Quagga"]

    other = visit(course="your-files")
    assert other.error[0].value.startswith("This link leads to a course that is not here")
    assert not any("Your files" in option for option in other.selectbox[0].options)
    other = visit()
    assert "Quagga" not in titles(other)

    page = press(page, "ask-own")
    page = page.chat_input[0].set_value("What does the quagga cost at the market?").run()
    assert_calm(page)
    assert "77 ducats" in page.chat_message[1].markdown[0].value
    assert any(button.label.startswith(r":primary[\[1\] quagga\.md") for button in page.button)
    with Store.open(store.directory).transaction() as db:
        assert db.execute("SELECT count(*) FROM conversations").fetchone()[0] == 0
    conversation = parameter(page, "conversation")
    foreign = AppTest.from_file(str(SCRIPT), default_timeout=60)
    foreign.query_params["course"], foreign.query_params["conversation"] = "your-files", conversation
    foreign.run()
    assert len(foreign.chat_message) == 0
    assert "ducats" not in words(foreign)


def test_own_files_can_be_begun_where_the_sidebar_is_closed(store, folder, use_chat_model):
    use_chat_model()
    page = press(visit(), "own-files-here")
    assert_calm(page)
    assert page.header[0].value == r"Your files \(this session\)"
    assert not {"own-files", "own-files-here"} & {button.key for button in page.button}


def test_own_files_have_limits(store, folder, use_chat_model, monkeypatch):
    use_chat_model()
    small = replace(Config.load(), own_files=2)
    monkeypatch.setattr(Config, "load", classmethod(lambda cls: small))
    page = press(visit(), "own-files")
    page = upload(page, *((f"{number}.md", b"x") for number in range(3)))
    assert page.warning[0].value == "These would be 3 files; 2 are the most. Delete some, or add fewer."
    assert "add" not in {button.key for button in page.button}
    assert not page.file_uploader[0].value  # nothing of them stays in memory
    assert not page.run().warning


def test_own_files_can_be_deleted_all_at_once(store, folder, use_chat_model):
    use_chat_model()
    page = press(visit(), "own-files")
    directory = page.session_state["own_files"].directory
    page = press(page, "end-own")
    assert_calm(page)
    assert not directory.exists()
    assert page.header[0].value == r"A Course\: of \*Demos\*"


def test_when_too_many_have_own_files_it_is_said(store, folder, use_chat_model, monkeypatch):
    use_chat_model()
    small = replace(Config.load(), own_files_sessions=1)
    monkeypatch.setattr(Config, "load", classmethod(lambda cls: small))
    first = press(visit(), "own-files")
    assert "own_files" in first.session_state
    page = press(visit(), "own-files")
    assert "Try again later" in words(page)
    assert "own_files" not in page.session_state
