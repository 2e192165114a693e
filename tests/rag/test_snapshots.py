import threading
from pathlib import Path

import numpy as np
import pytest

from rag import snapshots
from rag.config import Config
from rag.doctor import checks
from rag.errors import StoreError
from rag.records import EmbedderStamp, NewDocument
from rag.snapshots import Snapshot, SnapshotHolder, load_snapshot, publish, search
from rag.store import Store
from rag.types import Chunk, Location, LocationKind, Scope
from rag.vectors import TARGET_RECALL, ChunkSet, DeviceCopy, exact_neighbours, question_like, recall_at


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
        found = search(snapshot, query, 10, ChunkSet(ids))
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
    assert [chunk_id for chunk_id, _ in search(snapshot, query, 5, ChunkSet(allowed))] == ids[rows][np.argsort(-exact)[:5]].tolist()
    assert len(search(snapshot, query, 500, ChunkSet(allowed))) == 100
    assert search(snapshot, query, 5, ChunkSet(np.empty(0, np.int64))) == []


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
    assert search(snapshot, query, 1, ChunkSet(filled.vectors()[0]))[0][0] == filled.vectors()[0][42]
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
    holder.current()
    holder.wait()
    assert holder.current().generation.chunks == 200
    assert len(list(filled.directory.glob("vectors-*"))) == 1


def test_searches_keep_their_snapshot_while_the_next_one_is_loaded(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(filled)
    prepared: list[int] = []
    holder = SnapshotHolder(filled, pytest.fail, lambda snapshot: prepared.append(snapshot.generation.number))
    first, go_on, load = holder.current(), threading.Event(), load_snapshot

    def slow_load(*arguments: object) -> Snapshot:
        assert go_on.wait(60)
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshots, "load_snapshot", slow_load)
    filled.remove_documents("c", ["0.txt"])
    publish(filled)
    others = threading.active_count()
    assert holder.current() is first
    assert holder.current() is first
    assert threading.active_count() == others + 1, "one loads, however many search"
    assert search(first, unit_rows(1)[0], 1, ChunkSet(filled.chunk_ids(Scope("c")))) != []
    go_on.set()
    holder.wait()
    assert holder.current().generation.number == first.generation.number + 1
    assert prepared == [first.generation.number, first.generation.number + 1]
    assert threading.active_count() == others


