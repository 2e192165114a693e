"""How long a search takes, stage by stage, what it misses and what memory it needs: on the sample course and on made-up corpora.

Each of our cases and of the peers is measured in a process of its own, so that memory is theirs alone. A made-up question has a vector
made from its passage's and a text made of its course's words; the text is embedded too, for the time that takes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rag.bench_corpus import CourseWords, Statistics, course_vectors, measure, question_vectors, write_store
from rag.config import NONE, Config
from rag.embed import SentenceTransformerEmbedder
from rag.errors import LecternError
from rag.golden import read_questions
from rag.models import find_embedder
from rag.retrieve import Searcher
from rag.snapshots import publish, search
from rag.store import Store
from rag.timing import Stopwatch
from rag.types import Scope
from rag.vectors import ChunkSet, exact_neighbours, recall_at

ROOT = Path(__file__).parent.parent
SAMPLE_COURSE = ROOT / "corpora" / "llm-systems"
PEERS = ROOT / "benchmarks" / "search_peers.py"
SIZES = (0, 100_000, 1_000_000)
"""Passages of the made-up corpora; 0 is the sample course."""
QUESTIONS, WARM_UP = 200, 10
MOST_IN_GRAPH = 200_000
COURSE = "bench"
FILTERS = {"half": {"material": "notes"}, "hundredth": {"week": 7}, "none": {"week": 101}}
ABOUT = (
    "the course: the real one under the bundled models; larger: vectors of nested Gaussians with the covariance, the similarities within "
    "course, document and section and the question similarities of the sample course, texts of its sentences (rag/bench_corpus.py)"
)


@dataclass(frozen=True, slots=True)
class Case:
    """A store to search, and what is asked. `vectors` `(n, d) float32` are the questions'."""

    store: Path
    course: str
    questions: Sequence[str]
    vectors: np.ndarray

    def save(self, folder: Path) -> None:
        np.save(folder / "questions.npy", self.vectors)
        (folder / "case.json").write_text(json.dumps({"store": str(self.store), "course": self.course, "questions": list(self.questions)}))

    @classmethod
    def load(cls, folder: Path) -> Case:
        told = json.loads((folder / "case.json").read_text())
        return cls(Path(told["store"]), told["course"], told["questions"], np.load(folder / "questions.npy"))


class MadeUpQuestions(SentenceTransformerEmbedder):
    """Embeds a question for the time that takes, and gives `vector` for it: made-up passages are asked for by made-up vectors."""

    vector: np.ndarray | None = None

    def embed_query(self, text: str) -> np.ndarray:
        embedded = super().embed_query(text)
        return embedded if self.vector is None else self.vector


def bench_search(config: Config, folder: Path | None = None, sizes: Sequence[int] = SIZES, questions: int = QUESTIONS) -> dict[str, Any]:
    """Searches of the sample course and of made-up corpora: p50 and p95 over the questions after a warm-up, by stage; recall@10 of the
    dense leg against exact search; memory; the same within filters; and two peers on the same vectors (`benchmarks/search_peers.py`).

    Args:
        folder: keeps the made-up stores (2 GB for a million passages) and uses those that are there; by default a temporary one.
        sizes: passages of the made-up corpora; 0 is the sample course.
    """
    with tempfile.TemporaryDirectory() as scratch:
        kept = folder or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        embedder = SentenceTransformerEmbedder.from_config(config)
        sample = _sample_store(kept, config)
        golden = [question for question in read_questions(SAMPLE_COURSE / "questions.jsonl") if question.answerable]
        statistics = measure(sample, SAMPLE_COURSE.name, embedder, golden)
        figures: dict[str, Any] = {"about": ABOUT, "questions": questions}
        for size in sizes:
            label = f"{size:_}" if size else "course"
            if size:
                case, built = _made_up(kept / str(size), size, statistics, questions, sample)
            else:
                texts = [question.question for question in golden][:questions]
                case, built = Case(sample.directory, SAMPLE_COURSE.name, texts, _embedded(embedder, texts)), {}
            for name, value in (built | _measured(case, config, Path(scratch))).items():
                figures[f"{label} {name}"] = value
    return figures


def _sample_store(folder: Path, config: Config) -> Store:
    """The sample course, ingested as a person does it: `rag` knows nothing of `ingest`."""
    command = [sys.executable, "-m", "ingest", str(SAMPLE_COURSE), "--store", str(folder / "course"), "--device", config.device]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode not in (0, 3):
        raise LecternError(f"the sample course cannot be ingested: {done.stderr.decode()[-500:]}")
    return Store.open(folder / "course")


def _embedded(embedder: SentenceTransformerEmbedder, texts: Sequence[str]) -> np.ndarray:
    return np.stack([embedder.embed_query(text) for text in texts])


