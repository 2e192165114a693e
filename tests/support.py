"""What several tests share by import: places, and the pure-function embedder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from rag.embed import EmbeddingUsage
from rag.records import EmbedderStamp
from rag.text import content_stems

ROOT = Path(__file__).parent.parent
SAMPLE_COURSE = ROOT / "corpora" / "llm-systems"
SHARED_DATA = ROOT.parent / "shared" / "data"


class HashingEmbedder:
    """An `Embedder` that is a pure function of the words: each stem is one of 256 directions, so texts that share words are similar."""

    identity = ("hashing", "1")
    stamp = EmbedderStamp("hashing", "1", 256)
    device = "none"
    notice = ""
    batch_tokens = 0
    usage = EmbeddingUsage()

    def ceiling_tokens_s(self) -> float:
        return 0.0

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.embed_query(text) for text in texts], np.float32).reshape(len(texts), 256)

    def embed_query(self, text: str) -> np.ndarray:
        vector = np.full(256, 1e-6, np.float32)
        for word in content_stems(text):
            vector[_direction(word)] += 1
        return vector / np.linalg.norm(vector)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@cache
def _direction(word: str) -> int:
    return int(hashlib.sha256(word.encode()).hexdigest(), 16) % 256


def generating_threads() -> set[threading.Thread]:
    """The threads of generators; others, such as the timer of a cache, come and go."""
    return {thread for thread in threading.enumerate() if thread.name == "generate"}