def test_a_newer_snapshot_that_cannot_be_loaded_leaves_the_older_in_use(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(filled)
    notices: list[str] = []
    holder = SnapshotHolder(filled, notices.append)
    first = holder.current()

    def fail(*arguments: object) -> Snapshot:
        raise StoreError("no file handles are left")

    monkeypatch.setattr(snapshots, "load_snapshot", fail)
    publish(filled)
    for _ in range(3):
        assert holder.current() is first
        holder.wait()
    assert notices == ["the newer vector snapshot cannot be loaded, the older one stays in use: no file handles are left"]


def test_an_inverted_file_is_published_with_its_recall_and_the_doctor_says_so(filled: Store) -> None:
    generation = publish(filled, "IVF8,SQ8")
    ids, vectors, _ = filled.vectors()
    assert generation == filled.generation()
    snapshot = load_snapshot(filled, pytest.fail)
    questions = question_like(vectors, 200)
    expected = exact_neighbours(ids, vectors, questions, 10)
    assert snapshot.index is not None
    assert generation.recall == recall_at(expected, snapshot.index.search(questions, 10)[1])
    assert 0.9 < generation.recall <= 1
    found = [check.found for check in checks(Config(store=filled.directory)) if check.name == "index"]
    assert found == [
        f"generation 1: 300 vectors, IVF8,SQ8 (recall@10 {generation.recall:.3f} against exact search), by test (16-d, revision 1)"
    ]
    publish(filled)
    found = [check.found for check in checks(Config(store=filled.directory)) if check.name == "index"]
    assert found == ["generation 2: 300 vectors, IDMap2,SQfp16 (exact), by test (16-d, revision 1)"]


def test_the_centroids_of_the_last_snapshot_are_used_again(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "TARGET_RECALL", 0.5)
    publish(filled, "IVF8,SQ8")
    filled.remove_documents("c", ["0.txt"])
    trained: list[bool] = []
    build = snapshots.build_index
    monkeypatch.setattr(snapshots, "build_index", lambda *of: trained.append(len(of) < 4) or build(*of))
    assert publish(filled, "IVF8,SQ8").chunks == 200
    assert trained == [False]
    ids, vectors, _ = filled.vectors()
    snapshot = load_snapshot(filled, pytest.fail)
    assert search(snapshot, vectors[20].astype(np.float32), 1, ChunkSet(ids[20:21]))[0][0] == ids[20]


def test_centroids_that_no_longer_serve_are_learned_anew(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(filled, "IVF8,SQ8")
    monkeypatch.setattr(snapshots, "TARGET_RECALL", TARGET_RECALL + 1)
    trained: list[bool] = []
    build = snapshots.build_index
    monkeypatch.setattr(snapshots, "build_index", lambda *of: trained.append(len(of) < 4) or build(*of))
    publish(filled, "IVF8,SQ8")
    assert trained == [False, True]


def test_only_a_search_among_all_chunks_goes_to_the_device_copy(filled: Store) -> None:
    """The copy stands for a GPU's, whose indexes ignore selectors: what is filtered must not reach it."""
    import faiss

    generation = publish(filled)
    loaded = load_snapshot(filled, pytest.fail)
    asked: list[int] = []

    class Spy(DeviceCopy):
        def neighbours(self, query: np.ndarray, limit: int) -> list[tuple[int, float]]:
            asked.append(limit)
            return super().neighbours(query, limit)

    assert loaded.index is not None
    snapshot = Snapshot(generation, loaded.index, loaded.data, Spy(loaded.index, faiss.clone_index))
    ids, query = filled.chunk_ids(Scope("c")), unit_rows(1)[0]
    everything = search(snapshot, query, 5, ChunkSet(ids, filled.revision()))
    assert asked == [5]
    assert [chunk_id for chunk_id, _ in everything] == [chunk_id for chunk_id, _ in search(loaded, query, 5, ChunkSet(ids))]
    part = search(snapshot, query, 300, ChunkSet(ids[::2], filled.revision()))
    assert {chunk_id for chunk_id, _ in part} == set(ids[::2].tolist())
    search(snapshot, query, 5, ChunkSet(ids, filled.revision() - 1))
    search(snapshot, query, 5, ChunkSet(ids))
    assert asked == [5]


def test_a_store_without_chunks_has_an_empty_snapshot(store: Store) -> None:
    snapshot = load_snapshot(store, lambda _: None)
    assert snapshot.index is None
    assert search(snapshot, unit_rows(1)[0], 5, ChunkSet(np.array([1]))) == []


def test_a_course_that_has_grown_since_the_snapshot_does_not_see_another(filled: Store, tmp_path: Path) -> None:
    publish(filled)
    snapshot = load_snapshot(filled, pytest.fail)
    filled.save_course("new", "New", tmp_path)
    text = Chunk("n", 0, 1, Location(LocationKind.PAGE, 1))
    for number in range(301):
        filled.save_document("new", NewDocument(f"{number}.txt", "s", "recipe", "txt", "", 0, "n", [text], ["0-0"], {}))
    allowed = filled.chunk_ids(Scope("new"))
    assert len(allowed) > snapshot.generation.chunks
    assert search(snapshot, unit_rows(1)[0], 5, ChunkSet(allowed)) == []


def test_while_another_process_writes_a_damaged_snapshot_is_rebuilt_in_memory(filled: Store) -> None:
    file = filled.directory / publish(filled).file
    file.write_bytes(b"damaged")
    notices: list[str] = []
    with filled.writer_lock():
        snapshot = load_snapshot(filled, notices.append)
    assert len(notices) == 1
    assert snapshot.generation.kind == "in memory"
    assert search(snapshot, unit_rows(1)[0], 1, ChunkSet(filled.vectors()[0]))[0][1] == pytest.approx(1, abs=1e-3)
    assert file.read_bytes() == b"damaged"


def test_a_running_reader_notices_a_run_that_was_killed(filled: Store) -> None:
    publish(filled)
    notices: list[str] = []
    holder = SnapshotHolder(filled, notices.append)
    holder.current()
    filled.remove_documents("c", ["0.txt"])
    holder.current()
    holder.wait()
    assert holder.current().generation.chunks == 200
    assert "older than the catalogue" in notices[0]
