"""The vocabulary: every value that passes from one part of Lectern to another.

Frozen and free of imports of ours, so that any module may use it. What only one part needs stays in that part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class LocationKind(StrEnum):
    """What a person turns to: the value is also the key of the number or path in JSON."""

    PAGE = "page"
    SLIDE = "slide"
    CELL = "cell"
    HEADING = "heading"
    LINE = "line"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a document that a person can go to.

    `number` counts from 1: the page, slide, cell or first line; for TIME it is whole seconds from the start. `last` is the last line of
    a line span. `heading` is the path of headings, outermost first; it may accompany every kind. `cell` is a notebook cell's kind.
    """

    kind: LocationKind
    number: int | None = None
    last: int | None = None
    heading: tuple[str, ...] = ()
    cell: str | None = None

    @property
    def label(self) -> str:
        """The place in words, as it stands in a citation: `page 4`, `cell 7 (code)`, `Grading › Late days`, `12:31`."""
        match self.kind:
            case LocationKind.HEADING:
                return " › ".join(self.heading) or "beginning"
            case LocationKind.LINE:
                return f"lines {self.number}–{self.last}" if self.last not in (None, self.number) else f"line {self.number}"
            case LocationKind.CELL:
                return f"cell {self.number} ({self.cell})" if self.cell else f"cell {self.number}"
            case LocationKind.TIME:
                minutes, seconds = divmod(self.number or 0, 60)
                return f"{minutes}:{seconds:02}"
            case _:
                return f"{self.kind.value} {self.number}"

    def to_json(self) -> dict[str, Any]:
        """The stable JSON form: `kind`, a key named as the kind, and whatever else is known."""
        value: dict[str, Any] = {"kind": self.kind.value}
        if self.kind is not LocationKind.HEADING:
            value[self.kind.value] = self.number
        if self.last is not None:
            value["last"] = self.last
        if self.heading or self.kind is LocationKind.HEADING:
            value["heading"] = list(self.heading)
        if self.cell:
            value["cell_kind"] = self.cell
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Location:
        kind = LocationKind(value["kind"])
        number = None if kind is LocationKind.HEADING else value[kind.value]
        return cls(kind, number, value.get("last"), tuple(value.get("heading", ())), value.get("cell_kind"))


@dataclass(frozen=True, slots=True)
class Section:
    """A run of text at one location, in reading order: a page, a slide, a cell, what stands under one heading."""

    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class Document:
    """What a reader makes of one file. `facts` are course facts the file itself states (title, material, week, lecture, date, due)."""

    title: str
    sections: tuple[Section, ...]
    facts: dict[str, str] = field(default_factory=dict)
    pages: int = 0
    notices: tuple[str, ...] = ()

    SEPARATOR = "\n\n"

    @property
    def text(self) -> str:
        """The extracted text that character spans count in: the sections, a blank line between them."""
        return self.SEPARATOR.join(section.text for section in self.sections)

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "sections": [[section.text, section.location.to_json()] for section in self.sections],
            "facts": self.facts,
            "pages": self.pages,
            "notices": list(self.notices),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Document:
        sections = tuple(Section(text, Location.from_json(location)) for text, location in value["sections"])
        return cls(value["title"], sections, value["facts"], value["pages"], tuple(value["notices"]))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `document.text[start:end] == text`. `context` (titles and headings) is searched with it but not part of it."""

    text: str
    start: int
    end: int
    location: Location
    context: str = ""
    tokens: int = 0
    """Word pieces of `text`, for the embedder it was cut for."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A stored chunk with the document it stands in; `ordinal` counts the document's chunks from 0.

    A passage found for a question may have grown over neighbours: its chunk then spans them all, and id and ordinal are those of the one
    that was found.
    """

    chunk_id: int
    course: str
    source: str
    title: str
    chunk: Chunk
    ordinal: int = 0
    material: str | None = None
    week: int | None = None
    lecture: int | None = None


class ScoredSpan(NamedTuple):
    """Characters `text[start:end]` of a passage, and how well they answer (a logit)."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader says of a passage; logits, higher is better."""

    answers: float
    """Whether the passage answers the question."""
    relevance: float
    """By which passages are ranked."""
    spans: tuple[ScoredSpan, ...]
    """Apart from each other, the best first."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found for a question. Every figure is higher-is-better; None: that leg did not find it.

    `similarity` is the cosine to the question (-1 to 1), `bm25` the text score (0 and up), `score` what ranks: the fused one, and theirs
    where a reader or a reranker has seen it (0 to 1, more in a part of the course that the question names).
    """

    passage: Passage
    rank: int
    score: float
    similarity: float | None = None
    bm25: float | None = None
    duplicates: tuple[Passage, ...] = ()
    """Passages of other places that say the same in nearly the same words."""
    reading: Reading | None = None
    """What the reader says of it, where there is one; of a grown passage, of all its chunks together."""


