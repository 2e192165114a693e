"""How fast the parts are on this machine, beside what a newcomer would write; the ratio of interleaved runs is the figure that counts."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rag.bench_answer import bench_answer
from rag.bench_search import bench_search
from rag.config import Config
from rag.embed import SentenceTransformerEmbedder
from rag.errors import CorpusError, LecternError
from rag.models import choose_device, find_embedder, load_naive_embedder

SAMPLE_COURSE = Path(__file__).parent.parent / "corpora" / "llm-systems"
TOKENS = {"cpu": 30_000, "cuda": 3_000_000}
RUNS = 3
NAIVE_INGEST = Path(__file__).parent.parent / "benchmarks" / "naive_ingest.py"
UNCHANGED_FILES = 1000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench of the table: what it measures, and the function that does."""

    about: str
    run: Callable[..., dict[str, Any]]


def bench_ingest(config: Config, folder: Path | None = None, runs: int = RUNS, files: int = UNCHANGED_FILES) -> dict[str, Any]:
    """A folder's PDFs from file to searchable beside what tutorials write (`benchmarks/naive_ingest.py`), each in a process of its own, in
    turns: medians of all that passes from start to end, loading of libraries and models in it. And a second run over files of which none
    has changed.

    Args:
        folder: by default the sample course.
        files: how many unchanged files.
    """
    if importlib.util.find_spec("langchain_text_splitters") is None:
        raise LecternError(
            "what tutorials write needs langchain-text-splitters; run: pip install -c constraints.txt langchain-text-splitters"
        )
    model = find_embedder(config.embedder, config.allow_downloads)
    seconds: dict[str, list[float]] = {"ours": [], "naive": [], "unchanged": []}
    with tempfile.TemporaryDirectory() as scratch:
        pdfs, many = Path(scratch) / "pdfs", Path(scratch) / "many"
        _copy_pdfs(folder or SAMPLE_COURSE, pdfs)
        for run in range(runs):
            store, out = Path(scratch) / f"store-{run}", Path(scratch) / f"naive-{run}"
            out.mkdir()
            report = _report(_timed(partial(_ingest, pdfs, store, config), seconds["ours"]))
            naive = [sys.executable, str(NAIVE_INGEST), str(pdfs), str(out), str(model.path)]
            theirs = _report(_timed(partial(_run, naive), seconds["naive"]))
        _write_files(many, files)
        _ingest(many, store, config)
        for _ in range(runs):
            unchanged = _report(_timed(partial(_ingest, many, store, config), seconds["unchanged"]))
    spent = {who: statistics.median(times) for who, times in seconds.items()}
    return {
        "pages": report["pages"],
        "tokens": report["tokens"],
        "device": report["device"],
        "pages_s": report["pages"] / spent["ours"],
        "naive_pages_s": theirs["pages"] / spent["naive"],
        "ratio": spent["naive"] / spent["ours"],
        "seconds": spent["ours"],
        "embedding_seconds": report["seconds"]["embed"],
        "loading_seconds": report["seconds"].get("load", 0.0),
        "peak_memory_mb": report["peak_memory"]["ingest"] / 2**20,
        "reader_peak_memory_mb": report["peak_memory"]["reader"] / 2**20,
        "unchanged_files": unchanged["files"]["unchanged"],
        "unchanged_embedded": unchanged["embedded"],
        "unchanged_seconds": spent["unchanged"],
    }


def _copy_pdfs(folder: Path, target: Path) -> None:
    for number, path in enumerate(sorted(folder.rglob("*.pdf"))):
        target.mkdir(exist_ok=True)
        shutil.copyfile(path, target / f"{number:04}-{path.name}")
    if not target.exists():
        raise CorpusError(f"{folder} holds no PDF; name a folder that does")


def _write_files(folder: Path, count: int) -> None:
    folder.mkdir()
    an_hour_ago = time.time() - 3600
    for number in range(count):
        path = folder / f"notes-{number:04}.md"
        path.write_text(f"# Notes {number}\n\nThis is file {number} of {count}.\n")
        os.utime(path, (an_hour_ago, an_hour_ago))
    time.sleep(2.1)  # files touched less than two seconds ago are hashed every time


def _ingest(folder: Path, store: Path, config: Config) -> bytes:
    """What `python -m ingest --json` says: run as a person runs it, for `rag` knows nothing of `ingest`."""
    return _run([sys.executable, "-m", "ingest", str(folder), "--store", str(store), "--device", config.device, "--json"])


