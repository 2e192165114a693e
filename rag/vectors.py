"""FAISS snapshots: built from the catalogue, published by rename, verified before use, searched within a scope.

A snapshot is derived and replaceable: nothing is lost with it. It is served only when its bytes have the SHA-256, count and dimension that
the catalogue names; else it is made again from the catalogue's vectors, without parsing or embedding, and that is said in a notice.
Searching one snapshot from many threads is fine, as nothing is ever added to a published one.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import DiskFull, StoreBusy, StoreError
from rag.files import put_in_place
from rag.store import Generation, Store

if TYPE_CHECKING:
    import faiss

EXACT_HALF_LIMIT = 200_000
"""Above so many chunks 8-bit codes replace fp16: half the memory, and searching them is bound by memory."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published set of vectors in memory."""

    generation: Generation
    index: faiss.Index | None
    """None for a store without chunks."""


def load_faiss() -> object:
    """The module `faiss`.

    Raises:
        StoreError: it is missing or broken, as after uninstalling one of faiss-cpu and faiss-gpu where both were installed.
    """
    try:
        import faiss
    except ImportError as e:
        raise StoreError('FAISS is not installed; run: pip install -e ".[cpu]" (or ".[gpu]" with an NVIDIA GPU)') from e
    if not hasattr(faiss, "IndexFlat"):
        raise StoreError(
            "FAISS is broken (two variants were installed, one removed); run: pip install --force-reinstall --no-deps faiss-cpu"
        )
    return faiss


def index_kind(count: int) -> str:
    """The FAISS factory string for so many vectors: exact kinds, compressed as far as quality does not notice."""
    return "IDMap2,SQfp16" if count <= EXACT_HALF_LIMIT else "IDMap2,SQ8"


