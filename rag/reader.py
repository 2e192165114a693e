"""The fitted reader: for a question and passages, whether each answers it, with which words, and how it ranks. One pass over all of them.

It is the bundled encoder with other weights in its layers and two small heads, so what computes embeddings computes it, too (`rag.encoder`,
one thread a core). Fitted by `python -m rag tune reader` (tuning/reader.py), which reads pairs exactly as this module does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rag.batches import Encode, TokenBudget, encode_in_batches, share_out
from rag.config import BUNDLED, NONE, Config
from rag.embed import CUDA_MOST_TOKENS, CUDA_TOKENS, LEAST_SIMILARITY, CoreThreads, remembered_trial
from rag.encoder import PackedEncoder, layer_names, read_recipe
from rag.errors import ModelError
from rag.files import sha256_of
from rag.lane import COMPUTE_LANE
from rag.models import ModelFiles, choose_device, find_embedder, prepare_environment
from rag.text import embedded_text
from rag.types import Reading, ScoredSpan

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding

BUNDLED_READER = Path(__file__).parent / "fitted" / "reader"
"""Made by `python -m rag tune reader` (its README.md tells of what)."""
WEIGHTS, SETTINGS = "reader.safetensors", "reader.json"
HEADS = ("span", "judge")
QUESTION_TOKENS = 64
"""Of a longer question the last: what a follow-up leans on stands before it."""
MOST_TOKENS = 320
"""Of a question and a passage together; the default chunks with their headings fit. Of a longer passage the end is not read."""
SPANS = 3
"""Stretches that are told of a passage."""
LONGEST_SPAN = 40
"""Tokens."""
SMALLEST_BATCH, LARGEST_BATCH = 64, 1024
"""Tokens that a thread computes at once."""


@dataclass(frozen=True, slots=True)
class Heads:
    """`(2, hidden)` weights and `(2,)` biases."""

    span: tuple[torch.Tensor, torch.Tensor]
    """Of every token: whether an answer starts, and whether it ends, there."""
    judge: tuple[torch.Tensor, torch.Tensor]
    """Of `[CLS]`: answers, relevance."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and a passage as they are read: `[CLS] question [SEP] passage [SEP]`, all of token type 0."""

    ids: list[int]
    first: int
    """Where the passage's text begins, behind its context."""
    offsets: list[tuple[int, int]]
    """Characters of the text's tokens, the first of which stands at `first`."""


class PairTokenizer:
    """Questions and passages to pairs of at most so many tokens: the end of a long passage is cut off."""

    def __init__(self, file: Path, most_tokens: int = MOST_TOKENS) -> None:
        from tokenizers import Tokenizer

        self._most = most_tokens
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._start, self._separator = self._tokenizer.encode("").ids

    def pairs(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Pair]:
        """
        Args:
            passages: `(context, text)` of each.
        """
        texts = [embedded_text(context, text) for context, text in passages]
        asked, *read = self._tokenizer.encode_batch([question, *texts], add_special_tokens=False)
        heads = [len(embedded_text(context, "")) for context, _ in passages]
        return [self._pair(asked.ids[-QUESTION_TOKENS:], passage, head) for passage, head in zip(read, heads, strict=True)]

    def _pair(self, question: list[int], passage: Encoding, head: int) -> Pair:
        """
        Args:
            head: characters before the text.
        """
        room = self._most - len(question) - 3
        ids = [self._start, *question, self._separator, *passage.ids[:room], self._separator]
        before = sum(end <= head for _, end in passage.offsets[:room])
        offsets = [(max(start - head, 0), end - head) for start, end in passage.offsets[before:room]]
        return Pair(ids, len(question) + 2 + before, offsets)


