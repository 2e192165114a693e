"""Material that is not yet visible stays unseen on every way to its text, and is seen from its moment on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.pipeline import ingest_course
from rag import conversations
from rag.answer import answer
from rag.config import NONE, Config
from rag.conversations import HIDDEN
from rag.course_retriever import CourseRetriever
from rag.engine import Engine
from rag.errors import QuestionError, StoreError
from rag.moments import ANY, EARLIEST
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder
from ui.sources import find_passage

MOMENT = "2100-01-01T09:00:00+00:00"
BEFORE, AFTER = "2100-01-01T08:59:59", "2100-01-01T04:00-05:00"
HIDDEN_FILE = "exam.md"


@pytest.fixture
def ingest(course_folder: Path, store: Store, embedder: HashingEmbedder) -> Callable[[], object]:
    (course_folder / HIDDEN_FILE).write_text("# Exam\n\nThe midterm asks for the Zanzibar aberration of a lens.\n")
    config = Config(store=store.directory, generator=NONE, confidence_floor=0.0)
    return lambda: ingest_course(course_folder, store, embedder, config)


@pytest.fixture
def engine(course_folder: Path, store: Store, embedder: HashingEmbedder, ingest: Callable[[], object]) -> Engine:
    (course_folder / "course.toml").write_text(f'[[material]]\npath = "{HIDDEN_FILE}"\nvisible = "2100-01-01T09:00"\n')
    ingest()
    config = Config(store=store.directory, generator=NONE, confidence_floor=0.0)
    return Engine(Searcher(store, embedder, config), None, config)


def found(engine: Engine, at: str | None) -> set[str]:
    return {hit.passage.source for hit in engine.searcher.search("Which Zanzibar aberration?", Scope("optics", at=at))}


OTHERS = {"syllabus.md", "notes/week02-lenses.md"}


@pytest.mark.parametrize(
    ("at", "seen"),
    [(None, False), (BEFORE, False), ("2099-12-31", False), (MOMENT, True), (AFTER, True), ("2100-01-02", True), (ANY, True)],
)
def test_both_legs_of_a_search_see_it_from_its_moment_on(engine: Engine, at: str | None, seen: bool) -> None:
    assert found(engine, at) == OTHERS | ({HIDDEN_FILE} if seen else set())


def test_a_search_an_instant_later_sees_what_has_become_visible_meanwhile(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for present, seen in (
        ("2099-12-31T23:00:00+00:00", False),
        (BEFORE + "+00:00", False),
        (MOMENT, True),
        ("2200-01-01T00:00:00+00:00", True),
    ):
        monkeypatch.setattr("rag.scopes.now", lambda present=present: present)
        assert (HIDDEN_FILE in found(engine, None)) == seen


def test_the_cache_of_scopes_does_not_grow_with_time(engine: Engine) -> None:
    for second in range(50):
        found(engine, f"2100-01-01T10:00:{second:02}")
        found(engine, f"2000-01-01T10:00:{second:02}")
    assert {scope.at for scope, _ in engine.searcher._scopes} == {ANY, EARLIEST}


def test_a_source_that_is_not_visible_cannot_be_opened(engine: Engine) -> None:
    store = engine.searcher.store
    (chunk_id,) = store.chunk_ids(Scope("optics", path=HIDDEN_FILE, at=ANY)).tolist()
    assert find_passage(store, "optics", str(chunk_id)) is None
    assert store.passages_in(Scope("optics", at=MOMENT), [chunk_id])[chunk_id].source == HIDDEN_FILE
    for read in (store.document_text, store.original):
        with pytest.raises(StoreError, match=r"has no document exam\.md"):
            read("optics", HIDDEN_FILE)
        assert "Zanzibar" in str(read("optics", HIDDEN_FILE, at=AFTER))
    assert {document.source for document in store.documents("optics", at=None)} == OTHERS
    assert {document.source for document in store.documents("optics")} == OTHERS | {HIDDEN_FILE}


def test_a_past_answer_that_cites_what_is_hidden_since_is_not_shown(
    engine: Engine, course_folder: Path, ingest: Callable[[], object]
) -> None:
    store = engine.searcher.store
    conversation = conversations.start(store, "optics", "What counts?")
    answered = answer("How much does the midterm count?", Scope("optics"), engine)
    assert answered.sources[0].passage.source == "syllabus.md"
    conversations.add_exchange(store, conversation.id, answered)
    assert conversations.messages(store, conversation)[1].answer is not None
    (course_folder / "course.toml").write_text('[[material]]\npath = "syllabus.md"\nvisible = 2100-01-01\n')
    ingest()
    reply = conversations.messages(store, conversation)[1]
    assert (reply.content, reply.answer) == (HIDDEN, None)


def test_another_moment_in_course_toml_changes_the_column_and_embeds_nothing(
    engine: Engine, course_folder: Path, ingest: Callable[[], object]
) -> None:
    (course_folder / "course.toml").write_text(f'[[material]]\npath = "{HIDDEN_FILE}"\nvisible = 2020-01-01T00:00:00+02:00\n')
    report = ingest()
    assert (report.files["changed"], report.embedded) == (1, 0)
    assert {d.source: d.visible_from for d in engine.searcher.store.documents("optics")}[HIDDEN_FILE] == "2019-12-31T22:00:00+00:00"
    assert found(engine, None) == OTHERS | {HIDDEN_FILE}


def test_front_matter_may_say_it_and_a_moment_that_is_none_sets_the_file_aside(
    course_folder: Path, store: Store, ingest: Callable[[], object]
) -> None:
    (course_folder / HIDDEN_FILE).write_text("---\nvisible: 2100-01-01T09:00\n---\n\nThe exam.\n")
    (course_folder / "other.md").write_text("---\nvisible: next week\n---\n\nThe solution.\n")
    report = ingest()
    assert {d.source: d.visible_from for d in store.documents("optics")} == {HIDDEN_FILE: MOMENT} | dict.fromkeys(OTHERS)
    (aside,) = report.set_aside
    assert aside["source"] == "other.md"
    assert "has visible 'next week' in its front matter; expected a date or time such as 2024-10-01" in aside["reason"]


def test_what_is_no_moment_is_an_error(engine: Engine) -> None:
    with pytest.raises(QuestionError, match="at is 'soon'; expected a date or time such as 2024-10-01 .*, or any"):
        found(engine, "soon")


@pytest.mark.parametrize(("at", "seen"), [(None, False), (AFTER, True)])
def test_the_langchain_retriever_takes_a_moment(engine: Engine, monkeypatch: pytest.MonkeyPatch, at: str | None, seen: bool) -> None:
    monkeypatch.setattr(Searcher, "from_config", lambda *_: engine.searcher)
    documents = CourseRetriever(course="optics", config=engine.config, at=at).invoke("Zanzibar aberration")
    assert (HIDDEN_FILE in {document.metadata["source"] for document in documents}) == seen
