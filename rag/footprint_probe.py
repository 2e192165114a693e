"""What a part takes of memory, measured by loading it and letting it work: one part in a process, so that parts do not hide each other.

`python -m rag.footprint_probe PART` reads a configuration from stdin and prints its figures. On the CPU the figures are resident memory,
and before each is taken the allocator is told to give back what is free: other parts will use it, and must not be charged for it again. On
CUDA they are what torch's allocator has handed out.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil

from rag.command_line import print_error
from rag.config import NONE, Config
from rag.decoder import read_decoder_recipe
from rag.errors import LecternError, ModelError
from rag.models import (
    choose_device,
    choose_dtype,
    find_adapted_generator,
    find_embedder,
    load_generator,
    load_reranker,
    prepare_environment,
)
from rag.reader import MOST_TOKENS, Reader, load_reader, reader_folder
from rag.types import Decoding

LONG_TEXT = "the late policy of this course says that " * 200
"""Longer than most encoders read: it is cut at what they do."""
RERANK_BATCH = 32
"""Pairs that a CrossEncoder reads at once, its default."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Result = TypeVar("Result")


class Memory(Protocol):
    """Where memory is taken: bytes that are held now, and the most since the last reset; None where that is not known."""

    def held(self) -> int: ...

    def reset_peak(self) -> None: ...

    def peak(self) -> int | None: ...


class ProcessMemory:
    """Resident memory of this process: its own, and pages of the files that it has mapped."""

    def __init__(self) -> None:
        self._has_peak = True

    def held(self) -> int:
        gc.collect()
        give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if give_back is not None:
            give_back(0)
        return psutil.Process().memory_info().rss

    def reset_peak(self) -> None:
        try:
            _RESET.write_text("5")  # proc(5): the peak resident set size becomes the current one
        except OSError:
            self._has_peak = False

    def peak(self) -> int | None:
        if not self._has_peak:
            return None
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10


class CudaMemory:
    """What torch has allocated on a CUDA device."""

    def __init__(self, device: str) -> None:
        import torch

        self._cuda, self._device = torch.cuda, device

    def held(self) -> int:
        gc.collect()
        self._cuda.synchronize(self._device)
        return self._cuda.memory_allocated(self._device)

    def reset_peak(self) -> None:
        self._cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> int | None:
        return self._cuda.max_memory_allocated(self._device)


@dataclass(frozen=True, slots=True)
class Taken:
    """What some work took: `kept` is still held after it, `passing` was held on top of what was there before, at the most."""

    kept: int
    passing: int | None


def measure(memory: Memory, work: Callable[[], Result]) -> tuple[Result, Taken]:
    """The result of some work, and what that took."""
    before = memory.held()
    memory.reset_peak()
    result = work()
    peak = memory.peak()
    after = memory.held()
    return result, Taken(after - before, None if peak is None else peak - before)


def memory_of(device: str) -> Memory:
    return CudaMemory(device) if device.startswith("cuda") else ProcessMemory()


def import_libraries(config: Config) -> None:
    """What serving imports with this configuration, so that no part is charged for it."""
    prepare_environment(config.allow_downloads)
    import safetensors.torch
    import threadpoolctl  # type: ignore[import-untyped]
    import torch

    import rag.engine
    from rag.vectors import load_faiss

    load_faiss()
    if config.generator != NONE and not config.base_url:
        import transformers.modeling_utils
        import transformers.tokenization_utils_tokenizers  # noqa: F401
    if config.reranker != NONE or choose_device(config.device).startswith("cuda"):
        import sentence_transformers  # noqa: F401
    del safetensors, threadpoolctl, torch, rag


Probed = tuple[Any, dict[str, Any]]
"""What has been loaded, to be kept alive, and its figures."""


