from pathlib import Path

import numpy as np
import pytest

from rag.bench_corpus import CourseWords, Statistics, course_vectors, question_vectors, write_store
from rag.records import EmbedderStamp
from rag.store import Store
from rag.types import Scope


@pytest.fixture
def statistics() -> Statistics:
    """64 dimensions, the first of them three times as wide as the others."""
    widths = np.ones(64)
    widths[0] = 3
    return Statistics(
        course_similarity=0.25,
        document_similarity=0.5,
        section_similarity=0.6,
        neighbour_similarity=0.7,
        question_similarities=np.array([0.4, 0.4]),
        factor=np.diag(widths / np.linalg.norm(widths)).astype(np.float32),
        lengths=(40, 90),
        sentences=("Attention compares queries with keys.", "The cache holds keys and values.", "What is 12?"),
        questions=("What does attention compare?",),
    )


def test_made_up_passages_are_as_similar_as_the_real_ones(statistics: Statistics) -> None:
    rows = np.concatenate([course_vectors(statistics, course, 200) for course in range(40)])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(8000), abs=1e-5)
    cosines = np.einsum("cid,cjd->cij", rows.reshape(40, 200, 64), rows.reshape(40, 200, 64))
    passage = np.arange(200)
    same_document = passage[:, None] // 25 == passage // 25
    same_section = passage[:, None] // 25 * 100 + passage[:, None] % 25 // 2 == passage // 25 * 100 + passage % 25 // 2
    off = ~np.eye(200, dtype=bool)
    assert cosines[:, ~same_document].mean() == pytest.approx(0.25, abs=0.06)
    assert cosines[:, same_document & off].mean() == pytest.approx(0.5, abs=0.06)
    assert cosines[:, same_section & same_document & off].mean() == pytest.approx(0.6, abs=0.06)
    assert (course_vectors(statistics, 3, 200) == rows[600:800]).all()


def test_made_up_questions_are_as_similar_to_their_passages(statistics: Statistics) -> None:
    targets = course_vectors(statistics, 0, 100)
    questions = question_vectors(statistics, targets)
    assert (questions * targets).sum(1) == pytest.approx(np.full(100, 0.4), abs=1e-5)
    assert np.linalg.norm(questions, axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_a_course_has_its_own_forms_of_topical_words() -> None:
    texts = {CourseWords(course)("What is attention? Attentions!") for course in range(60)}
    assert 2 <= len(texts) <= 25, "two words of at most five forms each"
    assert all(text.startswith("What is ") for text in texts), "function words are the same everywhere"
    assert CourseWords(7)("the attention") == CourseWords(7)("the attention")


def test_the_store_holds_what_the_filters_keep(statistics: Statistics, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    write_store(store, "bench", statistics, 5030, EmbedderStamp("test", "1", 64))
    assert len(store.chunk_ids(Scope("bench"))) == 5030
    assert len(store.chunk_ids(Scope("bench", week=7))) == 50
    assert len(store.chunk_ids(Scope("bench", material="notes"))) == 2525
    assert len(store.chunk_ids(Scope("bench", week=101))) == 0
    _, vectors, _ = store.vectors()
    assert (vectors[1000:2000] == course_vectors(statistics, 1, 1000).astype(np.float16)).all()
    assert store.text_index.search('"12"', Scope("bench"), 5)[0][1] > 0
