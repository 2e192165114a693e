"""FAISS indexes: which kind for how many vectors, built, and searched within a set of chunks.

Exact kinds as long as they are fast; beyond, an inverted file whose recall against exact search is measured each time one is built. Indexes
are never added to once built, so that any number of threads may search one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import StoreError

if TYPE_CHECKING:
    import faiss

EXACT_LIMIT = 200_000
"""Up to so many chunks fp16 vectors are compared one by one: 6 ms; 30 ms at a million (docs/experiments.md)."""
TARGET_RECALL = 0.97
"""Recall@10 that an inverted file must reach on questions like those of people; as many lists are probed as that takes."""
MOST_PROBED = 1 / 2
"""Share of an inverted file's lists beyond which probing more is no faster than an exact search."""
RECALL_QUESTIONS, RECALL_AT = 200, 10
QUESTION_SIMILARITY = 0.42
"""Median cosine of the sample course's golden questions to the passage that answers them."""
TRAINING_ROWS = 64
"""Vectors for each list that its centroid is learned from. FAISS asks for 39 at least, and more than 256 change nothing."""
BLOCK_ROWS = 65_536
GPU_MOST_HITS = 2048
"""No GPU kind of FAISS returns more."""


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
    """The FAISS factory string for so many vectors.

    The number of lists is the power of two next to the square root of `count`: comparing a question with the centroids then costs about as
    much as scanning one list, and training stays within seconds.
    """
    if count <= EXACT_LIMIT:
        return "IDMap2,SQfp16"
    return f"IVF{2 ** round(np.log2(count) / 2)},SQ8"


def is_exact(kind: str) -> bool:
    """Whether an index of this kind misses nothing: the catalogue's vectors are fp16 too."""
    return kind == "IDMap2,SQfp16"


class ChunkSet:
    """The chunks that a search may find: a bit for each id up to the largest, 125 KB for a million.

    Args:
        ids: `(n,) int64`, each once.
        revision: of the catalogue that has these chunks; None when it is not known.
    """

    def __init__(self, ids: np.ndarray, revision: int | None = None) -> None:
        self.revision = revision
        self._count = len(ids)
        marked = np.zeros(int(ids.max()) + 1 if len(ids) else 0, bool)
        marked[ids] = True
        self._bitmap = np.packbits(marked, bitorder="little")

    def __len__(self) -> int:
        return self._count

    def selector(self) -> faiss.IDSelectorBitmap:
        """Tests an id in a nanosecond. FAISS keeps bare pointers to it and to the set: both must outlive the search."""
        import faiss

        return faiss.IDSelectorBitmap(self._bitmap)  # type: ignore[call-arg, arg-type]


def build_index(ids: np.ndarray, vectors: np.ndarray, kind: str, trained: faiss.Index | None = None) -> Any:
    """An inner-product index over `vectors`, `(n, d)` unit rows, that answers with `ids`, `(n,) int64`.

    Args:
        trained: an empty index of this kind to fill, so that nothing is learned again.
    """
    load_faiss()
    import faiss

    index = trained if trained is not None else faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if trained is None:
        index.train(_training_rows(index, vectors))
    for first, rows in _blocks(vectors):
        index.add_with_ids(rows, ids[first : first + len(rows)])
    return index


def _training_rows(index: faiss.Index, vectors: np.ndarray) -> np.ndarray:
    """Rows drawn with a fixed seed, in their order: the same vectors always make the same index."""
    lists = getattr(index, "nlist", 1024)
    if len(vectors) > lists * TRAINING_ROWS:
        vectors = vectors[np.sort(np.random.default_rng(0).choice(len(vectors), lists * TRAINING_ROWS, replace=False))]
    return np.ascontiguousarray(vectors, np.float32)


