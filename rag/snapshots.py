"""Snapshots: FAISS indexes made from the catalogue, published by rename, verified before use, swapped while searches go on.

A snapshot is derived and replaceable: nothing is lost with it. It is served only when its bytes have the SHA-256, count and dimension that
the catalogue names; else it is made again from the catalogue's vectors, without parsing or embedding, and that is said in a notice.
Searching one snapshot from many threads is fine, as nothing is ever added to a published one.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import DiskFull, LecternError, StoreBusy, StoreError
from rag.files import put_in_place
from rag.records import Generation
from rag.store import Store
from rag.vectors import (
    GPU_MOST_HITS,
    TARGET_RECALL,
    ChunkSet,
    DeviceCopy,
    build_index,
    copy_to_gpu,
    index_kind,
    is_exact,
    load_faiss,
    neighbours,
    tune,
)

if TYPE_CHECKING:
    import faiss

PATIENCE_S = 0.02
"""How long the search that notices a newer snapshot waits for it: a course's is loaded by then, and a large one is not waited for."""
RETRY_S = 5.0
"""After a newer snapshot could not be loaded."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published set of vectors in memory."""

    generation: Generation
    index: faiss.Index | None
    """None for a store without chunks."""
    data: np.ndarray | None = None
    """The verified bytes of the file: the index points into them."""
    device_copy: DeviceCopy | None = None
    """Answers searches among all chunks."""


def search(snapshot: Snapshot, query: np.ndarray, limit: int, allowed: ChunkSet) -> list[tuple[int, float]]:
    """The `limit` chunks nearest to `query`, `(d,) float32` of norm 1, among those allowed: `(chunk id, cosine)`, best first."""
    if snapshot.index is None or not len(allowed):
        return []
    count = snapshot.generation.chunks
    # Equal numbers alone prove nothing, as the snapshot may be older than the catalogue that names the ids.
    whole = len(allowed) == count and allowed.revision == snapshot.generation.revision
    if whole and snapshot.device_copy is not None and limit <= GPU_MOST_HITS:
        return snapshot.device_copy.neighbours(query, min(limit, count))
    return neighbours(snapshot.index, count, query, limit, None if whole else allowed)


def publish(store: Store, kind: str | None = None) -> Generation:
    """Writes a snapshot of the catalogue as it is now and makes it the current one; older files are removed.

    The file is complete and on disk before the row that names it exists; a reader sees the old one or the new one.

    Args:
        kind: a FAISS factory string; by default the one for the number of chunks.

    Raises:
        StoreError: it cannot be written, as on a full disk (DiskFull); the old one stays.
    """
    ids, vectors, revision = store.vectors()
    number = store.next_generation()
    if not len(ids):
        generation = Generation(number, "", "", 0, "empty", revision)
    else:
        kind = kind or index_kind(len(ids))
        index, recall = _build(store, ids, vectors, kind)
        del vectors  # as large as the index: not both while it is written
        partial = store.directory / f"vectors-{number}.partial"
        digest = _write(partial, index)
        generation = Generation(number, f"vectors-{number}-{digest[:8]}.faiss", digest, len(ids), kind, revision, recall)
        _put_in_place(partial, store.directory / generation.file)
    store.save_generation(generation)
    remove_other_snapshots(store.directory, generation)
    return generation


def _build(store: Store, ids: np.ndarray, vectors: np.ndarray, kind: str) -> tuple[faiss.Index, float | None]:
    """An index of this kind and its recall@10, None for an exact one.

    The centroids of the current snapshot are used again when it is of this kind, as training takes longer than all the rest, unless the
    vectors have changed so much that they no longer do.
    """
    if is_exact(kind):
        return build_index(ids, vectors, kind), None
    if (trained := _emptied(store, kind)) is not None:
        index = build_index(ids, vectors, kind, trained)
        if (recall := tune(index, ids, vectors)) >= TARGET_RECALL:
            return index, recall
    index = build_index(ids, vectors, kind)
    return index, tune(index, ids, vectors)


def _emptied(store: Store, kind: str) -> faiss.Index | None:
    """The current snapshot without its vectors, if it is of this kind and undamaged."""
    generation = store.generation()
    if generation is None or generation.kind != kind:
        return None
    try:
        index, _ = _read_verified(store, generation, borrow=False)
    except StoreError:  # whoever serves it says so
        return None
    index.reset()
    return index


def load_snapshot(store: Store, notify: Callable[[str], None], use_gpu: bool = True) -> Snapshot:
    """The current snapshot, verified; made anew when it is missing, damaged, or left stale by a run that was ended half-way.

    Args:
        notify: told, in a sentence, when the snapshot had to be made anew.
        use_gpu: whether a GPU that FAISS finds may hold a copy of it.
    """
    generation = store.generation()
    if generation is None:
        problem = "there is no vector snapshot yet"
    elif _is_stale(store, generation):
        problem = f"the vector snapshot {generation.file or generation.number} is older than the catalogue"
    else:
        try:
            return _load(store, generation, use_gpu)
        except StoreError as e:
            if generation != store.generation():  # a run published the next one, and removed this, meanwhile
                return load_snapshot(store, notify, use_gpu)
            problem = str(e)
    notify(f"{problem}; making it anew from the catalogue")
    try:
        with store.writer_lock():
            return _load(store, publish(store), use_gpu)
    except StoreBusy:  # whoever writes will publish
        return _from_catalogue(store)
    except StoreError as e:
        notify(f"it is kept in memory only: {e}")
        return _from_catalogue(store)


def _is_stale(store: Store, generation: Generation) -> bool:
    """Whether a run ended without publishing what it had saved. While one goes on, an older snapshot is as it should be."""
    return generation.revision != store.revision() and not store.is_being_written()


