from pathlib import Path

import numpy as np
import pytest

from rag.store import EmbedderStamp, NewDocument, Store
from rag.types import Chunk, Location, LocationKind, Scope
from rag.vectors import SnapshotHolder, build_index, index_kind, load_snapshot, publish, search


def unit_rows(count: int, dimension: int = 16) -> np.ndarray:
    rows = np.random.default_rng(7).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    """300 chunks in documents of 100; the vector of chunk i is row i."""
    store.save_course("c", "C", tmp_path)
    store.stamp_embedder(EmbedderStamp("test", "1", 16))
    rows = unit_rows(300)
    for part in range(3):
        names = [f"{part}-{number}" for number in range(100)]
        chunks = [Chunk(name, 0, len(name), Location(LocationKind.PAGE, 1)) for name in names]
        vectors = {name: row.astype(np.float16) for name, row in zip(names, rows[100 * part :], strict=False)}
        store.save_document("c", NewDocument(f"{part}.txt", str(part), "recipe", "txt", "", 0, "text", chunks, names, vectors))
    return store


def test_search_agrees_with_brute_force(filled: Store) -> None:
    publish(filled)
    snapshot = load_snapshot(filled, pytest.fail)
    ids, vectors, _ = filled.vectors()
    for query in unit_rows(20)[::3]:
        exact = vectors.astype(np.float32) @ query
        order = np.argsort(-exact, kind="stable")[:10]
        found = search(snapshot, query, 10, ids)
        assert [chunk_id for chunk_id, _ in found] == ids[order].tolist()
        assert [similarity for _, similarity in found] == pytest.approx(exact[order].tolist(), abs=1e-3)


def test_search_within_some_chunks_agrees_with_brute_force(filled: Store) -> None:
    publish(filled)
    snapshot = load_snapshot(filled, pytest.fail)
    allowed = filled.chunk_ids(Scope("c", path="1.txt"))
    ids, vectors, _ = filled.vectors()
    query = unit_rows(1)[0]
    rows = np.isin(ids, allowed)
    exact = vectors[rows].astype(np.float32) @ query
    assert [chunk_id for chunk_id, _ in search(snapshot, query, 5, allowed)] == ids[rows][np.argsort(-exact)[:5]].tolist()
    assert len(search(snapshot, query, 500, allowed)) == 100
    assert search(snapshot, query, 5, np.empty(0, np.int64)) == []


def test_identical_text_has_similarity_one() -> None:
    rows = unit_rows(50)
    index = build_index(np.arange(50) + 1000, rows, index_kind(50))
    similarities, ids = index.search(rows, 1)
    assert ids[:, 0].tolist() == list(range(1000, 1050))
    assert similarities[:, 0] == pytest.approx(np.ones(50), abs=1e-3)


def test_kinds_by_size() -> None:
    assert index_kind(200_000) == "IDMap2,SQfp16"
    assert index_kind(200_001) == "IDMap2,SQ8"


DAMAGE = {
    "gone": lambda data: None,
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "tail zeroed": lambda data: data[:-500] + bytes(500),
    "a bit flipped": lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_snapshot_is_made_anew_with_a_notice(filled: Store, damage: object) -> None:
    file = filled.directory / publish(filled).file
    damaged = damage(file.read_bytes())  # type: ignore[operator]
    file.unlink() if damaged is None else file.write_bytes(damaged)
    notices: list[str] = []
    snapshot = load_snapshot(filled, notices.append)
    assert len(notices) == 1
    assert notices[0].endswith("making it anew from the catalogue")
    query = filled.vectors()[1][42].astype(np.float32)
    assert search(snapshot, query, 1, filled.vectors()[0])[0][0] == filled.vectors()[0][42]
    load_snapshot(filled, pytest.fail)


def test_a_snapshot_left_stale_is_made_anew_but_not_while_a_run_goes_on(filled: Store) -> None:
    publish(filled)
    filled.remove_documents("c", ["0.txt"])
    with filled.writer_lock():
        assert load_snapshot(filled, pytest.fail).generation.chunks == 300
    notices: list[str] = []
    assert load_snapshot(filled, notices.append).generation.chunks == 200
    assert "older than the catalogue" in notices[0]


def test_a_holder_picks_up_the_next_generation_and_old_files_go(filled: Store) -> None:
    publish(filled)
    holder = SnapshotHolder(filled, pytest.fail)
    first = holder.current()
    assert holder.current() is first
    filled.remove_documents("c", ["0.txt"])
    publish(filled)
    assert holder.current().generation.chunks == 200
    assert len(list(filled.directory.glob("vectors-*"))) == 1


def test_a_store_without_chunks_has_an_empty_snapshot(store: Store) -> None:
    snapshot = load_snapshot(store, lambda _: None)
    assert snapshot.index is None
    assert search(snapshot, unit_rows(1)[0], 5, np.array([1])) == []


def test_a_course_that_has_grown_since_the_snapshot_does_not_see_another(filled: Store, tmp_path: Path) -> None:
    publish(filled)
    snapshot = load_snapshot(filled, pytest.fail)
    filled.save_course("new", "New", tmp_path)
    text = Chunk("n", 0, 1, Location(LocationKind.PAGE, 1))
    for number in range(301):
        filled.save_document("new", NewDocument(f"{number}.txt", "s", "recipe", "txt", "", 0, "n", [text], ["0-0"], {}))
    allowed = filled.chunk_ids(Scope("new"))
    assert len(allowed) > snapshot.generation.chunks
    assert search(snapshot, unit_rows(1)[0], 5, allowed) == []


def test_while_another_process_writes_a_damaged_snapshot_is_rebuilt_in_memory(filled: Store) -> None:
    file = filled.directory / publish(filled).file
    file.write_bytes(b"damaged")
    notices: list[str] = []
    with filled.writer_lock():
        snapshot = load_snapshot(filled, notices.append)
    assert len(notices) == 1
    assert snapshot.generation.kind == "in memory"
    assert search(snapshot, unit_rows(1)[0], 1, filled.vectors()[0])[0][1] == pytest.approx(1, abs=1e-3)
    assert file.read_bytes() == b"damaged"


def test_a_running_reader_notices_a_run_that_was_killed(filled: Store) -> None:
    publish(filled)
    notices: list[str] = []
    holder = SnapshotHolder(filled, notices.append)
    holder.current()
    filled.remove_documents("c", ["0.txt"])
    assert holder.current().generation.chunks == 200
    assert "older than the catalogue" in notices[0]
