"""`python reader.py STORE THREADS`: searches until stdin closes, then says what was wrong. Started by test_readers.py."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from faults.audit import COURSE, QUESTIONS
from rag.snapshots import SnapshotHolder, search
from rag.store import Store
from rag.text import embedded_text
from rag.types import Scope
from rag.vectors import ChunkSet
from support import HashingEmbedder


def main(directory: Path, threads: int) -> None:
    store, stop = Store.open(directory), threading.Event()
    holder = SnapshotHolder(store, lambda notice: None)
    readers = [_Reader(store, holder, stop) for _ in range(threads)]
    for reader in readers:
        reader.start()
    print("ready", flush=True)
    sys.stdin.read()
    time.sleep(0.2)
    stop.set()
    for reader in readers:
        reader.join()
    newest = store.generation()
    late = [reader.generation for reader in readers if newest is None or reader.generation != newest.number]
    print(
        json.dumps(
            {
                "searches": sum(reader.searches for reader in readers),
                "generations": len(set().union(*(reader.generations for reader in readers))),
                "faults": [fault for reader in readers for fault in reader.faults][:5] + [f"stayed at generation {one}" for one in late],
                "slowest_ms": round(max(reader.slowest for reader in readers) * 1000),
            }
        )
    )


class _Reader(threading.Thread):
    def __init__(self, store: Store, holder: SnapshotHolder, stop: threading.Event) -> None:
        super().__init__()
        self.store, self.holder, self.stop = store, holder, stop
        self.embedder = HashingEmbedder()
        self.searches, self.slowest, self.generation = 0, 0.0, 0
        self.generations: set[int] = set()
        self.faults: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            began = time.perf_counter()
            self._search(QUESTIONS[self.searches % len(QUESTIONS)])
            self.slowest = max(self.slowest, time.perf_counter() - began)
            self.searches += 1
            time.sleep(0.02)  # sixteen that never pause would leave the writer no processor
        self.store.close()

    def _search(self, question: str) -> None:
        """One search as the retriever does it; a hit whose text is not as similar as the index says is one of another generation."""
        snapshot = self.holder.current()
        self.generation = snapshot.generation.number
        self.generations.add(self.generation)
        query = self.embedder.embed_query(question)
        found = search(snapshot, query, 5, ChunkSet(self.store.chunk_ids(Scope(COURSE))))
        passages = self.store.passages([chunk_id for chunk_id, _ in found])
        for chunk_id, similarity in found:
            passage = passages.get(chunk_id)
            if passage is None:  # deleted between the search and the look-up
                continue
            exact = float(self.embedder.embed_query(embedded_text(passage.chunk.context, passage.chunk.text)) @ query)
            if abs(exact - similarity) > 2e-3:
                self.faults.append(f"chunk {chunk_id} has similarity {exact:.3f}, generation {self.generation} says {similarity:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
