from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.vectors import (
    RECALL_AT,
    ChunkSet,
    DeviceCopy,
    build_index,
    copy_to_gpu,
    exact_neighbours,
    index_kind,
    is_exact,
    neighbours,
    question_like,
    recall_at,
    tune,
)

KINDS = ["IDMap2,SQfp16", "IVF16,SQ8"]
EIGHT_BITS = 0.02
"""How far a cosine may be off in 16 dimensions of 256 steps each: those not drawn for training may lie outside of the steps."""


def unit_rows(count: int, dimension: int = 16, seed: int = 7) -> np.ndarray:
    """What the catalogue holds is fp16: so are these."""
    rows = np.random.default_rng(seed).normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def brute_force(ids: np.ndarray, vectors: np.ndarray, query: np.ndarray, limit: int) -> tuple[list[int], list[float]]:
    products = vectors @ query
    order = np.argsort(-products, kind="stable")[:limit]
    return ids[order].tolist(), products[order].tolist()


def searchable(kind: str, ids: np.ndarray, rows: np.ndarray) -> Any:
    index = build_index(ids, rows, kind)
    if not is_exact(kind):
        index.nprobe = index.nlist
    return index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [1.0, 0.5, 0.01], ids=["all", "half", "a hundredth"])
def test_each_kind_agrees_with_brute_force_within_a_filter(kind: str, kept: float) -> None:
    ids, rows = np.arange(1200) * 3 + 5, unit_rows(1200)
    allowed = np.random.default_rng(1).random(1200) < kept
    index = searchable(kind, ids, rows)
    for query in unit_rows(20, seed=8):
        expected, similarities = brute_force(ids[allowed], rows[allowed], query, 10)
        found = neighbours(index, 1200, query, 10, ChunkSet(ids[allowed]))
        # 8 bits may exchange two neighbours: compare the cosines, place by place
        assert [similarity for _, similarity in found] == pytest.approx(similarities, abs=EIGHT_BITS)
        assert {id_ for id_, _ in found} <= set(ids[allowed].tolist())
        if is_exact(kind):
            assert [id_ for id_, _ in found] == expected
    everything = neighbours(index, 1200, rows[0], 5000, ChunkSet(ids[allowed]))
    assert {id_ for id_, _ in everything} == set(ids[allowed].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_limit_to_some_all_are_found(kind: str) -> None:
    ids, rows = np.arange(500) + 1000, unit_rows(500)
    index = searchable(kind, ids, rows)
    assert [neighbours(index, 500, row, 1, None)[0][0] for row in rows[:50]] == list(range(1000, 1050))
    assert neighbours(index, 500, rows[3], 1, None)[0][1] == pytest.approx(1, abs=EIGHT_BITS)


def test_few_survivors_are_all_compared_however_few_lists_are_probed() -> None:
    ids, rows = np.arange(2000), unit_rows(2000)
    index = build_index(ids, rows, "IVF64,SQ8")
    index.nprobe = 2
    kept = np.arange(0, 2000, 100)
    found = neighbours(index, 2000, rows[1], 10, ChunkSet(kept))
    assert [similarity for _, similarity in found] == pytest.approx(brute_force(kept, rows[kept], rows[1], 10)[1], abs=EIGHT_BITS)


def test_a_selector_lives_as_long_as_its_search() -> None:
    """FAISS keeps bare pointers: were the bitmap freed, what is found would depend on what has taken its place."""
    ids, rows = np.arange(3000), unit_rows(3000)
    index = build_index(ids, rows, "IDMap2,SQfp16")
    for start in range(0, 1000, 10):
        found = neighbours(index, 3000, rows[0], 5, ChunkSet(np.arange(start, start + 5)))
        np.full(400, 255, np.uint8)
        assert {id_ for id_, _ in found} == set(range(start, start + 5))


@given(st.sets(st.integers(0, 200)), st.sets(st.integers(0, 60), min_size=1))
@settings(max_examples=30, deadline=None)
def test_a_search_finds_exactly_the_allowed_ids_that_there_are(allowed: set[int], there: set[int]) -> None:
    ids = np.array(sorted(there), np.int64)
    index = build_index(ids, unit_rows(len(ids)), "IDMap2,SQfp16")
    found = neighbours(index, len(ids), unit_rows(1)[0], 1000, ChunkSet(np.array(sorted(allowed), np.int64)))
    assert {id_ for id_, _ in found} == (allowed & there)


def test_kinds_by_size() -> None:
    assert index_kind(200_000) == "IDMap2,SQfp16"
    assert index_kind(200_001) == "IVF512,SQ8"
    assert index_kind(1_000_000) == "IVF1024,SQ8"
    assert index_kind(10_000_000) == "IVF4096,SQ8"


def test_exact_neighbours_and_recall_by_hand() -> None:
    vectors = np.eye(4, dtype=np.float32)
    questions = np.array([[0.1, 0.9, 0.5, 0], [0, 0, 0.2, 0.8]], np.float32)
    found = exact_neighbours(np.array([10, 11, 12, 13]), vectors, questions, 2)
    assert found.tolist() == [[11, 12], [13, 12]]
    assert recall_at(found, np.array([[12, 11], [13, 99]])) == 0.75
    assert recall_at(found, np.array([[-1, -1], [-1, -1]])) == 0.0


def test_exact_neighbours_go_through_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.vectors.BLOCK_ROWS", 64)
    ids, rows, questions = np.arange(300) + 7, unit_rows(300), unit_rows(5, seed=9)
    found = exact_neighbours(ids, rows, questions, 12)
    assert found.tolist() == [brute_force(ids, rows, question, 12)[0] for question in questions]


def test_made_up_questions_are_as_far_from_a_passage_as_real_ones() -> None:
    rows = unit_rows(2000, 64)
    questions = question_like(rows, 50)
    assert np.linalg.norm(questions, axis=1) == pytest.approx(np.ones(50), abs=1e-3)
    targets = rows[np.random.default_rng(0).integers(2000, size=50)]
    assert (questions * targets).sum(1) == pytest.approx(np.full(50, 0.42), abs=1e-3)
    assert (question_like(rows, 50) == questions).all()


def test_probes_are_added_until_the_recall_is_reached_and_the_recall_is_true() -> None:
    ids, rows = np.arange(4000), unit_rows(4000)
    index = build_index(ids, rows, "IVF64,SQ8")
    recall = tune(index, ids, rows)
    assert index.nprobe in (8, 16, 32)
    questions = question_like(rows, 200)
    expected = np.array([brute_force(ids, rows, question, RECALL_AT)[0] for question in questions])
    assert recall == recall_at(expected, index.search(questions, RECALL_AT)[1])
    assert recall >= 0.9


def test_without_a_gpu_there_is_no_copy() -> None:
    import faiss

    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        pytest.skip("a GPU is there")
    assert copy_to_gpu(build_index(np.arange(10), unit_rows(10), KINDS[0])) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_copy_answers_as_the_index_it_was_made_of(kind: str) -> None:
    """The CPU twin of a GPU copy: everything but the transfer to the device."""
    import faiss

    ids, rows = np.arange(600) * 2, unit_rows(600)
    index = searchable(kind, ids, rows)
    copy = DeviceCopy(index, faiss.clone_index)
    for query in unit_rows(10, seed=11):
        expected = neighbours(index, 600, query, 20, None)
        found = copy.neighbours(query, 20)
        assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
        assert [similarity for _, similarity in found] == pytest.approx([similarity for _, similarity in expected], abs=1e-5)
