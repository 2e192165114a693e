"""Texts to unit vectors. The only part that calls the embedding model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rag.config import Config
from rag.lane import COMPUTE_LANE
from rag.models import ModelFiles, find_embedder, load_embedder
from rag.store import EmbedderStamp

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer


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

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        """`(n, d) float32`, unit rows."""
        ...

    def embed_query(self, text: str) -> np.ndarray:
        """`(d,) float32`, norm 1."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Word pieces of each text, without the special ones."""
        ...


class SentenceTransformerEmbedder:
    """An `Embedder` over sentence-transformers. The model loads at first use; calls take turns with the generator."""

    def __init__(self, files: ModelFiles, config: Config) -> None:
        self._files = files
        self._config = config

    @classmethod
    def from_config(cls, config: Config) -> SentenceTransformerEmbedder:
        return cls(find_embedder(config.embedder, config.allow_downloads), config)

    @cached_property
    def model(self) -> SentenceTransformer:
        return load_embedder(self._files, self._config)

    @property
    def identity(self) -> tuple[str, str]:
        return self._files.id, self._files.revision

    @property
    def stamp(self) -> EmbedderStamp:
        dimension = self.model.get_embedding_dimension()
        return EmbedderStamp(*self.identity, int(dimension or 0))

    @property
    def device(self) -> str:
        parameter = next(self.model.parameters())
        return f"{parameter.device} {str(parameter.dtype).removeprefix('torch.')}"

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(self.model.encode_document, list(texts))

    def embed_query(self, text: str) -> np.ndarray:
        return self._encode(self.model.encode_query, [text])[0]

    @cached_property
    def _counter(self) -> Tokenizer:
        """The model's tokenizer without the padding and truncation that the model itself needs."""
        from tokenizers import Tokenizer

        counter = Tokenizer.from_str(self.model.tokenizer.backend_tokenizer.to_str())
        counter.no_padding()
        counter.no_truncation()
        return counter

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self._counter.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _encode(self, encode: Callable[..., np.ndarray], texts: list[str]) -> np.ndarray:
        with COMPUTE_LANE:
            vectors = encode(texts, batch_size=self._config.embedding_batch, show_progress_bar=False)
        rows = np.asarray(vectors, np.float32)
        # A half-precision model normalises in half precision: norms are off by some 0.3 % until redone here.
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
