"""The parts of a configuration, a row each: what its files and settings let expect, beside what was measured.

Nothing is loaded here: figures come from `rag.footprint_probe`, formulas from `rag.footprint_estimates`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from rag import footprint_estimates as estimates
from rag.batches import share_out
from rag.batching import PASS_TOKENS
from rag.config import BUNDLED, NONE, Config
from rag.database import CATALOGUE
from rag.embed import BATCH_TOKENS, CUDA_TOKENS
from rag.encoder import DTYPES, FLOAT32, Recipe, read_recipe
from rag.errors import ModelError
from rag.footprint_machine import Machine, Place
from rag.footprint_probe import RERANK_BATCH, is_for_own_decoder
from rag.model_shapes import ModelShape, read_gguf_shape, read_shape, read_weights
from rag.models import (
    BUNDLED_EMBEDDER,
    BUNDLED_GENERATOR,
    ModelFiles,
    adapter_folder,
    converted_generator_path,
    find_carried,
    find_embedder,
    find_generator,
)
from rag.reader import LARGEST_BATCH, MOST_TOKENS, SMALLEST_BATCH, reader_folder
from rag.store import Store
from rag.trial import recall_any
from rag.vectors import index_kind

PROCESS_BYTES = 480 << 20
"""Python and the libraries on a CPU, resident: torch 2.13 and transformers 5.23, measured."""
CUDA_CONTEXT_BYTES = 500 << 20
"""About what a process takes of a GPU before its first tensor: context and kernels."""
GPU_SCRATCH_BYTES = 1536 << 20
"""What FAISS sets aside on a GPU with more than 8 GiB (`StandardGpuResources`)."""
TEXT_LENGTH = 256
"""Tokens of a text where the embedder does not say how many it reads."""

Figures = Mapping[str, Mapping[str, Any]]
"""What was measured, by part."""


class Kind(StrEnum):
    LIBRARIES = "libraries"
    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    TOKEN = "KV cache of a token"
    CACHE = "KV cache"
    INDEX = "index"
    PUBLISHING = "publishing"
    FILE = "file"
    TOTAL = "total"


AT_REST = frozenset({Kind.LIBRARIES, Kind.WEIGHTS, Kind.INDEX})
"""What is held while nobody asks."""


@dataclass(frozen=True, slots=True)
class Row:
    """A part and its bytes; None: not known. `counts` says whether it adds to what the place must hold."""

    kind: Kind
    part: str
    place: Place
    estimated: int | None
    measured: int | None = None
    note: str = ""
    counts: bool = True

    @property
    def ratio(self) -> float | None:
        """Measured to estimated."""
        return self.measured / self.estimated if self.measured is not None and self.estimated else None

    @property
    def bytes(self) -> int:
        """The better known of both."""
        return (self.measured if self.measured is not None else self.estimated) or 0

    def to_json(self) -> dict[str, Any]:
        ratio = None if self.ratio is None else round(self.ratio, 3)
        return {
            "kind": self.kind.value, "part": self.part, "place": self.place.value, "estimated_bytes": self.estimated,
            "measured_bytes": self.measured, "ratio": ratio, "counts": self.counts, "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator in this process: its shape and how it is computed."""

    name: str
    shape: ModelShape
    is_ours: bool
    context: int
    """Tokens of the longest prompt that the settings make, with its answer."""
    slots: int

    def per_token(self, dtype: str) -> int:
        return estimates.kv_bytes_per_token(self.shape, dtype)


def find_generator_shape(config: Config) -> Generator | None:
    """The generator that the config names, by its files; None for one on a server, or for none."""
    if config.base_url or config.generator == NONE:
        return None
    folder = _generator_folder(config)
    if folder is None:
        shape, is_ours = read_gguf_shape(find_carried(BUNDLED_GENERATOR)), config.own_decoder and config.quantize == NONE
    else:
        shape, is_ours = read_shape(folder), is_for_own_decoder(folder, config)
    wanted = config.context_tokens + config.history_tokens + estimates.FRAME_TOKENS + config.max_new_tokens
    context = min(wanted, shape.max_tokens or wanted)
    slots = config.generation_slots if is_ours else 1  # transformers answers one at a time
    return Generator(BUNDLED_GENERATOR.id if config.generator == BUNDLED else Path(config.generator).name, shape, is_ours, context, slots)


