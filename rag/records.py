"""What goes into the catalogue and comes out of it, beside chunks and passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rag.types import Chunk, Location


@dataclass(frozen=True, slots=True)
class Course:
    name: str
    title: str
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What the catalogue says of a document; its text is read apart."""

    id: int
    source: str
    sha256: str
    recipe: str
    format: str
    title: str
    pages: int
    material: str | None
    week: int | None
    lecture: int | None
    date: str | None
    due: str | None
    notices: list[str]
    fingerprint: str
    visible_from: str | None
    """UTC; None: always."""
    language: str | None
    """ISO 639-1; None: not known."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to save.

    `recipe` names how it was read and cut: another one means reading it again. `fingerprint` tells from the file's size and times that it
    has not been touched since. `vector_keys` name each chunk's embedded text; `vectors` holds, by key, those the store lacks: (d,) float16.
    `notices` say what its reader could not take or has left out.
    """

    source: str
    sha256: str
    recipe: str
    format: str
    title: str
    pages: int
    text: str
    chunks: Sequence[Chunk]
    vector_keys: Sequence[str]
    vectors: Mapping[str, np.ndarray]
    facts: Mapping[str, str] = field(default_factory=dict)
    notices: Sequence[str] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a document at one place: characters `start` to `end` of its extracted text."""

    start: int
    end: int
    location: Location


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that could not be read, and why. `sha256` is empty for one that could not even be opened."""

    source: str
    reason: str
    sha256: str = ""
    recipe: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """A published snapshot of the vectors: `file` is its name in the store, `revision` the state of the catalogue it was made from."""

    number: int
    file: str
    sha256: str
    chunks: int
    kind: str
    revision: int
    recall: float | None = None
    """Recall@10 against exact search, measured when it was made; None where nothing is missed."""


@dataclass(frozen=True, slots=True)
class EmbedderStamp:
    """Which embedder made the vectors of a store."""

    id: str
    revision: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.id} ({self.dimension}-d, revision {self.revision})"
