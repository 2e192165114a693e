import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from ingest.pipeline import ingest_course
from rag import answer_cache, prepared
from rag.answer import answer, stream_answer
from rag.answer_cache import AnswerCache
from rag.engine import Engine
from rag.events import Found
from rag.golden import read_questions
from rag.lane import COMPUTE_LANE
from rag.prepared import Prepared, Search
from rag.types import Answer, Latency, Scope, Turn
from support import SAMPLE_COURSE

OPTICS = Scope("optics")
QUESTION = "How many points does a late day cost?"
HISTORY = (Turn("user", "What blurs the image?"), Turn("assistant", "Spherical aberration blurs the image."))
SEARCHING = {"embed", "dense", "lexical", "fuse", "compose"}


@pytest.fixture
def preparing(engine: Engine) -> Engine:
    return replace(engine, prepared=Prepared(10))


def prepare(engine: Engine, *questions: str, scope: Scope = OPTICS, history: tuple[Turn, ...] = (), asker: str = "") -> None:
    engine.prepare(questions, scope, history, asker)
    engine.prepared.wait()


def untimed(answered: Answer) -> Answer:
    return replace(answered, latency=Latency({}, 0.0))


def test_a_prepared_question_is_answered_the_same_without_searching(preparing: Engine) -> None:
    afresh = answer(QUESTION, OPTICS, preparing)
    assert afresh.latency.stages.keys() >= SEARCHING
    assert "prepared" not in afresh.latency.stages
    prepare(preparing, f"  {QUESTION} ")
    found, ready = stream_answer(QUESTION, OPTICS, preparing)
    assert isinstance(found, Found)
    assert isinstance(ready, Answer)
    assert untimed(ready) == untimed(afresh)
    assert "prepared" in ready.latency.stages
    assert not SEARCHING & ready.latency.stages.keys()
    assert sum(ready.latency.stages.values()) == pytest.approx(ready.latency.total)