def build_index(ids: np.ndarray, vectors: np.ndarray, kind: str) -> faiss.Index:
    """An inner-product index over `vectors`, `(n, d)` unit rows, that answers with `ids`, `(n,) int64`."""
    load_faiss()
    import faiss

    rows = np.ascontiguousarray(vectors, np.float32)
    index = faiss.index_factory(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add_with_ids(rows, ids)
    return index


def publish(store: Store) -> Generation:
    """Writes a snapshot of the catalogue as it is now and makes it the current one; older files are removed.

    The file is complete and on disk before the row that names it exists; a reader sees the old one or the new one.

    Raises:
        StoreError: it cannot be written, as on a full disk (DiskFull); the old one stays.
    """
    ids, vectors, revision = store.vectors()
    number = store.next_generation()
    if not len(ids):
        generation = Generation(number, "", "", 0, "empty", revision)
        store.save_generation(generation)
    else:
        import faiss

        kind = index_kind(len(ids))
        data = faiss.serialize_index(build_index(ids, vectors, kind)).tobytes()
        digest = hashlib.sha256(data).hexdigest()
        generation = Generation(number, f"vectors-{number}-{digest[:8]}.faiss", digest, len(ids), kind, revision)
        _write_durably(store.directory / generation.file, data)
        store.save_generation(generation)
    remove_other_snapshots(store.directory, generation)
    return generation


def load_snapshot(store: Store, notify: Callable[[str], None]) -> Snapshot:
    """The current snapshot, verified; made anew when it is missing, damaged, or left stale by a run that was ended half-way.

    Args:
        notify: told, in a sentence, when the snapshot had to be made anew.
    """
    generation = store.generation()
    if generation is None:
        problem = "there is no vector snapshot yet"
    elif _is_stale(store, generation):
        problem = f"the vector snapshot {generation.file or generation.number} is older than the catalogue"
    else:
        try:
            return Snapshot(generation, _read_verified(store, generation))
        except StoreError as e:
            if generation != store.generation():  # a run published the next one, and removed this, meanwhile
                return load_snapshot(store, notify)
            problem = str(e)
    notify(f"{problem}; making it anew from the catalogue")
    try:
        with store.writer_lock():
            generation = publish(store)
            return Snapshot(generation, _read_verified(store, generation))
    except StoreBusy:  # whoever writes will publish
        return _from_catalogue(store)
    except StoreError as e:
        notify(f"it is kept in memory only: {e}")
        return _from_catalogue(store)


def _is_stale(store: Store, generation: Generation) -> bool:
    """Whether a run ended without publishing what it had saved. While one goes on, an older snapshot is as it should be."""
    return generation.revision != store.revision() and not store.is_being_written()


def _from_catalogue(store: Store) -> Snapshot:
    """A snapshot in memory alone, for the time that another process writes."""
    ids, vectors, revision = store.vectors()
    number = (store.generation() or Generation(0, "", "", 0, "", 0)).number
    index = build_index(ids, vectors, index_kind(len(ids))) if len(ids) else None
    return Snapshot(Generation(number, "", "", len(ids), "in memory", revision), index)


class SnapshotHolder:
    """Holds the snapshot in use and swaps to a newer one when there is one; searches under way keep the one they began with."""

    def __init__(self, store: Store, notify: Callable[[str], None]) -> None:
        self._store = store
        self._notify = notify
        self._snapshot: Snapshot | None = None
        self._made_for: tuple[Generation | None, int] | None = None
        self._loading = threading.Lock()

    def current(self) -> Snapshot:
        """The newest snapshot."""
        with self._loading:
            if self._snapshot is None or not self._is_newest(self._snapshot):
                self._snapshot = load_snapshot(self._store, self._notify)
                self._made_for = self._store.generation(), self._store.revision()
            return self._snapshot

    def _is_newest(self, snapshot: Snapshot) -> bool:
        """One that is in memory only, as on a full disk, serves until the catalogue changes: it is not made anew for every question."""
        published = self._store.generation()
        if not snapshot.generation.file and snapshot.index is not None:
            return self._made_for == (published, self._store.revision())
        return snapshot.generation == published and not _is_stale(self._store, snapshot.generation)


def search(snapshot: Snapshot, query: np.ndarray, limit: int, chunk_ids: np.ndarray) -> list[tuple[int, float]]:
    """The `limit` chunks nearest to `query`, `(d,) float32` of norm 1, among `chunk_ids`: `(chunk id, cosine)`, best first."""
    if snapshot.index is None or not len(chunk_ids):
        return []
    import faiss

    # Always with the selector: the snapshot may be older than the catalogue that names the ids, so their numbers prove nothing.
    # FAISS keeps a bare pointer to it: it must outlive the search.
    selector = faiss.IDSelectorBatch(chunk_ids)
    parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    similarities, ids = snapshot.index.search(query[None, :], min(limit, len(chunk_ids)), params=parameters)
    return [(int(chunk_id), float(similarity)) for chunk_id, similarity in zip(ids[0], similarities[0], strict=True) if chunk_id >= 0]


def _read_verified(store: Store, generation: Generation) -> faiss.Index | None:
    if not generation.file:
        return None
    try:
        data = (store.directory / generation.file).read_bytes()
    except OSError as e:
        raise StoreError(f"the vector snapshot {generation.file} cannot be read ({e.strerror})") from e
    if hashlib.sha256(data).hexdigest() != generation.sha256:
        raise StoreError(f"the vector snapshot {generation.file} is damaged (its SHA-256 is not the recorded one)")
    load_faiss()
    import faiss

    index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
    stamp = store.embedder()
    if index.ntotal != generation.chunks or stamp is None or index.d != stamp.dimension:
        raise StoreError(
            f"the vector snapshot {generation.file} holds {index.ntotal} vectors of {index.d} dimensions, not what the catalogue says"
        )
    return index


def _write_durably(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(data)
        put_in_place(partial, path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        kind = DiskFull if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StoreError
        raise kind(f"{path.name} cannot be written to {path.parent}: {e.strerror}; make room there, then run: python -m ingest") from e


def remove_other_snapshots(directory: Path, current: Generation) -> None:
    """Deletes the snapshots of other generations, and what a run that was killed has left of them: they hold vectors of deleted text."""
    for file in (*directory.glob("vectors-*.faiss"), *directory.glob("vectors-*.partial")):
        if file.name != current.file:
            file.unlink(missing_ok=True)
