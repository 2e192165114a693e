"""How fast this machine multiplies matrices in each type, at an encoder's shapes; what was found is remembered in the user's cache.

The probe is both the choice of the type and the ceiling that the embedder's speed is compared with: nothing but the matrix products of
the encoder's linear layers, one thread per core, weights packed, inputs ready in the type.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs

from rag.encoder import BFLOAT16, DTYPES, FLOAT32, INT8, PACKED_ROWS, Recipe

PROBED_ROWS = 512
GAIN = {BFLOAT16: 1.2, INT8: 1.3}
"""A type is worth its loss of precision when its products are so many times faster than those of the next wider one."""
HOPELESS = 8
"""A type that takes so many times longer than fp32 in a tiny product has no kernel here, and is not tried further."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is remembered of a model on a machine."""

    ceiling_tokens_s: dict[str, float]
    """By type: tokens a second of all cores if nothing but the linear layers took time."""
    similarity: dict[str, float]
    """By type: mean cosine to sentence-transformers in fp32, where it was measured."""

    def preferred(self) -> tuple[str, ...]:
        """The types in the order in which they should be tried."""
        best = [FLOAT32]
        for dtype in (BFLOAT16, INT8):
            if self.ceiling_tokens_s.get(dtype, 0) >= GAIN[dtype] * self.ceiling_tokens_s[best[0]]:
                best.insert(0, dtype)
        return tuple(best)


def trial_path(revision: str) -> Path:
    """Where the trial of a model's weights on this CPU with this torch is kept."""
    import torch

    return _path(revision, torch.get_num_threads(), torch.__version__)


def _path(revision: str, threads: int, torch_version: str) -> Path:
    release = torch_version.partition("+")[0]  # the part behind it, what torch was built for, is missing in the metadata of some wheels
    key = repr((processor_name(), os.cpu_count(), threads, release, revision, 2))
    return platformdirs.user_cache_path("lectern") / "trials" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def recall_any(revision: str) -> Trial | None:
    """The trial of a model's weights on this CPU with the largest number of threads that one was made with; found without torch."""
    version = metadata.version("torch")
    trials = (recall(_path(revision, threads, version)) for threads in range(os.cpu_count() or 1, 0, -1))
    return next((trial for trial in trials if trial is not None), None)


def processor_name() -> str:
    """The CPU's name and instruction sets; a virtual machine's name alone says too little."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags")))


def recall(path: Path) -> Trial | None:
    try:
        return Trial(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):  # never made, or half written by a machine that fell over: it is made again
        return None


def remember(path: Path, trial: Trial) -> None:
    """Keeps a trial for the next start. A cache that cannot be written costs that start a second, and no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(asdict(trial), file)
        Path(file.name).replace(path)
    except OSError:
        return


def probe_ceilings(recipe: Recipe, threads: ThreadPoolExecutor, workers: int) -> dict[str, float]:
    """Tokens a second by type; types without a fast kernel are left out. Some 0.3 s, on all cores at once as they share caches and power.

    Args:
        threads: compute with one core each, as many as there are workers.
    """
    barrier = threading.Barrier(workers)
    probes = [threads.submit(_probe, recipe.shapes, barrier) for _ in range(workers)]
    seconds = [probe.result() for probe in probes]
    everywhere = [dtype for dtype in DTYPES if all(dtype in of_worker for of_worker in seconds)]
    return {dtype: sum(PROBED_ROWS / (of_worker[dtype] * recipe.layers) for of_worker in seconds) for dtype in everywhere}


def _probe(shapes: Sequence[tuple[int, int]], barrier: threading.Barrier) -> dict[str, float]:
    """Seconds by type that one thread takes for `PROBED_ROWS` rows through the matrices of a layer."""
    tiny = {dtype: _tiny_seconds(dtype, shapes) for dtype in DTYPES}
    fast = [dtype for dtype in DTYPES if tiny[dtype] <= HOPELESS * tiny[FLOAT32]]
    barrier.wait(timeout=60)
    return {dtype: sum(_fastest(_product(dtype, PROBED_ROWS, *shape), 8) for shape in shapes) for dtype in fast}


def _tiny_seconds(dtype: str, shapes: Sequence[tuple[int, int]]) -> float:
    """Infinity for a type that this CPU has no instructions for: oneDNN refuses bf16 without AVX-512."""
    try:
        return sum(_fastest(_product(dtype, 16, *shape), 3) for shape in shapes)
    except RuntimeError:
        return float("inf")


def _product(dtype: str, rows: int, inputs: int, outputs: int) -> Callable[[], object]:
    """A linear layer, ready to be run."""
    import torch

    bias = torch.zeros(outputs)
    if dtype == INT8:
        left = torch.randint(0, 255, (rows, inputs), dtype=torch.uint8)
        packed = torch.ops.onednn.qlinear_prepack(torch.randint(-127, 127, (outputs, inputs), dtype=torch.int8), [PACKED_ROWS, inputs])
        scales, zeros = torch.ones(outputs), torch.zeros(outputs, dtype=torch.int64)
        arguments: tuple[Any, ...] = (left, 1.0, 128, packed, scales, zeros, bias, 1.0, 0, torch.bfloat16, "none", [], "")
        return lambda: torch.ops.onednn.qlinear_pointwise(*arguments)
    kind = torch.bfloat16 if dtype == BFLOAT16 else torch.float32
    left = torch.randn(rows, inputs).to(kind)
    packed = torch.ops.mkldnn._reorder_linear_weight(torch.randn(outputs, inputs).to(kind), PACKED_ROWS)
    return lambda: torch.ops.mkldnn._linear_pointwise(left, packed, bias.to(kind), "none", [], "")


def _fastest(run: Callable[[], object], times: int) -> float:
    """Shortest of several runs, in seconds of this thread's own time: what other processes take of the core does not count."""
    run()
    shortest = float("inf")
    for _ in range(times):
        started = time.thread_time()
        run()
        shortest = min(shortest, time.thread_time() - started)
    return shortest
