from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline import ingest_course
from rag.config import Config
from rag.engine import Engine
from rag.errors import QuestionError, UnknownCourse
from rag.retrieve import Searcher, check_question, fuse
from rag.snapshots import publish
from rag.store import Store
from rag.types import Scope
from support import HashingEmbedder


def test_fusion_by_hand() -> None:
    # similarities scale from the weakest (0.2 → 0) to the best (0.6 → 1), BM25 from 0 to the best (8 → 1)
    fused = fuse({1: 0.6, 2: 0.4, 3: 0.2}, {2: 8.0, 4: 2.0}, dense_weight=0.4)
    assert fused == [(2, pytest.approx(0.8)), (1, pytest.approx(0.4)), (4, pytest.approx(0.15)), (3, pytest.approx(0.0))]


def test_fusion_of_one_leg_keeps_its_order() -> None:
    assert [chunk_id for chunk_id, _ in fuse({1: 0.1, 2: 0.3}, {}, 0.4)] == [2, 1]
    assert [chunk_id for chunk_id, _ in fuse({}, {1: 1.0, 2: 3.0}, 0.4)] == [2, 1]
    assert fuse({}, {}, 0.4) == []


LEG = st.dictionaries(st.integers(0, 20), st.floats(0, 1), max_size=10)


@given(dense=LEG, lexical=LEG, weight=st.floats(0, 1))
def test_fusion_is_a_ranking_of_exactly_what_was_found(dense: dict[int, float], lexical: dict[int, float], weight: float) -> None:
    fused = fuse(dense, lexical, weight)
    assert {chunk_id for chunk_id, _ in fused} == dense.keys() | lexical.keys()
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in scores)


def test_questions_are_checked() -> None:
    assert check_question("  what\n is it? ", 20) == "what is it?"
    with pytest.raises(QuestionError, match="is empty"):
        check_question(" \n", 20)
    with pytest.raises(QuestionError, match="has 21 characters; at most 20"):
        check_question("x" * 21, 20)


def test_search_finds_the_passage_with_both_legs(engine: Engine) -> None:
    hits = engine.searcher.search("How much does the midterm count?", Scope("optics"))
    assert hits[0].passage.source == "syllabus.md"
    assert hits[0].passage.chunk.location.heading == ("Optics", "Grading")
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert hits[0].similarity is not None
    assert hits[0].similarity > 0.3
    assert hits[0].bm25 is not None
    assert hits[0].bm25 > 0


def test_search_stays_in_its_scope(engine: Engine) -> None:
    hits = engine.searcher.search("midterm", Scope("optics", path="notes"))
    assert {hit.passage.source for hit in hits} == {"notes/week02-lenses.md"}
    assert engine.searcher.search("midterm", Scope("optics", week=3)) == []


def test_an_unknown_course_is_an_error_that_lists_the_known(engine: Engine) -> None:
    with pytest.raises(UnknownCourse, match="no course 'algebra' .* its courses: optics"):
        engine.searcher.search("midterm", Scope("algebra"))


def test_search_sees_what_was_ingested_since(engine: Engine) -> None:
    assert engine.searcher.search("midterm", Scope("optics"))[0].passage.source == "syllabus.md"
    engine.searcher.store.remove_documents("optics", ["syllabus.md"])
    assert {hit.passage.source for hit in engine.searcher.search("midterm", Scope("optics"))} == {"notes/week02-lenses.md"}


class MeaninglessEmbedder(HashingEmbedder):
    """Every text is the same to it: what is found then, the words have found."""

    def embed_query(self, text: str) -> np.ndarray:
        return np.full(256, 1 / 16, np.float32)


def test_words_find_what_the_vectors_do_not_tell_apart(store: Store, course_folder: Path) -> None:
    embedder, config = MeaninglessEmbedder(), Config()
    ingest_course(course_folder, store, embedder, config)
    hits = Searcher(store, embedder, config).search("Which rays cause aberration?", Scope("optics"))
    assert hits[0].passage.chunk.location.heading == ("Lenses", "Aberration")
    assert hits[0].score > hits[1].score


def test_vectors_find_what_no_word_matches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # The index is told nothing: only the dense leg can answer.
    monkeypatch.setattr(engine.searcher.store.text_index, "search", lambda *_: [])
    hits = engine.searcher.search("Which rays cause aberration?", Scope("optics"))
    assert hits[0].passage.chunk.location.heading == ("Lenses", "Aberration")
    assert hits[0].bm25 is None


def test_scopes_in_use_are_read_for_a_newer_snapshot_before_a_search_needs_them(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = engine.searcher
    assert searcher.search("midterm", Scope("optics"))[0].passage.source == "syllabus.md"
    searcher.store.remove_documents("optics", ["syllabus.md"])
    publish(searcher.store)
    searcher.snapshots.current()
    searcher.snapshots.wait()
    monkeypatch.setattr(searcher.store, "chunk_ids", lambda scope: pytest.fail("a search had to wait for it"))
    assert {hit.passage.source for hit in searcher.search("midterm", Scope("optics"))} == {"notes/week02-lenses.md"}


def test_a_scope_without_chunks_is_answered_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.searcher.store.text_index, "search", lambda *_: pytest.fail("there is nothing to search"))
    assert engine.searcher.search("midterm", Scope("optics", week=99)) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all-MiniLM-L6-v2", {None: 0.4, "en": 0.4, "de": 0.2}),
        ("BAAI/bge-base-en-v1.5", {None: 0.4, "en": 0.4, "de": 0.2}),
        ("intfloat/multilingual-e5-base", {None: 0.4, "en": 0.4, "de": 0.4}),
    ],
)
def test_similarity_weighs_less_in_a_language_the_embedder_was_not_made_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str, expected: dict[str | None, float]
) -> None:
    monkeypatch.setattr(type(engine.searcher.embedder), "identity", (name, "1"))
    assert {language: engine.searcher._dense_weight(language) for language in (None, "en", "de")} == expected