def _run(command: Sequence[str]) -> bytes:
    done = subprocess.run(command, cwd=SAMPLE_COURSE.parent.parent, capture_output=True, check=False)
    if done.returncode not in (0, 3):  # 3: some file was set aside
        raise LecternError(f"{' '.join(command[:3])} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.stdout


def _report(output: bytes) -> dict[str, Any]:
    return json.loads(output.splitlines()[-1])


def bench_embed(config: Config, folder: Path | None = None, tokens: int | None = None, runs: int = RUNS) -> dict[str, Any]:
    """Our embedder beside sentence-transformers' defaults (fp32, batches of 32 texts) on the same texts, in turns: medians.

    Args:
        folder: not used.
        tokens: how many word pieces to embed in a run; by default what takes some ten seconds on the device.
    """
    device = choose_device(config.device)
    ours = SentenceTransformerEmbedder.from_config(config)
    naive = load_naive_embedder(find_embedder(config.embedder, config.allow_downloads), device)
    texts = sample_texts(ours.count_tokens, tokens or TOKENS[device.partition(":")[0]])
    ours.embed_documents(texts[:32])
    naive.encode(texts[:32], show_progress_bar=False)
    seconds: dict[str, list[float]] = {"ours": [], "naive": []}
    read = 0
    for _ in range(runs):
        before = ours.usage
        found = _timed(lambda: ours.embed_documents(texts), seconds["ours"])
        read = (ours.usage - before).tokens
        expected = _timed(lambda: naive.encode(texts, show_progress_bar=False), seconds["naive"])
    similarity = (found * expected / np.linalg.norm(expected, axis=1, keepdims=True)).sum(axis=1)
    speed = {who: read / statistics.median(spent) for who, spent in seconds.items()}
    ceiling = ours.ceiling_tokens_s()
    return {
        "model": ours.identity[0],
        "device": ours.device,
        "notice": ours.notice,
        "texts": len(texts),
        "tokens": read,
        "batch_tokens": ours.batch_tokens,
        "tokens_s": speed["ours"],
        "naive_tokens_s": speed["naive"],
        "ratio": speed["ours"] / speed["naive"],
        "cosine_mean": float(similarity.mean()),
        "cosine_min": float(similarity.min()),
        "ceiling_tokens_s": ceiling,
        "share_of_ceiling": speed["ours"] / ceiling if ceiling else None,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


BENCHES = {
    "ingest": Bench("pages a second from file to searchable, beside what tutorials write; an unchanged second run", bench_ingest),
    "embed": Bench("tokens a second of the embedder, beside sentence-transformers' defaults", bench_embed),
    "answer": Bench("first token cold and warm and tokens a second of the generator, for 1 to 8 askers, beside generate()", bench_answer),
    "search": Bench(
        "time, recall and memory of a search among up to a million passages, beside LangChain's FAISS and usearch", bench_search
    ),
}


def _timed(run: Callable[[], Result], seconds: list[float]) -> Result:
    started = time.perf_counter()
    result = run()
    seconds.append(time.perf_counter() - started)
    return result


def sample_texts(count_tokens: Callable[[Sequence[str]], list[int]], tokens: int) -> list[str]:
    """Passages of the sample course, of the lengths that chunks have: most near 200 word pieces, a third shorter; always the same."""
    words = [word for path in sorted(SAMPLE_COURSE.rglob("*")) if path.suffix in {".md", ".txt", ".tex", ".srt"} for word in _words(path)]
    texts: list[str] = []
    total = 0
    passages = _passages(words)
    while total < tokens:
        batch = [next(passages) for _ in range(max(1, min(512, (tokens - total) // 200)))]
        total += sum(count_tokens(batch))
        texts += batch
    return texts


def _words(path: Path) -> list[str]:
    return path.read_text("utf-8").split()


def _passages(words: Sequence[str]) -> Iterator[str]:
    """Endless; each of other lengths and starting elsewhere, so that no two are the same for a long time."""
    draw = random.Random(0)
    for heading in cycle(("Syllabus › Grading", "Lecture 7 › Inference › The key-value cache", "Lab 2 › Quantization")):
        length = draw.randint(105, 140) if draw.random() < 2 / 3 else draw.randint(8, 105)
        start = draw.randrange(len(words) - length)
        yield f"{heading}\n{' '.join(words[start : start + length])}"


def table(name: str, figures: dict[str, Any]) -> str:
    """The figures of one bench for people, one a line."""
    width = max(map(len, figures))
    return "\n".join([f"bench {name}", *(f"  {key:{width}}  {_shown(value)}" for key, value in figures.items() if value not in ("", None))])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
