"""How fast the parts are on this machine, beside what a newcomer would write; the ratio of interleaved runs is the figure that counts."""

from __future__ import annotations

import random
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from rag.config import Config
from rag.embed import SentenceTransformerEmbedder
from rag.models import choose_device, find_embedder, load_naive_embedder

SAMPLE_COURSE = Path(__file__).parent.parent / "corpora" / "llm-systems"
TOKENS = {"cpu": 30_000, "cuda": 3_000_000}
RUNS = 3


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench of the table: what it measures, and the function that does."""

    about: str
    run: Callable[[Config], dict[str, Any]]


def bench_embed(config: Config, tokens: int | None = None, runs: int = RUNS) -> dict[str, Any]:
    """Our embedder beside sentence-transformers' defaults (fp32, batches of 32 texts) on the same texts, in turns: medians.

    Args:
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
    "embed": Bench("tokens a second of the embedder, beside sentence-transformers' defaults", bench_embed),
}


def _timed(run: Callable[[], np.ndarray], seconds: list[float]) -> np.ndarray:
    started = time.perf_counter()
    rows = run()
    seconds.append(time.perf_counter() - started)
    return rows


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