def _generator_folder(config: Config) -> Path | None:
    """Where its safetensors are, nothing converted for it; None for the bundled one before its first use."""
    if config.generator == BUNDLED:
        folder = converted_generator_path()
        return folder if (folder / "model.safetensors").exists() else None
    folder = Path(config.generator).expanduser()
    # A folder's files are not hashed here: that would read all of them.
    return folder if folder.is_dir() else find_generator(config.generator, config.allow_downloads).path


def _embedder_files(config: Config) -> ModelFiles:
    if config.embedder == BUNDLED:
        return ModelFiles(BUNDLED_EMBEDDER.id, find_carried(BUNDLED_EMBEDDER).parent, BUNDLED_EMBEDDER.sha256[:12])
    return find_embedder(config.embedder, config.allow_downloads)


def _packed_recipe(folder: Path, machine: Machine, config: Config) -> Recipe | None:
    """The recipe of an embedder that `rag.encoder` computes; None where sentence-transformers does."""
    if machine.place is Place.GPU or config.dtype not in ("auto", *DTYPES):
        return None
    try:
        return read_recipe(folder)
    except ModelError:
        return None


def process_rows(machine: Machine, figures: Figures) -> Iterator[Row]:
    yield Row(Kind.LIBRARIES, "Python and libraries", Place.RAM, PROCESS_BYTES, figures.get("process", {}).get("held"))
    if machine.place is Place.GPU:
        yield Row(Kind.LIBRARIES, "CUDA context", Place.GPU, CUDA_CONTEXT_BYTES, note="about; differs by card and driver")


def embedder_rows(config: Config, machine: Machine, figures: Figures) -> Iterator[Row]:
    files = _embedder_files(config)
    found = figures.get("embedder", {})
    recipe = _packed_recipe(files.path, machine, config)
    if recipe is not None:
        dtype, note = (found["dtype"], "") if found else _embedder_dtype(config, files.revision)
        weights = packed_weights(recipe, dtype, tokenizers=2)  # one cuts texts off, the other counts them whole
        yield Row(Kind.WEIGHTS, f"embedder {files.id}: weights ({dtype})", machine.place, weights, found.get("weights"), note)
        yield packed_pass_row("embedder", recipe, dtype, BATCH_TOKENS, min(recipe.max_tokens, BATCH_TOKENS), machine, found)
        return
    shape, dtype = read_shape(files.path), found.get("dtype", machine.dtype)
    tokens, more = (CUDA_TOKENS, "; batches grow while there is room") if machine.place is Place.GPU else (BATCH_TOKENS, "")
    whole_texts = tokens - tokens % min(shape.max_tokens or TEXT_LENGTH, tokens)
    working = estimates.layers_pass_bytes(shape, dtype, whole_texts, gated=False)
    yield Row(
        Kind.WEIGHTS, f"embedder {files.id}: weights ({dtype})", machine.place, estimates.loaded_bytes(shape, dtype), found.get("weights")
    )
    yield Row(Kind.ACTIVATIONS, f"embedder: a batch of {tokens:,} tokens{more}", machine.place, working, found.get("activations"))


def packed_weights(recipe: Recipe, dtype: str, tokenizers: int) -> int:
    """Bytes of a model that `rag.encoder` computes."""
    stored = read_weights(recipe.folder)
    weights = estimates.packed_encoder_bytes(recipe, dtype, stored.file_bytes, stored.dtype)
    return weights + tokenizers * estimates.TOKENIZER_BYTES * recipe.vocabulary