def _made_up(folder: Path, size: int, statistics: Statistics, questions: int, sample: Store) -> tuple[Case, dict[str, Any]]:
    """A made-up store of `size` passages, written unless a finished one is there, and its snapshot's making."""
    finished = folder / "finished"
    if not finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
        stamp = sample.embedder()
        assert stamp is not None
        write_store(Store.create(folder), COURSE, statistics, size, stamp)
        finished.touch()
    store = Store.open(folder)
    started = time.perf_counter()
    generation = publish(store)
    built = {"kind": generation.kind, "published recall@10": generation.recall, "publish_s": time.perf_counter() - started}
    draw = np.random.default_rng(3)
    courses = draw.integers(max(1, size // 1000), size=questions)
    targets = np.stack([course_vectors(statistics, int(course), min(size, 1000))[draw.integers(min(size, 1000))] for course in courses])
    texts = [CourseWords(int(course))(statistics.questions[number % len(statistics.questions)]) for number, course in enumerate(courses)]
    return Case(folder, COURSE, texts, question_vectors(statistics, targets)), built


def _measured(case: Case, config: Config, scratch: Path) -> dict[str, Any]:
    case.save(scratch)
    figures = _run([sys.executable, "-m", "rag.bench_search", str(scratch), config.device])
    _write_for_peers(case, scratch)
    for peer in ("langchain", "usearch"):
        if peer == "usearch" and figures["passages"] > MOST_IN_GRAPH:
            theirs: dict[str, Any] = {"missing": f"not built above {MOST_IN_GRAPH:,} passages: a million take ten minutes on two cores"}
        else:
            theirs = _run([sys.executable, str(PEERS), peer, str(scratch)])
        figures |= {f"{peer} {name}": value for name, value in theirs.items()}
        if "p50_ms" in theirs:
            figures[f"{peer} p50 / dense p50"] = theirs["p50_ms"] / figures["dense p50_ms"]
    return figures


def _run(command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise LecternError(f"{' '.join(command[1:4])} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _write_for_peers(case: Case, scratch: Path) -> None:
    """The same vectors, texts and right answers, in files that know nothing of us."""
    store = Store.open(case.store)
    ids, vectors, _ = store.vectors()
    np.save(scratch / "vectors.npy", vectors)
    np.save(scratch / "expected.npy", np.searchsorted(ids, exact_neighbours(ids, vectors, case.vectors, 10)))
    with (scratch / "texts.jsonl").open("w") as file:
        for _, _, text in store.chunk_texts():
            file.write(json.dumps(text) + "\n")


def measure_case(case: Case, config: Config) -> dict[str, Any]:
    """What this process finds: time by stage, recall, memory."""
    embedder = MadeUpQuestions(find_embedder(config.embedder, config.allow_downloads), config)
    embedder.embed_query("What is the late policy?")
    before = resident_bytes()
    started = time.perf_counter()
    searcher = Searcher(Store.open(case.store), embedder, config.replace(reader=NONE))  # what reading costs is no matter of size
    scope = Scope(case.course)
    searcher.search(case.questions[0], scope, 10)
    opening = time.perf_counter() - started
    spent = [_one_search(searcher, case, scope, number) for number in range(-WARM_UP, len(case.questions))][WARM_UP:]
    snapshot = searcher.snapshots.current()
    figures: dict[str, Any] = {
        "passages": snapshot.generation.chunks,
        "p50_ms": _quantile(spent, "total", 50),
        "p95_ms": _quantile(spent, "total", 95),
        **{f"{stage} p50_ms": _quantile(spent, stage, 50) for stage in ("understand", "embed", "dense", "lexical", "fuse", "compose")},
        "lexical p95_ms": _quantile(spent, "lexical", 95),
        "first search_s": opening,
        "memory_mb": (resident_bytes() - before) / 1e6,
        "index_mb": (snapshot.data.nbytes if snapshot.data is not None else 0) / 1e6,
        "catalogue_mb": (case.store / "catalogue.db").stat().st_size / 1e6,
    }
    figures["recall@10"] = _dense_recall(searcher, case, scope)
    for name, narrowed in FILTERS.items() if case.course == COURSE else ():
        narrow = Scope(case.course, **narrowed)  # type: ignore[arg-type]
        times = [_one_search(searcher, case, narrow, number) for number in range(-WARM_UP, len(case.questions))][WARM_UP:]
        figures[f"{name} kept p50_ms"] = _quantile(times, "total", 50)
        figures[f"{name} kept dense p50_ms"] = _quantile(times, "dense", 50)
        if (recall := _dense_recall(searcher, case, narrow)) is not None:
            figures[f"{name} kept recall@10"] = recall
    return figures


def _one_search(searcher: Searcher, case: Case, scope: Scope, number: int) -> dict[str, float]:
    """Milliseconds by stage."""
    assert isinstance(searcher.embedder, MadeUpQuestions)
    searcher.embedder.vector = case.vectors[number]
    watch = Stopwatch()
    searcher.search(case.questions[number], scope, 10, watch)
    return watch.latency().to_json()


def _quantile(spent: Sequence[dict[str, float]], stage: str, percent: int) -> float:
    return float(np.percentile([stages.get(stage, 0.0) for stages in spent], percent))  # nothing is searched in an empty scope


def _dense_recall(searcher: Searcher, case: Case, scope: Scope) -> float | None:
    """Of the dense leg, against comparing all vectors of the scope; None for an empty one."""
    ids, vectors, _ = searcher.store.vectors()
    allowed = np.isin(ids, searcher.store.chunk_ids(scope))
    if not allowed.any():
        return None
    expected = exact_neighbours(ids[allowed], vectors[allowed], case.vectors, 10)
    snapshot, chunks = searcher.snapshots.current(), ChunkSet(ids[allowed])
    found = [[chunk_id for chunk_id, _ in search(snapshot, vector, 10, chunks)] for vector in case.vectors]
    return recall_at(expected, np.array([row + [-1] * (10 - len(row)) for row in found]))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(json.dumps(measure_case(Case.load(Path(sys.argv[1])), Config(device=sys.argv[2]))))
