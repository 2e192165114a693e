from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from ingest.pipeline import ingest_course
from rag import agreement, answer_cache, ground
from rag.__main__ import _answer_lines
from rag.admission import Admission
from rag.answer import answer, stream_answer
from rag.answer_cache import AnswerCache, CacheUse
from rag.config import BUNDLED, NONE
from rag.engine import Engine
from rag.generate import load_chat_model
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Answer, Chunk, Latency, Location, LocationKind, Mode, Passage, Reading, Scope, Support, Turn

OPTICS = Scope("optics")
QUESTION = "How many points does a late day cost?"


def made_answer(text: str) -> Answer:
    return Answer(text, text, text, False, 1.0, Mode.EXTRACTIVE, (), (), Latency({}, 0.0))


@pytest.fixture
def caching(engine: Engine) -> Engine:
    return replace(engine, cache=AnswerCache(10))


def test_the_least_recently_used_answer_goes_first(store: Store) -> None:
    cache, revision = AnswerCache(2), store.revision()
    one, two, three = map(made_answer, ("one", "two", "three"))
    cache.keep("1", revision, one, store)
    cache.keep("2", revision, two, store)
    assert cache.find("1", revision) is one
    cache.keep("3", revision, three, store)
    assert [cache.find(key, revision) for key in "123"] == [one, None, three]
    assert cache.use == CacheUse(size=2, longest=2, hits=3, misses=1)
    cache.clear()
    assert cache.use.size == 0


def test_another_state_of_the_store_forgets_everything(store: Store, tmp_path: Path) -> None:
    cache, revision = AnswerCache(2), store.revision()
    cache.keep("1", revision, made_answer("one"), store)
    store.save_course("optics", "Optics", tmp_path)
    store.remove_documents("optics", ["gone.md"])
    cache.keep("2", revision, made_answer("two"), store)  # made before the change, kept after it: not at all
    assert cache.find("1", store.revision()) is None
    assert cache.use.size == 0


def test_whatever_else_holds_texts_forgets_them_when_the_store_changes(store: Store, tmp_path: Path) -> None:
    forgotten: list[str] = []
    cache = AnswerCache(0, lambda: forgotten.append("all"))
    for _ in range(2):
        assert cache.find("1", store.revision()) is None
    assert forgotten == ["all"]  # at the first question nothing is known of what was before
    store.save_course("optics", "Optics", tmp_path)
    store.remove_documents("optics", ["gone.md"])
    cache.find("1", store.revision())
    assert forgotten == ["all", "all"]


def test_grounding_keeps_no_text_of_an_earlier_store() -> None:
    text = "Each late day costs 5 points. No work is accepted after March 9."
    passage = Passage(1, "optics", "a.pdf", "Syllabus", Chunk(text, 0, len(text), Location(LocationKind.PAGE, 1), "Syllabus"))
    assert ground.ground("Each late day costs 5 points.", [passage]).support is Support.SUPPORTED
    assert ground._stretches.cache_info().currsize > 0
    ground.forget_texts()
    assert ground._stretches.cache_info().currsize == agreement.normalized.cache_info().currsize == 0


@pytest.mark.models
def test_a_change_of_the_store_empties_the_prefix_cache(engine: Engine, course_folder: Path) -> None:
    config = engine.config.replace(generator=BUNDLED, max_new_tokens=4, cached_answers=10)
    asked = Engine.of(engine.searcher, load_chat_model(config), config)
    reused = [answer(question, OPTICS, asked).reused_tokens for question in (QUESTION, f"{QUESTION} Again?")]
    assert reused[0] == 0
    assert reused[1] > 20
    (course_folder / "notes" / "week02-lenses.md").unlink()
    ingest_course(course_folder, engine.searcher.store, engine.searcher.embedder, config)
    assert answer(f"{QUESTION} Please.", OPTICS, asked).reused_tokens == 0
    asked.chat_model.close()


def test_nobody_need_ask_for_old_answers_to_go(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "PRUNE_S", 0.01)
    cache = AnswerCache(2)
    store.save_course("optics", "Optics", tmp_path)
    cache.keep("1", store.revision(), made_answer("one"), store)
    timer = cache._timer
    assert timer is not None
    store.remove_documents("optics", ["gone.md"])
    while cache._timer is not None:
        cache._timer.join()
    assert cache.use.size == 0  # and the timer has ended with it


def test_a_repeated_question_is_answered_from_the_cache_and_says_so(caching: Engine) -> None:
    first = answer(QUESTION, OPTICS, caching)
    (again,) = stream_answer("  How many points does a\n late day cost?", OPTICS, caching)
    assert isinstance(again, Answer)
    assert not first.cached
    assert again == replace(first, cached=True, latency=again.latency)
    assert again.latency.stages.keys() == {"cache", "other"}
    assert caching.cache.use == CacheUse(1, 10, 1, 1)


