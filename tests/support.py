"""What several tests share by import: places, and the pure-function embedder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import threading
from collections.abc import Sequence
from functools import cache
from mmap import mmap
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np

from rag.config import BUNDLED
from rag.embed import EmbeddingUsage
from rag.models import find_embedder
from rag.reader import SETTINGS, WEIGHTS
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


def resident(mib: int) -> np.ndarray:
    """So many MiB in memory, mapped by themselves: an allocator would first look for holes in a heap that other tests have worn."""
    array = np.frombuffer(mmap(-1, mib << 20), np.uint8)
    array[:] = 1
    return array


def load_script(path: str) -> ModuleType:
    """A file that is run by itself (`scripts/…`, `benchmarks/…`), as a module of its own."""
    name = path.removesuffix(".py").replace("/", "_")  # not that of a package of tests
    specification = importlib.util.spec_from_file_location(name, ROOT / path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    with patch.object(sys, "path", list(sys.path)):
        specification.loader.exec_module(module)
    return module


def write_reader(folder: Path) -> Path:
    """A folder as `tune reader` writes it: the bundled encoder's layers, the first a little other, and heads drawn at random."""
    import torch
    from safetensors.torch import load_file, save_file

    base = find_embedder(BUNDLED)
    drawn = torch.Generator().manual_seed(0)
    changed = "encoder.layer.0.attention.self.query.weight"
    layers = {name: one for name, one in load_file(base.path / "model.safetensors").items() if name.startswith("encoder.")}
    layers[changed] = 1.1 * layers[changed]
    weights = {name: one.to(torch.bfloat16) for name, one in layers.items()}
    for head in ("span", "judge"):
        weights |= {f"{head}.weight": torch.randn(2, 384, generator=drawn), f"{head}.bias": torch.tensor([0.5, -0.5])}
    folder.mkdir()
    save_file(weights, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps({"base_revision": base.revision}))
    return folder