class Support(StrEnum):
    """How well a sentence stands on the materials."""

    SUPPORTED = "supported"
    WEAK = "weak"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer, with the numbers of the sources that hold it."""

    text: str
    support: Support
    citations: tuple[int, ...] = ()
    quoted: bool = False
    """Whether they are the materials' own words, put in by code, and not the generator's."""


@dataclass(frozen=True, slots=True)
class Source:
    """A cited passage: `n` is its number in this answer, `quote` the words in `passage` that carry the answer."""

    n: int
    passage: Passage
    quote: str


class Mode(StrEnum):
    """Where the words of an answer come from."""

    GENERATED = "generated"
    EXTRACTIVE = "extractive"


AFTER_FIRST_TOKEN = frozenset({"decode", "ground", "other"})
"""Stages after the first token of an answer; those before add up to its time to first token."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds by stage, in the order they ran; `other` makes them add up to the wall time `total`."""

    stages: dict[str, float]
    total: float

    @property
    def first_token_ms(self) -> float | None:
        """Until the generator's first token; None when it was not asked."""
        if "prefill" not in self.stages:
            return None
        return sum(ms for stage, ms in self.stages.items() if stage not in AFTER_FIRST_TOKEN)

    def to_json(self) -> dict[str, float]:
        return {**{stage: round(ms, 3) for stage, ms in self.stages.items()}, "total": round(self.total, 3)}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation or a prompt; `role` is `user`, `assistant` or `system`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a generator chooses its tokens, by the field's own names. `temperature` 0 is greedy, `top_k` 0 and `top_p` 1 leave all tokens."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    max_new_tokens: int = 160
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question waits for the generator: `position` 1 is the next in line; `expected_s` is None while nothing is known of the others."""

    position: int
    expected_s: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. `confidence` (0 to 1) is the estimated chance that the materials hold the answer."""

    question: str
    standalone: str
    text: str
    abstained: bool
    confidence: float
    mode: Mode
    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]
    latency: Latency
    prompt_tokens: int = 0
    completion_tokens: int = 0
    notices: tuple[str, ...] = ()
    prompt: tuple[Turn, ...] = ()
    """The very messages that the generator was given; none where it was not asked."""
    prompt_parts: dict[str, int] = field(default_factory=dict)
    """Tokens of the prompt by part: `system`, `history`, `sources`, `question`; about so many where a server counts its own."""
    dropped: tuple[Sentence, ...] = ()
    """What the generator wrote and was not shown, as the materials do not hold it. For whoever looks into it: never to be shown as fact."""
    reused_tokens: int = 0
    """Of the prompt's tokens, those that the generator had read for another question (its prefix cache)."""
    cached: bool = False
    """Whether it is an earlier answer to the same question, given again."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a question may see: one course, and optionally only some of its materials. Applied inside every search."""

    course: str
    path: str | None = None
    material: str | None = None
    week: int | None = None
    lecture: int | None = None
    format: str | None = None
    at: str | None = None
    """The moment, as ISO 8601, at which materials must have been visible; None: now; `any`: visible or not, for staff."""