def test_the_terminal_says_what_comes_from_the_cache(caching: Engine) -> None:
    first, again = (list(_answer_lines(answer(QUESTION, OPTICS, caching)))[-1] for _ in range(2))
    assert first.startswith("\nextractive; confidence")
    assert again.startswith("\nfrom the cache; extractive; confidence")


class AgreeableReader:
    """A reader to which every passage answers."""

    def __init__(self, revision: str) -> None:
        self.revision = revision

    def read(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Reading]:
        return [Reading(2.0, 0.0, ())] * len(passages)


def with_reader(engine: Engine, revision: str) -> Engine:
    """The engine, its cache too, with a reader of other weights."""
    searcher = engine.searcher
    return replace(engine, searcher=Searcher(searcher.store, searcher.embedder, searcher.config, reader=AgreeableReader(revision)))


def test_an_answer_of_a_reader_with_other_weights_is_not_given_again(caching: Engine) -> None:
    before, after = with_reader(caching, "1"), with_reader(caching, "2")
    assert not answer(QUESTION, OPTICS, before).cached
    assert not answer(QUESTION, OPTICS, after).cached
    assert answer(QUESTION, OPTICS, with_reader(caching, "1")).cached


@pytest.mark.parametrize(
    "change",
    [
        lambda engine: answer("How many points does one late day cost?", OPTICS, engine),
        lambda engine: answer(QUESTION, Scope("optics", path="syllabus.md"), engine),
        lambda engine: answer(QUESTION, OPTICS, engine, [Turn("user", "Hello?"), Turn("assistant", "Yes.")]),
        lambda engine: answer(QUESTION, OPTICS, replace(engine, config=engine.config.replace(sources=3))),
        lambda engine: answer(QUESTION, OPTICS, with_reader(engine, "1")),
        lambda engine: answer(QUESTION, OPTICS, replace(engine, config=engine.config.replace(reader_weight=0.25))),
        lambda engine: answer(QUESTION, OPTICS, replace(engine, config=engine.config.replace(reader_passages=3))),
        lambda engine: answer(QUESTION, OPTICS, replace(engine, config=engine.config.replace(adapter=NONE))),
        lambda engine: answer(QUESTION, OPTICS, replace(engine, chat_model=GenericFakeChatModel(messages=iter([AIMessage("x")])))),
    ],
    ids=["question", "scope", "history", "settings", "reader", "its weight", "its passages", "adapter", "model"],
)
def test_another_question_scope_history_setting_or_model_is_answered_afresh(caching: Engine, change: Callable[[Engine], Answer]) -> None:
    answer(QUESTION, OPTICS, caching)
    assert not change(caching).cached
    assert answer(QUESTION, OPTICS, caching).cached


def test_what_becomes_visible_is_answered_afresh(caching: Engine, course_folder: Path) -> None:
    (course_folder / "course.toml").write_text('[[material]]\npath = "solutions.md"\nvisible = "2030-01-01"\n')
    (course_folder / "solutions.md").write_text("# Solutions\n\nThe solution of the late day costs 7 points.\n")
    searcher = caching.searcher
    ingest_course(course_folder, searcher.store, searcher.embedder, caching.config)
    searcher.search(QUESTION, OPTICS)
    searcher.snapshots.wait()
    before, same, after = (Scope("optics", at=at) for at in ("2029-01-01", "2029-06-01", "2030-06-01"))
    answer(QUESTION, before, caching)
    assert answer(QUESTION, same, caching).cached
    assert not answer(QUESTION, after, caching).cached


def test_a_removed_document_is_out_of_memory_at_once(caching: Engine) -> None:
    answer(QUESTION, OPTICS, caching)
    caching.searcher.store.remove_documents("optics", ["syllabus.md"])
    again = answer(QUESTION, OPTICS, caching)
    assert not again.cached
    assert all(source.passage.source != "syllabus.md" for source in again.sources)
    assert [kept.text for kept in caching.cache._values.values() if "5 points" in kept.text] == []


def test_without_a_cache_nothing_is_kept(engine: Engine) -> None:
    assert not any(answer(QUESTION, OPTICS, engine).cached for _ in range(2))
    assert engine.cache.use == CacheUse(0, 0, 0, 0)


def test_answers_that_would_be_better_another_time_are_not_kept(caching: Engine) -> None:
    busy = replace(caching, chat_model=GenericFakeChatModel(messages=iter([AIMessage("x")])), admission=Admission(1, waiting=0))
    with busy.admission.ticket("a"):
        assert answer(QUESTION, OPTICS, busy).notices
    assert busy.cache.use.size == 0