def test_the_embedder_is_left_alone_when_a_prepared_question_comes(preparing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(preparing, QUESTION)

    def fail(*_: object) -> None:
        raise AssertionError("nothing is embedded")

    monkeypatch.setattr(type(preparing.searcher.embedder), "embed_query", fail)
    monkeypatch.setattr(type(preparing.searcher.embedder), "embed_documents", fail)
    assert "5 points" in answer(QUESTION, OPTICS, preparing).text
    with pytest.raises(AssertionError, match="nothing is embedded"):
        answer("What blurs the image?", OPTICS, preparing)


words = st.lists(
    st.sampled_from("what is the late day cost lens image blurs midterm grade it and points about march".split()), min_size=1, max_size=8
)


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """One for all examples: preparing changes no answer."""
    from rag.config import NONE, Config
    from rag.retrieve import Searcher
    from rag.store import Store
    from support import HashingEmbedder

    folder = tmp_path_factory.mktemp("prepared")
    (folder / "optics").mkdir()
    (folder / "optics" / "a.md").write_text(
        "# Optics\n\n## Late work\n\nEach late day costs 5 points. No work is accepted after March 9.\n"
    )
    (folder / "optics" / "b.md").write_text("# Lenses\n\n## Aberration\n\nSpherical aberration blurs the image. The midterm counts 30 %.\n")
    store, embedder = Store.create(folder / "store"), HashingEmbedder()
    config = Config(store=store.directory, generator=NONE)
    ingest_course(folder / "optics", store, embedder, config)
    return Engine(Searcher(store, embedder, config), None, config, prepared=Prepared(1000))


@settings(max_examples=40, deadline=None)
@given(question=words.map(" ".join), history=st.sampled_from([(), HISTORY]), path=st.sampled_from([None, "a.md", "b.md"]))
def test_no_question_is_answered_otherwise(shared_engine: Engine, question: str, history: tuple[Turn, ...], path: str | None) -> None:
    scope = Scope("optics", path=path)
    afresh = answer(question, scope, replace(shared_engine, prepared=Prepared(0)), history)
    prepare(shared_engine, question, scope=scope, history=history)
    ready = answer(question, scope, shared_engine, history)
    assert "prepared" in ready.latency.stages
    assert untimed(ready) == untimed(afresh)


def test_a_generated_answer_is_the_same_too(preparing: Engine) -> None:
    def answered() -> Answer:
        model = GenericFakeChatModel(messages=iter([AIMessage("Each late day costs 5 points. It is blue.")]))
        return answer(QUESTION, OPTICS, replace(preparing, chat_model=model))

    afresh = answered()
    prepare(preparing, QUESTION)
    ready = answered()
    assert "prepared" in ready.latency.stages
    assert untimed(ready) == untimed(afresh)


@pytest.mark.models
def test_the_sample_questions_are_answered_the_same(sample_engine: Engine) -> None:
    plain = replace(sample_engine, chat_model=None, cache=AnswerCache(0), prepared=Prepared(0))
    ready = replace(plain, prepared=Prepared(100))
    scope = Scope("llm-systems")
    questions = [golden.question for golden in list(read_questions(SAMPLE_COURSE / "questions.jsonl"))[::10]]
    for question in questions:
        afresh = answer(question, scope, plain)
        prepare(ready, question, scope=scope)
        same = answer(question, scope, ready)
        assert "prepared" in same.latency.stages
        assert untimed(same) == untimed(afresh)


@pytest.mark.parametrize(
    "ask",
    [
        lambda engine: answer("How many points does one late day cost?", OPTICS, engine),
        lambda engine: answer(QUESTION, Scope("optics", path="syllabus.md"), engine),
        lambda engine: answer(QUESTION, OPTICS, engine, HISTORY),
        lambda engine: answer(QUESTION, OPTICS, replace(engine, config=engine.config.replace(sources=1))),
    ],
    ids=["question", "scope", "history", "settings"],
)
def test_what_was_prepared_for_another_question_is_not_used(preparing: Engine, ask: Callable[[Engine], Answer]) -> None:
    prepare(preparing, QUESTION)
    assert "prepared" not in ask(preparing).latency.stages
    assert "prepared" in answer(QUESTION, OPTICS, preparing).latency.stages


def test_settings_that_come_after_retrieval_leave_it_of_use(preparing: Engine) -> None:
    prepare(preparing, QUESTION)
    refusing = replace(preparing, config=preparing.config.replace(confidence_floor=1.0))
    refused = answer(QUESTION, OPTICS, refusing)
    assert refused.abstained
    assert "prepared" in refused.latency.stages


def test_a_removed_document_is_in_no_prepared_retrieval(preparing: Engine) -> None:
    prepare(preparing, QUESTION)
    preparing.searcher.store.remove_documents("optics", ["syllabus.md"])
    again = answer(QUESTION, OPTICS, preparing)
    assert "prepared" not in again.latency.stages
    assert preparing.prepared.kept.use.size == 0
    assert all(source.passage.source != "syllabus.md" for source in again.sources)


def test_nobody_need_ask_for_prepared_texts_to_go(preparing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "PRUNE_S", 0.01)
    prepare(preparing, QUESTION)
    assert preparing.prepared.kept.use.size == 1
    preparing.searcher.store.remove_documents("optics", ["syllabus.md"])
    await_that(lambda: preparing.prepared.kept.use.size == 0)


def await_that(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_what_was_prepared_of_the_new_materials_outlives_the_answers_of_the_old(engine: Engine) -> None:
    whole = Engine.of(engine.searcher, None, engine.config.replace(prepared_questions=5, cached_answers=5))
    answer(QUESTION, OPTICS, whole)
    whole.searcher.store.remove_documents("optics", ["notes/week02-lenses.md"])
    whole.searcher.search(QUESTION, OPTICS)
    whole.searcher.snapshots.wait()
    prepare(whole, QUESTION)
    assert "prepared" in answer(QUESTION, OPTICS, whole).latency.stages
    assert whole.prepared.kept.use.size == 1


@pytest.fixture
def slow_search(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event, list[str]]:
    """Set when a search has begun; what it waits for; the questions that were searched for."""
    begun, go_on, searched = threading.Event(), threading.Event(), []
    plain = prepared.search_for

    def slowly(question: str, *rest: Any) -> Search:
        searched.append(question)
        begun.set()
        assert go_on.wait(20)
        return plain(question, *rest)

    monkeypatch.setattr(prepared, "search_for", slowly)
    return begun, go_on, searched


def test_a_closed_engine_waits_for_its_search_and_prepares_nothing_more(preparing: Engine, slow_search: Any) -> None:
    begun, go_on, searched = slow_search
    preparing.prepare(["late day", "midterm"], OPTICS, asker="anna")
    preparing.prepare(["lens"], OPTICS, asker="ben")
    assert begun.wait(20)
    closing = threading.Thread(target=preparing.close)
    closing.start()
    await_that(lambda: preparing.prepared._is_closed)
    go_on.set()
    closing.join()
    preparing.prepared.wait()
    preparing.prepare(["exam"], OPTICS)
    assert preparing.prepared._thread is None
    assert searched == ["late day"]
    assert preparing.prepared.kept.use.size == 0


def test_the_same_questions_again_begin_nothing_anew(preparing: Engine, slow_search: Any) -> None:
    begun, go_on, searched = slow_search
    preparing.prepare(["late day", "midterm"], OPTICS, HISTORY, "anna")
    assert begun.wait(20)
    preparing.prepare(["late day", "midterm"], OPTICS, HISTORY, "anna")
    go_on.set()
    preparing.prepared.wait()
    assert searched == ["late day", "midterm"]
    assert preparing.prepared.kept.use.size == 2


def test_what_becomes_visible_is_searched_afresh(preparing: Engine, course_folder: Path) -> None:
    (course_folder / "course.toml").write_text('[[material]]\npath = "more.md"\nvisible = "2030-01-01"\n')
    (course_folder / "more.md").write_text("# More\n\nThe late day of the lab costs 7 points.\n")
    searcher = preparing.searcher
    ingest_course(course_folder, searcher.store, searcher.embedder, preparing.config)
    searcher.search(QUESTION, OPTICS)
    searcher.snapshots.wait()
    before, same, after = (Scope("optics", at=at) for at in ("2029-01-01", "2029-06-01", "2030-06-01"))
    prepare(preparing, QUESTION, scope=before)
    assert "prepared" in answer(QUESTION, same, preparing).latency.stages
    later = answer(QUESTION, after, preparing)
    assert "prepared" not in later.latency.stages
    assert "more.md" in {source.passage.source for source in later.sources}


def test_the_one_unused_for_longest_goes_first(engine: Engine) -> None:
    small = replace(engine, prepared=Prepared(2))
    prepare(small, "late day", "midterm", "lens")
    stages = {question: answer(question, OPTICS, small).latency.stages for question in ("lens", "midterm", "late day")}
    assert {question: "prepared" in found for question, found in stages.items()} == {"lens": True, "midterm": True, "late day": False}


def test_nothing_is_prepared_where_none_are_kept(engine: Engine) -> None:
    prepare(engine, QUESTION)
    assert engine.prepared._thread is None
    assert "prepared" not in answer(QUESTION, OPTICS, engine).latency.stages


def test_an_asker_who_asks_is_prepared_for_no_longer(preparing: Engine, slow_search: Any) -> None:
    begun, go_on, searched = slow_search
    preparing.prepare(["late day", "midterm"], OPTICS, asker="anna")
    assert begun.wait(10)
    thread = preparing.prepared._thread
    preparing.prepare(["lens"], OPTICS, asker="ben")
    assert preparing.prepared._thread is thread  # never a second one
    next(iter(stream_answer("What blurs the image?", OPTICS, preparing, asker="anna")))
    go_on.set()
    preparing.prepared.wait()
    assert searched == ["late day", "lens"]  # hers in work is left after its search, her other one is never begun
    assert preparing.prepared.kept.use.size == 1


def test_newer_suggestions_take_the_place_of_older_ones(preparing: Engine) -> None:
    with COMPUTE_LANE:
        preparing.prepare(["late day", "midterm"], OPTICS, asker="anna")
        preparing.prepare(["lens"], OPTICS, asker="anna")
    preparing.prepared.wait()
    assert preparing.prepared.kept.use.size == 1
    assert "prepared" in answer("lens", OPTICS, preparing).latency.stages


def test_whoever_computes_goes_first(preparing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "PATIENCE_S", 0.01)
    with COMPUTE_LANE:
        preparing.prepare([QUESTION], OPTICS)
        preparing.prepared.wait()
    assert preparing.prepared.kept.use.size == 0
    prepare(preparing, QUESTION)
    assert preparing.prepared.kept.use.size == 1


def test_a_question_that_cannot_be_searched_ends_quietly(preparing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(preparing, "", QUESTION)
    prepare(preparing, QUESTION, scope=Scope("nowhere"))
    monkeypatch.setattr(preparing.searcher.store, "revision", lambda: (_ for _ in ()).throw(sqlite3.OperationalError("disk I/O error")))
    prepare(preparing, QUESTION)
    assert preparing.prepared.kept.use.size == 0
    assert preparing.prepared._thread is None


def test_an_unexpected_error_does_not_end_preparing_for_good(preparing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, told = prepared.search_for, []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    monkeypatch.setattr(prepared, "search_for", lambda *_: 1 // 0)
    prepare(preparing, QUESTION)
    monkeypatch.setattr(prepared, "search_for", plain)
    prepare(preparing, QUESTION)
    assert told == [ZeroDivisionError]
    assert "prepared" in answer(QUESTION, OPTICS, preparing).latency.stages