def packed_pass_row(role: str, recipe: Recipe, dtype: str, tokens: int, length: int, machine: Machine, found: Mapping[str, Any]) -> Row:
    """What `rag.encoder` takes while it computes: a batch of texts of `length` tokens, `tokens` in all, on each core."""
    workers = found.get("workers", machine.threads)
    working = estimates.packed_encoder_pass_bytes(recipe, dtype, tokens, length, workers) + workers * estimates.SCRATCH_BYTES
    return Row(Kind.ACTIVATIONS, f"{role}: a batch of {workers} x {tokens:,} tokens", machine.place, working, found.get("activations"))


def _embedder_dtype(config: Config, revision: str) -> tuple[str, str]:
    """The type that the packed encoder computes in, and what is assumed about that."""
    if config.dtype in DTYPES:
        return config.dtype, ""
    trial = recall_any(revision)
    if trial is not None:
        return trial.preferred()[0], ""
    return FLOAT32, "type not tried on this machine yet"


def reranker_rows(config: Config, machine: Machine, figures: Figures) -> Iterator[Row]:
    if config.reranker == NONE:
        return
    folder = Path(config.reranker).expanduser()
    shape = read_shape(folder if folder.is_dir() else find_embedder(config.reranker, config.allow_downloads).path)
    found = figures.get("reranker", {})
    pairs, length = min(RERANK_BATCH, config.rerank_candidates), shape.max_tokens or 2 * TEXT_LENGTH
    weights = estimates.loaded_bytes(shape, machine.dtype)
    working = estimates.layers_pass_bytes(shape, machine.dtype, pairs * length, gated=False)
    yield Row(Kind.WEIGHTS, f"reranker {folder.name}: weights ({machine.dtype})", machine.place, weights, found.get("weights"))
    yield Row(Kind.ACTIVATIONS, f"reranker: {pairs} pairs of {length} tokens", machine.place, working, found.get("activations"))


def reader_rows(config: Config, machine: Machine, figures: Figures) -> Iterator[Row]:
    """The fitted reader: layers of its own over the bundled encoder's tables."""
    folder = reader_folder(config)
    if folder is None:
        return
    name = config.reader if config.reader == BUNDLED else folder.name
    base = find_carried(BUNDLED_EMBEDDER).parent
    found = figures.get("reader", {})
    if machine.place is Place.GPU:
        shape, dtype, tokens = read_shape(base), "float16", min(CUDA_TOKENS, MOST_TOKENS * config.reader_passages)
        weights, working = estimates.loaded_bytes(shape, dtype), estimates.layers_pass_bytes(shape, dtype, tokens, gated=False)
        yield Row(Kind.WEIGHTS, f"reader {name}: weights ({dtype})", machine.place, weights, found.get("weights"))
        yield Row(Kind.ACTIVATIONS, f"reader: a batch of {tokens:,} tokens", machine.place, working, found.get("activations"))
        return
    workers = found.get("workers", machine.threads)
    tokens = share_out([MOST_TOKENS] * config.reader_passages, workers, SMALLEST_BATCH, LARGEST_BATCH)
    length = min(MOST_TOKENS, tokens)
    recipe = read_recipe(base)
    dtype, note = (found["dtype"], "") if found else _embedder_dtype(config, BUNDLED_EMBEDDER.sha256[:12])
    weights = packed_weights(recipe, dtype, tokenizers=1)
    yield Row(Kind.WEIGHTS, f"reader {name}: weights ({dtype})", machine.place, weights, found.get("weights"), note)
    yield packed_pass_row("reader", recipe, dtype, tokens, length, machine, found)