def probe_process(config: Config, tokens: int) -> Probed:
    """Python and the libraries, and what is chosen for this machine."""
    import torch

    device = choose_device(config.device)
    figures = {"device": device, "dtype": _name(choose_dtype(config.dtype, device)), "threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device)
        figures |= {"gpu_free": free, "gpu_total": total}
    return None, figures | {"held": ProcessMemory().held()}


def probe_embedder(config: Config, tokens: int) -> Probed:
    """The embedder, and one batch of long texts for each of its workers."""
    import torch

    from rag.embed import PackedEngine, choose_engine

    files = find_embedder(config.embedder, config.allow_downloads)
    memory = memory_of(choose_device(config.device))

    def load() -> tuple[Any, int]:
        engine = choose_engine(files, config)
        return engine, engine.encode([LONG_TEXT], as_query=False)[1]  # kernels are made by the first use

    (engine, length), loading = measure(memory, load)
    workers = torch.get_num_threads() if isinstance(engine, PackedEngine) else 1
    texts = [LONG_TEXT] * (workers * max(1, engine.batch_tokens // length))
    _, working = measure(memory, lambda: engine.encode(texts, as_query=False))
    figures = {"dtype": engine.device.rpartition(" ")[2], "workers": workers, "length": length, "batch_tokens": engine.batch_tokens}
    return engine, figures | {"weights": loading.kept, "loading": loading.passing, "activations": working.passing}


def probe_reranker(config: Config, tokens: int) -> Probed:
    """The reranker, and a batch of pairs as long as it reads."""
    memory = memory_of(choose_device(config.device))

    def load() -> Any:
        reranker = load_reranker(config.reranker, config)
        reranker.predict([("late?", "late")], show_progress_bar=False)
        return reranker

    reranker, loading = measure(memory, load)
    pairs = [("How late may it be?", LONG_TEXT)] * min(RERANK_BATCH, config.rerank_candidates)
    _, working = measure(memory, lambda: reranker.predict(pairs, show_progress_bar=False))
    return reranker, {"weights": loading.kept, "loading": loading.passing, "activations": working.passing}


def probe_reader(config: Config, tokens: int) -> Probed:
    """The reader, and as many passages for a question as it reads, all of them cut at what it reads of one."""
    import torch

    memory, text = memory_of(choose_device(config.device)), LONG_TEXT[: 8 * MOST_TOKENS]

    def load() -> Reader:
        reader = load_reader(config)
        assert reader is not None, "parts_of names it"
        reader.read("late?", [("", text)])  # kernels are made by the first use
        return reader

    reader, loading = measure(memory, load)
    _, working = measure(memory, lambda: reader.read("late?", [("", text)] * config.reader_passages))
    figures = {"dtype": reader.device.rpartition(" ")[2], "workers": torch.get_num_threads()}
    return reader, figures | {"weights": loading.kept, "loading": loading.passing, "activations": working.passing}


def probe_generator(config: Config, tokens: int) -> Probed:
    """The generator, and the reading of a prompt of `tokens`, whose keys and values stay."""
    files = find_adapted_generator(config)
    memory = memory_of(choose_device(config.device))
    if is_for_own_decoder(files.path, config):
        return _probe_engine(config, tokens, memory)

    def load() -> Any:
        model, _ = load_generator(files, config)
        _prefill(model, 16)
        return model

    model, loading = measure(memory, load)
    cache, working = measure(memory, lambda: _prefill(model, tokens))
    figures = {"weights": loading.kept, "loading": loading.passing, "dtype": _name(model.dtype)}
    return (model, cache), figures | _split(working)


def is_for_own_decoder(folder: Path, config: Config) -> bool:
    """Whether `rag.decoder` computes the model in a folder, as `rag.generate.open_engine` decides it."""
    if not config.own_decoder or config.quantize != NONE:
        return False
    try:
        read_decoder_recipe(folder)
    except ModelError:
        return False
    return True


def _probe_engine(config: Config, tokens: int, memory: Memory) -> Probed:
    from rag.batching import PASS_TOKENS, BatchingEngine
    from rag.generate import open_engine
    from rag.lane import in_own_thread

    files = find_adapted_generator(config)
    # An answer's keys and values are looked at when it has ended: the prefix cache keeps them.
    kept = config.replace(prefix_cache=True, generator_cache_mb=max(config.generator_cache_mb, 1 << 16))

    def load() -> BatchingEngine:
        engine = in_own_thread(lambda: open_engine(files, kept))[0]
        if not isinstance(engine, BatchingEngine):
            raise ModelError(f"{files.id} does not load into our own decoder; the log says why")
        _read(engine, min(2 * PASS_TOKENS, tokens))
        engine.forget()
        _read(engine, 2)  # before it, the engine forgets
        return engine

    engine, loading = measure(memory, load)
    _, working = measure(memory, lambda: _read(engine, tokens))
    return engine, {"weights": loading.kept, "loading": loading.passing, "tokens": tokens} | _split(working)


def _read(engine: Any, tokens: int) -> None:
    """A prompt that shares no beginning with one of another length, and one token after it."""
    for _ in engine.generate([tokens % 89 + 1, *(number % 89 + 1 for number in range(tokens - 2))], Decoding(max_new_tokens=1)):
        pass


def _prefill(model: Any, tokens: int) -> Any:
    """The keys and values of a prompt that transformers' `generate()` has read."""
    import torch

    ids = torch.ones((1, tokens - 1), dtype=torch.long, device=model.device)
    with torch.inference_mode():
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False, return_dict_in_generate=True, pad_token_id=0
        )
    return found.past_key_values


def _split(working: Taken) -> dict[str, int | None]:
    return {"keys_and_values": working.kept, "activations": None if working.passing is None else working.passing - working.kept}


def probe_index(config: Config, tokens: int) -> Probed:
    """The snapshot as a search holds it, and what making it anew takes meanwhile."""
    from rag.snapshots import load_snapshot
    from rag.store import Store
    from rag.vectors import build_index, index_kind

    store, memory = Store.open(config.store), ProcessMemory()
    store.generation()
    snapshot, loading = measure(memory, lambda: load_snapshot(store, lambda _: None, use_gpu=False))

    def publish() -> Any:
        ids, vectors, _ = store.vectors()
        return build_index(ids, vectors, index_kind(len(ids))) if len(ids) else None

    _, publishing = measure(memory, publish)
    return snapshot, {"held": loading.kept, "publishing": publishing.passing}


PROBES: dict[str, Callable[[Config, int], Probed]] = {
    "process": probe_process,
    "embedder": probe_embedder,
    "reranker": probe_reranker,
    "reader": probe_reader,
    "generator": probe_generator,
    "index": probe_index,
}


def probe(part: str, config: Config, tokens: int) -> dict[str, Any]:
    """The figures of a part; `all` loads every one that the configuration has into this process.

    Args:
        tokens: of the prompt that the generator reads.
    """
    import_libraries(config)
    if part != "all":
        return PROBES[part](config, tokens)[1]
    kept = [PROBES[name](config, tokens)[0] for name in parts_of(config)]
    held = memory_of(choose_device(config.device)).held()
    return {"held": held, "resident": psutil.Process().memory_info().rss, "parts": len(kept)}


def parts_of(config: Config) -> list[str]:
    """The parts that a configuration has in this process."""
    from rag.database import CATALOGUE

    wanted = {
        "reranker": config.reranker != NONE,
        "reader": reader_folder(config) is not None,
        "generator": config.generator != NONE and not config.base_url,
        "index": (config.store / CATALOGUE).exists(),
    }
    return [part for part in PROBES if part != "process" and wanted.get(part, True)]


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def main() -> int:
    told = json.load(sys.stdin)
    try:
        figures = probe(sys.argv[1], Config().adjusted(**told["config"]), told["tokens"])
    except LecternError as e:
        print_error(e)
        return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
