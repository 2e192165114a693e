"""Texts to unit vectors. The only part that calls the embedding model.

On a CPU a BERT encoder with mean pooling is computed by `rag.encoder`, one thread per core on batches of its own; any other model, and any
model on CUDA, by sentence-transformers. Which one it is, and in which type, is found out once and remembered: the fast one is used only
after its vectors were compared with those of sentence-transformers in fp32.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rag.batches import Encode, TokenBudget, encode_in_batches, share_out
from rag.config import Config
from rag.encoder import DTYPES, FLOAT32, PackedEncoder, Recipe, read_recipe
from rag.errors import ModelError
from rag.lane import COMPUTE_LANE
from rag.models import ModelFiles, choose_device, find_embedder, load_embedder, prepare_environment
from rag.records import EmbedderStamp
from rag.trial import Trial, probe_ceilings, recall, remember, trial_path

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding, Tokenizer

BATCH_TOKENS = 1024
"""Tokens a CPU thread computes at once: 45 to 130 ms, so a question waits no longer for the lane. 512 is 15 % slower, 4096 no faster."""
SMALLEST_BATCH = 64
CUDA_TOKENS, CUDA_MOST_TOKENS = 16_384, 1_048_576
LEAST_SIMILARITY = 0.995
"""Mean cosine to sentence-transformers in fp32 that a type must reach on `PROBES`."""
PROBES = (
    "What is the late policy?",
    "Homework 3 is due on Friday, October 9 at 11:59 pm; each late day costs 10 % and no work is accepted after March 12.",
    "Attention compares every query with every key; softmax(QKᵀ/√d) weighs the values, at a cost quadratic in the sequence length.",
    "def mean(values):\n    return sum(values) / len(values)\n",
    "Ein Überblick über die Vorlesung: Grundlagen, Übungen, Prüfung. La asistencia es obligatoria. 期末考试占百分之四十。",
    "| week | topic | reading |\n| 1 | Introduction | ch. 1–2 |\n| 2 | Regression | ch. 3 |\n| 3 | Classification | ch. 4.1–4.4 |",
    "The midterm covers chapters one to six. Bring a calculator and one page of notes. " * 6,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddingUsage:
    """What an embedder has computed since it was made; differences of two tell what a run took."""

    texts: int = 0
    tokens: int = 0
    """Word pieces read: `[CLS]` and `[SEP]` among them, what was cut off at the model's limit not."""
    seconds: float = 0.0
    """With what others computed meanwhile, where the lane was given to them between batches."""

    def __sub__(self, earlier: EmbeddingUsage) -> EmbeddingUsage:
        return EmbeddingUsage(self.texts - earlier.texts, self.tokens - earlier.tokens, self.seconds - earlier.seconds)


class Embedder(Protocol):
    """What the rest of Lectern needs of an embedding model; the seam where tests put a pure function."""

    @property
    def identity(self) -> tuple[str, str]:
        """Id and revision, known without loading the model."""
        ...

    @property
    def stamp(self) -> EmbedderStamp: ...

    @property
    def device(self) -> str: ...

    @property
    def notice(self) -> str:
        """Why the fast engine is not in use; empty when it is, or when none exists for the device."""
        ...

    @property
    def batch_tokens(self) -> int:
        """Tokens a device or core computes at once; on CUDA it grows until memory is full."""
        ...

    @property
    def usage(self) -> EmbeddingUsage: ...

    def ceiling_tokens_s(self) -> float:
        """Tokens a second if nothing but the matrix products of the linear layers took time; 0 where that was not probed."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """`(n, d) float32`, unit rows."""
        ...

    def embed_query(self, text: str) -> np.ndarray:
        """`(d,) float32`, norm 1."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Word pieces of each text, without the special ones."""
        ...