def generator_rows(config: Config, generator: Generator | None, machine: Machine, figures: Figures) -> Iterator[Row]:
    if config.base_url:
        from rag.remote import host_of

        note = f"weights and KV cache are at {host_of(config.base_url)}, not on this machine"
        yield Row(Kind.WEIGHTS, f"generator {config.generator}", Place.SERVER, None, note=note, counts=False)
    if generator is None:
        return
    found, shape = figures.get("generator", {}), generator.shape
    dtype = found.get("dtype", machine.dtype)
    kind = dtype if config.quantize == NONE else config.quantize
    weights, note = generator_weights(config, generator, machine, dtype)
    yield Row(Kind.WEIGHTS, f"generator {generator.name}: weights ({kind})", machine.place, weights, found.get("weights"), note)
    if generator.is_ours:
        working = estimates.decoder_pass_bytes(shape, dtype, min(PASS_TOKENS, generator.context), generator.context, generator.slots)
        what = f"generator: a pass of {PASS_TOKENS} prompt tokens"
    else:
        working = estimates.layers_pass_bytes(shape, dtype, generator.context, gated=True)
        what = f"generator: reading a prompt of {generator.context:,} tokens"
    yield Row(Kind.ACTIVATIONS, what, machine.place, working, found.get("activations"))
    yield from cache_rows(config, generator, machine, dtype, found.get("keys_and_values"))


def generator_weights(config: Config, generator: Generator, machine: Machine, dtype: str) -> tuple[int, str]:
    """Bytes of weights and tokenizer, and what there is to say about an adapter: merged it takes nothing, beside packed weights itself."""
    shape = generator.shape
    tokenizer = estimates.TOKENIZER_BYTES * shape.vocabulary
    if generator.is_ours:
        weights = estimates.own_decoder_bytes(shape, dtype, machine.place is Place.RAM)
    else:
        weights = estimates.loaded_bytes(shape, dtype, config.quantize)
    if machine.place is Place.RAM:
        weights += tokenizer
    adapter = adapter_folder(config)
    if adapter is None:
        return weights, ""
    if config.quantize == NONE:
        return weights, "adapter merged"
    return weights + read_weights(adapter).floats * estimates.BYTES[dtype], "with the adapter"


def cache_rows(config: Config, generator: Generator, machine: Machine, dtype: str, measured: int | None) -> Iterator[Row]:
    """Keys and values: of a token, of as many answers as the settings allow at once, and what the prefix cache may take beside them.

    Args:
        measured: of one answer.
    """
    per_token, context, slots = generator.per_token(dtype), generator.context, generator.slots
    a_token = None if measured is None else round(measured / context)
    yield Row(Kind.TOKEN, "KV cache: a token", machine.place, per_token, a_token, counts=False)
    if not generator.is_ours:
        yield Row(Kind.CACHE, f"KV cache: an answer of {context:,} tokens", machine.place, context * per_token, measured)
        return
    most = config.generator_cache_mb << 20
    together = slots * context * per_token
    answers = f"KV cache: {slots} answers of {context:,} tokens"
    note = f"measured on one, times {slots}" if measured is not None else ""
    if together > most:
        note = f"{note}; " * bool(note) + f"over generator_cache_mb = {config.generator_cache_mb}: some wait"
    yield Row(Kind.CACHE, answers, machine.place, together, None if measured is None else measured * slots, note, counts=together <= most)
    if together > most:
        yield Row(Kind.CACHE, "KV cache: generator_cache_mb", machine.place, most)
    elif config.prefix_cache:
        yield Row(Kind.CACHE, "KV cache: prompts kept to be read again", machine.place, most - together, note="at most; answers come first")


def index_rows(config: Config, machine: Machine, chunks: int | None, figures: Figures) -> Iterator[Row]:
    """The index of the store that is there, in memory and on the disk, and of as many chunks as are asked for."""
    dimension, there = dimension_of(config), chunks_there(config)
    found = figures.get("index", {})
    if there is not None:
        yield from _stored_rows(config, machine, there, dimension, found)
    if chunks is not None:
        note = f"{estimates.index_bytes(chunks, dimension) / max(chunks, 1):.0f} bytes a chunk"
        kind = index_kind(max(chunks, 1))
        size = estimates.index_bytes(chunks, dimension)
        yield Row(Kind.INDEX, f"index of {chunks:,} chunks ({kind})", Place.RAM, size, note=note, counts=False)
        yield Row(Kind.PUBLISHING, "the same while it is made", Place.RAM, estimates.publishing_bytes(chunks, dimension), counts=False)
        yield Row(Kind.FILE, "its catalogue", Place.DISK, estimates.catalogue_bytes(chunks), counts=False)


