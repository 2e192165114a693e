"""`python benchmarks/search_peers.py langchain|usearch FOLDER`: a vector store as others write it, on the vectors of `rag bench search`.

FOLDER holds `vectors.npy`, `texts.jsonl`, `questions.npy` and `expected.npy` (the rows of the ten nearest). A search begins with a
question's vector and ends with ten passages; there is no word search, no filter and no embedding in it. Memory is what the index and the
texts added to the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

BLOCK = 50_000
Search = Callable[[np.ndarray], list[int]]


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def blocks(folder: Path) -> Iterator[tuple[int, np.ndarray, list[str]]]:
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    with (folder / "texts.jsonl").open() as lines:
        for first in range(0, len(vectors), BLOCK):
            rows = np.array(vectors[first : first + BLOCK], np.float32)
            yield first, rows, [json.loads(next(lines)) for _ in rows]


def langchain(folder: Path) -> Search:
    """LangChain's FAISS store as it comes: a flat fp32 index, the passages in a dictionary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says at import that it is no longer maintained
        from langchain_community.docstore.in_memory import InMemoryDocstore
        from langchain_community.vectorstores import FAISS
        from langchain_community.vectorstores.utils import DistanceStrategy
    import faiss
    from langchain_core.embeddings import DeterministicFakeEmbedding

    dimension = np.load(folder / "questions.npy").shape[1]
    never_asked = DeterministicFakeEmbedding(size=dimension)
    store = FAISS(never_asked, faiss.IndexFlatIP(dimension), InMemoryDocstore(), {}, distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT)
    for first, rows, texts in blocks(folder):
        metadatas = [{"row": first + number} for number in range(len(texts))]
        store.add_embeddings(zip(texts, rows.tolist(), strict=True), metadatas)
    return lambda vector: [found.metadata["row"] for found in store.similarity_search_by_vector(vector.tolist(), k=10)]


def usearch(folder: Path) -> Search:
    """Plain usearch: an HNSW graph over fp16 vectors with its default settings, the passages in a list."""
    from usearch.index import Index

    index = Index(ndim=np.load(folder / "questions.npy").shape[1], metric="ip", dtype="f16")
    passages: list[str] = []
    for first, rows, texts in blocks(folder):
        index.add(np.arange(first, first + len(rows)), rows)
        passages += texts

    def search(vector: np.ndarray) -> list[int]:
        keys = index.search(vector, 10).keys.tolist()
        assert all(passages[key] for key in keys)
        return keys

    return search


def main(peer: str, folder: Path) -> None:
    before, started = resident_mb(), time.perf_counter()
    try:
        search = {"langchain": langchain, "usearch": usearch}[peer](folder)
    except ImportError as e:
        print(
            json.dumps(
                {"missing": f"{e.name} is not installed; run: pip install --no-deps -c constraints.txt langchain-community usearch numkong"}
            )
        )
        return
    built, memory = time.perf_counter() - started, resident_mb() - before
    questions, expected = np.load(folder / "questions.npy"), np.load(folder / "expected.npy")
    for question in questions[:10]:
        search(question)
    seconds, shares = [], []
    for question, right in zip(questions, expected, strict=True):
        began = time.perf_counter()
        found = search(question)
        seconds.append(time.perf_counter() - began)
        shares.append(len(set(found) & set(right.tolist())) / len(right))
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    print(json.dumps({"p50_ms": p50, "p95_ms": p95, "recall@10": float(np.mean(shares)), "memory_mb": memory, "build_s": built}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