class Engine(Protocol):
    """What computes. `encode` is called with the lane held."""

    device: str
    notice: str
    """Why it is not the fast one, or empty."""

    @property
    def dimension(self) -> int: ...

    @property
    def batch_tokens(self) -> int: ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer without padding and truncation."""
        ...

    def ceiling_tokens_s(self) -> float:
        """Tokens a second if nothing but the matrix products of the linear layers took time; 0 where that was not probed."""
        ...

    def encode(self, texts: Sequence[str], as_query: bool) -> tuple[np.ndarray, int]:
        """`(n, d) float32`, and the tokens read; at least one text."""
        ...


class PackedEngine:
    """`rag.encoder` on all cores: one thread per core, each with batches of its own, so that none waits for another."""

    def __init__(self, encoder: PackedEncoder, threads: CoreThreads, ceiling_tokens_s: float) -> None:
        from tokenizers import Tokenizer

        self.device, self.notice = encoder.device, ""
        self._encoder, self._threads, self._ceiling = encoder, threads, ceiling_tokens_s
        self.tokenizer = Tokenizer.from_file(str(encoder.recipe.folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._reader = Tokenizer.from_str(self.tokenizer.to_str())
        self._reader.enable_truncation(encoder.recipe.max_tokens)

    @property
    def dimension(self) -> int:
        return self._encoder.recipe.hidden

    @property
    def batch_tokens(self) -> int:
        return BATCH_TOKENS

    def ceiling_tokens_s(self) -> float:
        return self._ceiling

    def encode(self, texts: Sequence[str], as_query: bool) -> tuple[np.ndarray, int]:
        read = [encoding.ids for encoding in self._tokenized(texts)]
        lengths = [len(ids) for ids in read]

        def encode_batch(batch: list[int]) -> np.ndarray:
            return self._encoder.encode([read[index] for index in batch])

        tokens = share_out(lengths, self._threads.count, SMALLEST_BATCH, BATCH_TOKENS)
        encoders: list[Encode] = [encode_batch] * self._threads.count
        return encode_in_batches(lengths, encoders, TokenBudget(tokens, tokens), self._threads.pool), sum(lengths)

    def _tokenized(self, texts: Sequence[str]) -> list[Encoding]:
        """Stripped as sentence-transformers does; a share of the texts on each thread, for the tokenizer lets go of Python's lock."""
        stripped = [text.strip() for text in texts]
        cuts = [len(stripped) * share // self._threads.count for share in range(self._threads.count + 1)]
        shares = [stripped[start:end] for start, end in pairwise(cuts)]
        return [encoding for part in self._threads.pool.map(self._reader.encode_batch_fast, shares) for encoding in part]


class CoreThreads:
    """One thread per core whose torch computes on that thread alone; the settings of other threads stay as they are.

    Two threads with a batch each have no barriers between them. Two OpenMP threads on one batch spin at each, and fall to 1/30 of their
    speed when another process takes a core.
    """

    def __init__(self) -> None:
        import torch

        self.count = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.count, "embed", initializer=_compute_alone)


def _compute_alone() -> None:
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch.get_num_threads()  # makes torch set up this thread, which it would otherwise do later, over our limit
    # OpenMP's limit belongs to the calling thread. torch.set_num_threads also changes what threads made later start with.
    threadpool_limits(1, user_api="openmp")