def _stored_rows(config: Config, machine: Machine, there: int, dimension: int, found: Mapping[str, Any]) -> Iterator[Row]:
    size = estimates.index_bytes(there, dimension)
    kind = f" ({index_kind(there)})" if there else ""
    yield Row(Kind.INDEX, f"index of {there:,} chunks{kind}", Place.RAM, size, found.get("held"))
    if machine.place is Place.GPU and _has_gpu_faiss():
        copy = estimates.gpu_index_bytes(there, dimension) + GPU_SCRATCH_BYTES
        yield Row(Kind.INDEX, "index: its copy, and what FAISS sets aside", Place.GPU, copy)
    making = estimates.publishing_bytes(there, dimension)
    yield Row(Kind.PUBLISHING, "the same while it is made", Place.RAM, making, found.get("publishing"), counts=False)
    catalogue, text, snapshot = stored_bytes(config)
    yield Row(Kind.FILE, "catalogue", Place.DISK, estimates.catalogue_bytes(there), catalogue)
    yield Row(Kind.FILE, "of it the text index", Place.DISK, there * estimates.TEXT_INDEX_BYTES, text, counts=False)
    yield Row(Kind.FILE, "vector snapshot", Place.DISK, size - there * estimates.MAP_BYTES * _is_mapped(there), snapshot)


def _is_mapped(chunks: int) -> bool:
    return index_kind(max(chunks, 1)).startswith("IDMap2")


def _has_gpu_faiss() -> bool:
    try:
        metadata.version("faiss-gpu")
    except metadata.PackageNotFoundError:
        return False
    return True


def dimension_of(config: Config) -> int:
    """Of the vectors: of the store that is there, else of the embedder."""
    if chunks_there(config) is not None and (stamp := Store.open(config.store).embedder()):
        return stamp.dimension
    return read_shape(_embedder_files(config).path).hidden


def chunks_there(config: Config) -> int | None:
    """How many chunks the store holds; None where there is no store."""
    if not (config.store / CATALOGUE).exists():
        return None
    return sum(course.chunks for course in Store.open(config.store).courses())


def stored_bytes(config: Config) -> tuple[int, int | None, int]:
    """The catalogue, the text indexes in it (None where SQLite cannot count its pages), and the snapshot, on the disk."""
    store = Store.open(config.store)
    try:
        rows = store.db.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'chunks\\_fts\\_%' ESCAPE '\\'")
        text = int(next(iter(rows))[0] or 0)
    except sqlite3.OperationalError:  # SQLite without SQLITE_ENABLE_DBSTAT_VTAB
        text = None
    generation = store.generation()
    snapshot = config.store / generation.file if generation and generation.file else None
    return (config.store / CATALOGUE).stat().st_size, text, snapshot.stat().st_size if snapshot and snapshot.exists() else 0


def total_row(rows: Sequence[Row], machine: Machine, generator: Generator | None, found: Mapping[str, Any]) -> Row:
    """All parts in one process after one answer, whose keys and values are kept; on a GPU what torch has allocated."""
    kinds = AT_REST if machine.place is Place.RAM else {Kind.WEIGHTS}
    estimated = sum(row.estimated or 0 for row in rows if row.counts and row.kind in kinds and row.place is machine.place)
    answer = generator.context * next(row.estimated or 0 for row in rows if row.kind is Kind.TOKEN) if generator else 0
    part = "all parts in one process" + (", one answer kept" if generator else "")
    return Row(Kind.TOTAL, part, machine.place, estimated + answer, found["held"], counts=False)
