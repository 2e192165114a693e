"""What the search does beyond matching, with the bundled models: slips corrected, passages grown, other languages, duplicates."""

from __future__ import annotations

import pytest

from ingest.pipeline import ingest_course
from rag.answer import answer
from rag.config import Config
from rag.embed import SentenceTransformerEmbedder
from rag.engine import Engine
from rag.retrieve import Searcher
from rag.store import Store
from rag.types import Scope

pytestmark = pytest.mark.models
COURSE = Scope("llm-systems")


def test_a_slip_is_corrected_and_told(sample_engine: Engine) -> None:
    asked = sample_engine.searcher.interpret("What does the sylabus say about late submisions?", COURSE)
    assert asked.text == "What does the syllabus say about late submissions?"
    assert "late submisions?" in asked.question
    assert "“syllabus” (you wrote “sylabus”)" in asked.notices[0]
    assert sample_engine.searcher.search(asked, COURSE, 1)[0].passage.source == "syllabus.docx"
    assert answer(asked.question, COURSE, sample_engine).notices[0] == asked.notices[0]


def test_grown_passages_are_slices_of_their_documents(sample_engine: Engine) -> None:
    searcher = sample_engine.searcher
    hits = [
        hit for question in ("How does paging the KV cache work?", "How are points counted?") for hit in searcher.search(question, COURSE)
    ]
    grown = [hit.passage for hit in hits if hit.passage.chunk.tokens > searcher.config.whole_section_tokens]
    assert grown
    for passage in grown:
        assert passage.chunk.tokens <= searcher.config.passage_tokens
        text = searcher.store.document_text(passage.course, passage.source)
        assert text[passage.chunk.start : passage.chunk.end] == passage.chunk.text


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    folder = tmp_path_factory.mktemp("courses") / "sprachen"
    folder.mkdir()
    for name, text in {
        "zh-cache.txt": "键值缓存保存所有先前词元的键和值。它占用的内存随序列长度线性增长，因此长对话需要很多显存。" * 3,
        "zh-late.txt": "作业每迟交一天扣五分。三天之后不再接受作业。请提前与助教联系。" * 4,
        "de-spaet.txt": "Für jede verspätete Abgabe der Übungen werden fünf Punkte abgezogen. Danach gilt keine mehr. " * 3,
        "de-klausur.txt": "Die Klausuren werden am Ende des Semesters geschrieben. Hilfsmittel sind zwei handbeschriebene Blätter. " * 3,
        "en-copy-1.md": "# Office hours\n\nThe teaching assistants answer questions every Tuesday, three to five, in room 210.\n",
        "en-copy-2.txt": "The teaching assistants answer questions every Tuesday, three to five, in room 210.\n",
    }.items():
        (folder / name).write_text(text, "utf-8")
    config = Config(store=tmp_path_factory.mktemp("store"))
    embedder = SentenceTransformerEmbedder.from_config(config)
    store = Store.create(config.store)
    ingest_course(folder, store, embedder, config)
    return Searcher(store, embedder, config)


@pytest.mark.parametrize(
    ("question", "language", "source"),
    [
        ("迟交作业扣多少分？", "zh", "zh-late.txt"),
        ("缓存占用多少内存？", "zh", "zh-cache.txt"),
        ("Wie viele Punkte kostet eine verspätete Übung?", "de", "de-spaet.txt"),
        ("Was darf man in der Klausur benutzen?", "de", "de-klausur.txt"),
    ],
)
def test_other_languages_are_found_by_their_words(languages: Searcher, question: str, language: str, source: str) -> None:
    asked = languages.interpret(question, Scope("sprachen"))
    assert asked.language == language
    assert languages.search(asked, Scope("sprachen"), 1)[0].passage.source == source


def test_the_same_passage_in_two_files_is_one_hit_that_names_both(languages: Searcher) -> None:
    hits = languages.search("When do the teaching assistants answer questions?", Scope("sprachen"), 5)
    places = {hits[0].passage.source, *(same.source for same in hits[0].duplicates)}
    assert places == {"en-copy-1.md", "en-copy-2.txt"}
    assert not {hit.passage.source for hit in hits[1:]} & places