class GeneralEngine:
    """sentence-transformers, one model per device, fed with batches of equal length in tokens."""

    def __init__(self, models: Sequence[SentenceTransformer], notice: str) -> None:
        from tokenizers import Tokenizer

        self.notice = notice
        self._models = models
        parameter = next(models[0].parameters())
        count = f" x {len(models)}" if len(models) > 1 else ""
        self.device = f"{parameter.device}{count} {str(parameter.dtype).removeprefix('torch.')}"
        on_cuda = parameter.device.type == "cuda"
        self._budget = TokenBudget(CUDA_TOKENS if on_cuda else BATCH_TOKENS, CUDA_MOST_TOKENS if on_cuda else BATCH_TOKENS, padded=True)
        self._pool = ThreadPoolExecutor(len(models), "embed")
        self.tokenizer = Tokenizer.from_str(models[0].tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    @property
    def dimension(self) -> int:
        return int(self._models[0].get_embedding_dimension() or 0)

    @property
    def batch_tokens(self) -> int:
        return self._budget.tokens

    def ceiling_tokens_s(self) -> float:
        return 0.0

    def encode(self, texts: Sequence[str], as_query: bool) -> tuple[np.ndarray, int]:
        limit = self._models[0].max_seq_length or 1 << 30
        lengths = [min(len(encoding.ids), limit) for encoding in self.tokenizer.encode_batch_fast(list(texts))]

        def encoder(model: SentenceTransformer) -> Encode:
            encode: Callable[..., np.ndarray] = model.encode_query if as_query else model.encode_document
            return lambda batch: np.asarray(
                encode([texts[index] for index in batch], batch_size=len(batch), show_progress_bar=False), np.float32
            )

        return encode_in_batches(lengths, [encoder(model) for model in self._models], self._budget, self._pool), sum(lengths)


def choose_engine(files: ModelFiles, config: Config) -> Engine:
    """The fastest engine that gives this model's vectors on the wanted device, in the wanted type.

    A model or machine that the fast one is not for, or on which it does not agree, gets sentence-transformers, and the log says why.
    """
    prepare_environment(config.allow_downloads)
    device = choose_device(config.device)
    if device.startswith("cuda"):
        return GeneralEngine(_replicas(load_embedder(files, config), device), "")
    if config.dtype not in ("auto", *DTYPES):
        return GeneralEngine([load_embedder(files, config)], f"{config.dtype} is computed by sentence-transformers")
    try:
        return _packed_engine(files, config)
    except ModelError as e:
        notice = f"the embedder runs through sentence-transformers, which is slower: {e}"
        _log.warning(notice)
        return GeneralEngine([load_embedder(files, config)], notice)


def _replicas(model: SentenceTransformer, device: str) -> list[SentenceTransformer]:
    """The model on every CUDA device, or on the one that was named."""
    import copy

    import torch

    others = range(1, torch.cuda.device_count()) if device == "cuda" else ()
    return [model, *(copy.deepcopy(model).to(f"cuda:{number}") for number in others)]


def _packed_engine(files: ModelFiles, config: Config) -> PackedEngine:
    """The packed encoder in the wanted type, or in the fastest whose vectors agree.

    Raises:
        ModelError: the model is another kind, or in no type do the vectors agree.
    """
    recipe = read_recipe(files.path)
    threads = CoreThreads()
    path = trial_path(files.revision)
    trial = remembered_trial(recipe, files.revision, threads)
    for dtype in trial.preferred() if config.dtype == "auto" else (config.dtype,):
        if dtype not in trial.ceiling_tokens_s:
            raise ModelError(f"this CPU does not compute {dtype}; those it does: {', '.join(trial.ceiling_tokens_s)}")
        encoder = threads.pool.submit(PackedEncoder, recipe, dtype).result()  # finding int8's ranges must not meet OpenMP's spinning either
        engine = PackedEngine(encoder, threads, trial.ceiling_tokens_s.get(dtype, 0.0))
        if dtype not in trial.similarity:
            found = _similarity(engine, files, config)
            trial = replace(trial, similarity={**trial.similarity, dtype: found})
            remember(path, trial)
        if trial.similarity[dtype] >= LEAST_SIMILARITY:
            return engine
        _log.warning("%s in %s: cosine to fp32 is %.4f, expected %s", files.id, dtype, trial.similarity[dtype], LEAST_SIMILARITY)
    raise ModelError(f"its vectors do not agree with those of the fast encoder (cosines {trial.similarity}, expected {LEAST_SIMILARITY})")


def remembered_trial(recipe: Recipe, revision: str, threads: CoreThreads) -> Trial:
    """How fast this machine computes an encoder in each type; probed now where it is not known."""
    path = trial_path(revision)
    trial = recall(path)
    if trial is None:
        trial = Trial(probe_ceilings(recipe, threads.pool, threads.count), {})
        remember(path, trial)
    return trial


def _similarity(engine: Engine, files: ModelFiles, config: Config) -> float:
    """Mean cosine between the engine's vectors and those of sentence-transformers in fp32, on `PROBES`."""
    reference = load_embedder(files, config.replace(dtype=FLOAT32, device="cpu"))
    with COMPUTE_LANE:
        expected = _unit(np.asarray(reference.encode_document(list(PROBES), show_progress_bar=False), np.float32))
        found, _ = engine.encode(PROBES, as_query=False)
    return float((_unit(found) * expected).sum(axis=1).mean()) if found.shape == expected.shape else 0.0


def _unit(rows: np.ndarray) -> np.ndarray:
    """A half-precision model normalises in half precision: norms are off by some 0.3 % until redone here."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class SentenceTransformerEmbedder:
    """An `Embedder` over any sentence-transformers model. It loads at first use; calls take turns with the generator."""

    def __init__(self, files: ModelFiles, config: Config) -> None:
        self._files = files
        self._config = config
        self._usage = EmbeddingUsage()
        self._loading = threading.Lock()
        self._engine: Engine | None = None

    @classmethod
    def from_config(cls, config: Config) -> SentenceTransformerEmbedder:
        return cls(find_embedder(config.embedder, config.allow_downloads), config)

    @property
    def engine(self) -> Engine:
        with self._loading:  # two first questions at once must not load it twice
            if self._engine is None:
                self._engine = choose_engine(self._files, self._config)
            return self._engine

    @property
    def identity(self) -> tuple[str, str]:
        return self._files.id, self._files.revision

    @property
    def stamp(self) -> EmbedderStamp:
        return EmbedderStamp(*self.identity, self.engine.dimension)

    @property
    def device(self) -> str:
        return self.engine.device

    @property
    def notice(self) -> str:
        return self.engine.notice

    @property
    def batch_tokens(self) -> int:
        return self.engine.batch_tokens

    @property
    def usage(self) -> EmbeddingUsage:
        return self._usage

    def ceiling_tokens_s(self) -> float:
        return self.engine.ceiling_tokens_s()

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.empty((0, self.engine.dimension), np.float32)
        return self._encode(texts, as_query=False)

    def embed_query(self, text: str) -> np.ndarray:
        return self._encode([text], as_query=True)[0]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self.engine.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _encode(self, texts: Sequence[str], as_query: bool) -> np.ndarray:
        engine = self.engine
        with COMPUTE_LANE:
            started = time.perf_counter()
            rows, tokens = engine.encode(texts, as_query)
            known, spent = self._usage, time.perf_counter() - started
            self._usage = EmbeddingUsage(known.texts + len(texts), known.tokens + tokens, known.seconds + spent)
        return _unit(rows)