class States(Protocol):
    """What computes: `rag.encoder` on a CPU, transformers on CUDA."""

    device: str

    def states(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """What the last layer says of every token: `(tokens, hidden) float32` on the CPU, the texts below each other."""
        ...


@dataclass(frozen=True, slots=True)
class _Engine:
    """What is loaded: the encoder, its heads, and how batches are cut for it."""

    encoder: States
    heads: Heads
    pool: Executor
    workers: int
    """Batches computed at once."""
    budget: TokenBudget | None = None
    """On a GPU; on a CPU each call's tokens are shared out to the cores."""

    def budget_for(self, lengths: Sequence[int]) -> TokenBudget:
        if self.budget is not None:
            return self.budget
        tokens = share_out(lengths, self.workers, SMALLEST_BATCH, LARGEST_BATCH)
        return TokenBudget(tokens, tokens)


class Reader:
    """Reads passages for a question on all cores, or on a GPU; calls take turns with the other models'. It loads at first use."""

    def __init__(self, folder: Path, config: Config) -> None:
        """
        Args:
            folder: what `tune reader` wrote.

        Raises:
            ModelError: it is no such folder, or the encoder that it was fitted over is not here.
        """
        self._folder, self._config = folder, config
        self._base = find_embedder(BUNDLED)
        self.revision = sha256_of(weights_file(folder, self._base))[:12]
        self._tokenizer: PairTokenizer | None = None
        self._loading = threading.Lock()
        self._loaded: _Engine | None = None

    def read(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Reading]:
        """
        Args:
            passages: `(context, text)` of each; spans are told in characters of the text.
        """
        if not passages:
            return []
        engine = self._engine()
        pairs = self._pairs(question, passages)
        lengths = [len(pair.ids) for pair in pairs]
        encode: Encode = lambda batch: _rows([pairs[index] for index in batch], engine.encoder, engine.heads)  # noqa: E731
        with COMPUTE_LANE:
            rows = encode_in_batches(lengths, [encode] * engine.workers, engine.budget_for(lengths), engine.pool)
        return [_reading(row, pair) for row, pair in zip(rows, pairs, strict=True)]

    @property
    def device(self) -> str:
        return self._engine().encoder.device

    @property
    def is_loaded(self) -> bool:
        return self._loaded is not None

    def load(self) -> None:
        """Loads what the first `read` would else wait for."""
        self._engine()

    def _engine(self) -> _Engine:
        with self._loading:
            if self._loaded is None:
                self._loaded = _load(self._folder, self._base, self._config)
            return self._loaded

    def _pairs(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Pair]:
        with self._loading:
            if self._tokenizer is None:
                self._tokenizer = PairTokenizer(self._base.path / "tokenizer.json")
            tokenizer = self._tokenizer
        return tokenizer.pairs(question, passages)


def load_reader(config: Config) -> Reader | None:
    """The reader that the config names; None for none, and where `bundled` has no weights here.

    Raises:
        ModelError: what it names is no reader.
    """
    folder = reader_folder(config)
    return None if folder is None else Reader(folder, config)


def reader_folder(config: Config) -> Path | None:
    """The folder of the reader that the config names; None for none, where a reranker ranks, and where `bundled` has no weights here."""
    if config.reader == NONE or config.reranker != NONE:
        return None
    if config.reader != BUNDLED:
        return Path(config.reader).expanduser()
    return BUNDLED_READER if (BUNDLED_READER / WEIGHTS).is_file() else None


def weights_file(folder: Path, base: ModelFiles) -> Path:
    """The weights in a folder of `tune reader`'s.

    Raises:
        ModelError: there are none, they are damaged, or they were fitted over another encoder.
    """
    weights, settings = folder / WEIGHTS, folder / SETTINGS
    if not weights.is_file() or not settings.is_file():
        raise ModelError(f"{folder} is no reader; expected a folder with {WEIGHTS} and {SETTINGS}, as python -m rag tune reader writes it")
    try:
        fitted_over = json.loads(settings.read_text("utf-8"))["base_revision"]
    except (ValueError, KeyError, TypeError) as e:
        raise ModelError(f"{settings} cannot be read ({e!r}); expected JSON with base_revision: copy the reader's folder again") from e
    if fitted_over != base.revision:
        raise ModelError(
            f"the reader in {folder} was fitted over the weights {fitted_over}; here is {base.id} {base.revision}: fit it anew"
        )
    return weights


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a reader's file.

    Raises:
        ModelError: it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as e:
        raise ModelError(f"{file} is damaged ({e}); copy the reader's folder again, or fit it anew") from e


def _load(folder: Path, base: ModelFiles, config: Config) -> _Engine:
    prepare_environment(config.allow_downloads)
    recipe = read_recipe(base.path)
    file = folder / WEIGHTS
    weights = {name: tensor.float() for name, tensor in read_weights(file).items()}
    expected = {*layer_names(recipe), *(f"{head}.{part}" for head in HEADS for part in ("weight", "bias"))}
    if weights.keys() != expected:
        different = ", ".join(sorted(weights.keys() ^ expected)[:3])
        raise ModelError(f"{file} holds other weights than a reader's over {base.id}: {different}; fit it anew")
    span, judge = ((weights.pop(f"{head}.weight"), weights.pop(f"{head}.bias")) for head in HEADS)
    heads = Heads(span, judge)
    threads = CoreThreads()
    device = choose_device(config.device)
    if device.startswith("cuda"):
        budget = TokenBudget(CUDA_TOKENS, CUDA_MOST_TOKENS, padded=True)
        return _Engine(_DeviceStates(base.path, weights, device), heads, threads.pool, 1, budget)
    trial = remembered_trial(recipe, base.revision, threads)
    able = [dtype for dtype in trial.preferred() if trial.similarity.get(dtype, 1.0) >= LEAST_SIMILARITY]
    dtype = config.dtype if config.dtype in able else able[0]
    return _Engine(threads.pool.submit(PackedEncoder, recipe, dtype, weights).result(), heads, threads.pool, threads.count)


class _DeviceStates:
    """The same encoder by transformers, on CUDA (or on a CPU, as its twin in tests)."""

    def __init__(self, base: Path, weights: dict[str, Any], device: str) -> None:
        import torch
        from transformers import BertModel

        model = BertModel.from_pretrained(base, add_pooling_layer=False)
        model.load_state_dict(weights, strict=False)
        self._model = model.to(device, torch.float16 if device.startswith("cuda") else torch.float32).eval()
        self.device = device

    def states(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        ids = pad_sequence([torch.tensor(text) for text in texts], batch_first=True).to(self.device)
        lengths = torch.tensor([len(text) for text in texts], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask.long(), token_type_ids=torch.zeros_like(ids)).last_hidden_state
        return states[mask].float().cpu()


def _rows(pairs: Sequence[Pair], encoder: States, heads: Heads) -> np.ndarray:
    """`(pairs, 2 + 3 * SPANS) float32`: answers, relevance, then of each span its first token, last token and score, -inf for none."""
    import torch
    from torch.nn.functional import linear

    with torch.inference_mode():
        states = encoder.states([pair.ids for pair in pairs])
        starts_and_ends = linear(states, *heads.span).numpy()
        begins = np.cumsum([0, *(len(pair.ids) for pair in pairs)])
        judged = linear(states[torch.from_numpy(begins[:-1])], *heads.judge).numpy()
    rows = np.full((len(pairs), 2 + 3 * SPANS), -np.inf, np.float32)
    rows[:, :2] = judged
    for row, pair, begin in zip(rows, pairs, begins, strict=False):
        logits = starts_and_ends[begin + pair.first : begin + pair.first + len(pair.offsets)]
        for number, span in enumerate(best_spans(logits[:, 0], logits[:, 1])):
            row[2 + 3 * number : 5 + 3 * number] = span
    return rows


def best_spans(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Up to `SPANS` stretches of tokens `(first, last, score)` that do not overlap, the best first.

    Args:
        starts: logit of each token to be an answer's first, `(tokens,) float32`; `ends` its last.
    """
    count = len(starts)
    if not count:
        return
    padded = np.concatenate([ends, np.full(LONGEST_SPAN - 1, -np.inf, ends.dtype)])
    score = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, LONGEST_SPAN)  # (first token, length - 1)
    first, length = np.indices(score.shape)
    for _ in range(min(SPANS, count)):
        start, extra = divmod(int(score.argmax()), LONGEST_SPAN)
        if not np.isfinite(score[start, extra]):
            return
        yield start, start + extra, float(score[start, extra])
        score[(first <= start + extra) & (first + length >= start)] = -np.inf


def _reading(row: np.ndarray, pair: Pair) -> Reading:
    spans = [
        ScoredSpan(pair.offsets[int(first)][0], pair.offsets[int(last)][1], float(score))
        for first, last, score in row[2:].reshape(SPANS, 3)
        if np.isfinite(score)
    ]
    return Reading(float(row[0]), float(row[1]), tuple(spans))