def _load(store: Store, generation: Generation, use_gpu: bool) -> Snapshot:
    if not generation.file:
        return Snapshot(generation, None)
    index, data = _read_verified(store, generation)
    return Snapshot(generation, index, data, copy_to_gpu(index) if use_gpu else None)


def _from_catalogue(store: Store) -> Snapshot:
    """A snapshot in memory alone, for the time that another process writes."""
    ids, vectors, revision = store.vectors()
    number = (store.generation() or Generation(0, "", "", 0, "", 0)).number
    index = _build(store, ids, vectors, index_kind(len(ids)))[0] if len(ids) else None
    return Snapshot(Generation(number, "", "", len(ids), "in memory", revision), index)


class SnapshotHolder:
    """Holds the snapshot in use. A newer one is loaded in the background while searches go on with the one they have.

    Args:
        prepare: called with a newer snapshot, in the background, before any search gets it.
    """

    def __init__(
        self, store: Store, notify: Callable[[str], None], prepare: Callable[[Snapshot], None] = lambda _: None, use_gpu: bool = True
    ) -> None:
        self._store = store
        self._notify = notify
        self._prepare = prepare
        self._use_gpu = use_gpu
        self._snapshot: Snapshot | None = None
        self._made_for: tuple[Generation | None, int] | None = None
        self._lock = threading.Lock()
        self._loading: threading.Thread | None = None
        self._not_before = 0.0

    def current(self) -> Snapshot:
        """The newest snapshot that is loaded; only the first search of all waits for one."""
        if self._snapshot is None:
            with self._lock:
                if self._snapshot is None:
                    self._swap()
        assert self._snapshot is not None
        if not self._is_newest(self._snapshot):
            self._load_in_background()
        return self._snapshot

    def wait(self) -> None:
        """Returns when no snapshot is being loaded."""
        loading = self._loading
        if loading is not None:
            loading.join()

    def _swap(self) -> None:
        made_for = self._store.generation(), self._store.revision()  # before: what changes meanwhile is noticed by the next search
        snapshot = load_snapshot(self._store, self._notify, self._use_gpu)
        if snapshot.generation.file:
            made_for = snapshot.generation, snapshot.generation.revision
        self._prepare(snapshot)
        self._snapshot, self._made_for = snapshot, made_for

    def _load_in_background(self) -> None:
        with self._lock:
            if (self._loading is not None and self._loading.is_alive()) or time.monotonic() < self._not_before:
                return
            self._loading = threading.Thread(target=self._swap_or_tell, name="snapshot loader")
            self._loading.start()
        self._loading.join(PATIENCE_S)

    def _swap_or_tell(self) -> None:
        try:
            self._swap()
        except (LecternError, sqlite3.Error) as e:
            self._not_before = time.monotonic() + RETRY_S
            self._notify(f"the newer vector snapshot cannot be loaded, the older one stays in use: {e}")
        finally:
            self._store.close()

    def _is_newest(self, snapshot: Snapshot) -> bool:
        """One that is in memory only, as on a full disk, serves until the catalogue changes: it is not made anew for every question."""
        published = self._store.generation()
        if not snapshot.generation.file and snapshot.index is not None:
            return self._made_for == (published, self._store.revision())
        return snapshot.generation == published and not _is_stale(self._store, snapshot.generation)


def _read_verified(store: Store, generation: Generation, borrow: bool = True) -> tuple[faiss.Index, np.ndarray]:
    """The index of a snapshot's file, and the bytes that were hashed. With `borrow` it points into these, which halves the memory; changing
    such an index ends the process.
    """
    try:
        data = np.fromfile(store.directory / generation.file, np.uint8)
    except OSError as e:
        raise StoreError(f"the vector snapshot {generation.file} cannot be read ({e.strerror})") from e
    if hashlib.sha256(data.data).hexdigest() != generation.sha256:
        raise StoreError(f"the vector snapshot {generation.file} is damaged (its SHA-256 is not the recorded one)")
    faiss: Any = load_faiss()
    if borrow:
        index = faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(data), len(data)), faiss.IO_FLAG_MMAP_IFC)
    else:
        index = faiss.deserialize_index(data)
    stamp = store.embedder()
    if index.ntotal != generation.chunks or stamp is None or index.d != stamp.dimension:
        raise StoreError(
            f"the vector snapshot {generation.file} holds {index.ntotal} vectors of {index.d} dimensions, not what the catalogue says"
        )
    return index, data


def _write(partial: Path, index: faiss.Index) -> str:
    """Writes an index as it is serialised, without a second copy in memory; its SHA-256."""
    faiss: Any = load_faiss()
    digest = hashlib.sha256()
    failures: list[OSError] = []

    def take(block: bytes) -> None:
        if not failures:
            try:
                file.write(block)
                digest.update(block)
            except OSError as e:  # raised here, it would come out of FAISS as a RuntimeError
                failures.append(e)

    try:
        with partial.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(take))
        if failures:
            raise failures[0]
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise _cannot_be_written(partial, e) from e
    return digest.hexdigest()


def _put_in_place(partial: Path, path: Path) -> None:
    try:
        put_in_place(partial, path)
    except OSError as e:
        partial.unlink(missing_ok=True)
        raise _cannot_be_written(path, e) from e


def _cannot_be_written(path: Path, error: OSError) -> StoreError:
    kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StoreError
    return kind(f"{path.name} cannot be written to {path.parent}: {error.strerror}; make room there, then run: python -m ingest")


def remove_other_snapshots(directory: Path, current: Generation) -> None:
    """Deletes the snapshots of other generations, and what a run that was killed has left of them: they hold vectors of deleted text."""
    for file in (*directory.glob("vectors-*.faiss"), *directory.glob("vectors-*.partial")):
        if file.name != current.file:
            file.unlink(missing_ok=True)