def _blocks(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """`(first row, rows as float32)` of blocks: the whole would take twice the memory of the fp16 vectors again."""
    for first in range(0, len(vectors), BLOCK_ROWS):
        yield first, np.ascontiguousarray(vectors[first : first + BLOCK_ROWS], np.float32)


def neighbours(index: faiss.Index, count: int, query: np.ndarray, limit: int, allowed: ChunkSet | None) -> list[tuple[int, float]]:
    """The `limit` ids nearest to `query`, `(d,) float32` of norm 1: `(id, cosine)`, best first.

    An inverted file is probed the deeper the fewer of its `count` vectors are allowed, so that about as many are compared, and as many of
    the right ones found, as when all are allowed: all lists when the allowed are a smaller share than the lists it usually probes.

    Args:
        allowed: the ids to find; None for all.
    """
    if allowed is not None and not len(allowed):
        return []
    faiss: Any = load_faiss()
    selector = allowed.selector() if allowed is not None else None
    limit = min(limit, count if allowed is None else len(allowed))
    parameters: Any = None
    if isinstance(index, faiss.IndexIVF):
        share = len(allowed) / count if allowed is not None else 1.0
        probes = index.nlist if share * index.nlist <= index.nprobe else int(np.ceil(index.nprobe / min(share, 1.0)))
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    elif selector is not None:
        parameters = faiss.SearchParameters(sel=selector)
    # One question is one thread's work, yet FAISS waits for its other threads too: 9.9 ms instead of 0.1 beside two busy processes.
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        similarities, ids = index.search(query[None, :], limit, params=parameters)
    finally:
        faiss.omp_set_num_threads(threads)
    return [(int(id_), float(similarity)) for id_, similarity in zip(ids[0], similarities[0], strict=True) if id_ >= 0]


def tune(index: Any, ids: np.ndarray, vectors: np.ndarray) -> float:
    """Sets how many lists an inverted file probes, doubled until `TARGET_RECALL` is reached; the recall@10 it has then."""
    questions = question_like(vectors, RECALL_QUESTIONS)
    expected = exact_neighbours(ids, vectors, questions, RECALL_AT)
    index.nprobe = min(8, index.nlist)
    while True:
        recall = recall_at(expected, index.search(questions, expected.shape[1])[1])
        if recall >= TARGET_RECALL or 2 * index.nprobe > MOST_PROBED * index.nlist:
            return recall
        index.nprobe *= 2


def question_like(vectors: np.ndarray, count: int) -> np.ndarray:
    """`(count, d) float32` unit rows: stored vectors drawn with a fixed seed and turned away until their cosine to where they were is that
    of a question to its passage. Each is turned towards a random mixture of 64 others, so that it stays where vectors of text are.
    """
    draw = np.random.default_rng(0)
    targets = _unit(vectors[draw.integers(len(vectors), size=count)].astype(np.float32))
    others = vectors[draw.integers(len(vectors), size=64)].astype(np.float32)
    away = draw.standard_normal((count, len(others)), np.float32) @ (others - others.mean(0))
    away = _unit(away - (away * targets).sum(1, keepdims=True) * targets)
    return QUESTION_SIMILARITY * targets + np.sqrt(1 - QUESTION_SIMILARITY**2) * away


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def exact_neighbours(ids: np.ndarray, vectors: np.ndarray, questions: np.ndarray, limit: int) -> np.ndarray:
    """`(questions, limit) int64`: the ids of the vectors with the largest products, best first, all compared."""
    import faiss
    from faiss.contrib.exhaustive_search import knn_ground_truth

    blocks = (rows for _, rows in _blocks(vectors))
    return ids[knn_ground_truth(questions, blocks, min(limit, len(ids)), faiss.METRIC_INNER_PRODUCT, ngpu=0)[1]]


def recall_at(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean share of each row of `expected` that stands in the same row of `found`."""
    return float(np.mean([np.isin(right, got).mean() for right, got in zip(expected, found, strict=True)]))


def copy_to_gpu(index: faiss.Index) -> DeviceCopy | None:
    """A copy of an index on the first GPU for searches among all vectors; None without a GPU, or with the FAISS that knows none.

    FAISS's GPU kinds do not take selectors (some ignore them in silence): a search among some vectors stays with the index itself.
    """
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return None
    resources: Any = faiss.StandardGpuResources()
    return DeviceCopy(index, lambda flat: faiss.index_cpu_to_gpu(resources, 0, flat), resources)


class DeviceCopy:
    """A copy of an index on another device; one search at a time, as a GPU's scratch memory is shared.

    There is no flat scalar quantizer on GPUs: an exact index is copied as flat vectors, whose products are the same.

    Args:
        to_device: copies a CPU index.
        resources: what the copy needs to live.
    """

    def __init__(self, index: faiss.Index, to_device: Callable[[faiss.Index], Any], resources: object = None) -> None:
        import faiss

        self._resources = resources
        self._ids: np.ndarray | None = None
        if isinstance(index, faiss.IndexIDMap2):
            self._ids = faiss.vector_to_array(index.id_map)
            flat = faiss.IndexFlatIP(index.d)
            storage = faiss.downcast_index(index.index)
            for first in range(0, index.ntotal, BLOCK_ROWS):
                flat.add(storage.reconstruct_n(first, min(BLOCK_ROWS, index.ntotal - first)))
            self._copy = to_device(flat)
        else:
            self._copy = to_device(index)
            self._copy.nprobe = index.nprobe  # type: ignore[attr-defined]
        self._lock = threading.Lock()

    def neighbours(self, query: np.ndarray, limit: int) -> list[tuple[int, float]]:
        """The `limit` ids nearest to `query`: `(id, cosine)`, best first."""
        with self._lock:
            similarities, rows = self._copy.search(query[None, :], limit)
        ids = rows[0] if self._ids is None else np.where(rows[0] >= 0, self._ids[rows[0]], -1)
        return [(int(id_), float(similarity)) for id_, similarity in zip(ids, similarities[0], strict=True) if id_ >= 0]
