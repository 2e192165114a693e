"""A made-up corpus of any size with the statistics of a real one: what the search is measured on where no course is large enough.

Vectors are sums of Gaussians: one for the course, the document, the section and the passage, each with the covariance of the real vectors
and with as much weight as makes two passages of the same course, document or section as similar, on average, as two real ones are. A
question is its passage, turned away from it in a direction with the same covariance until it is as similar as real questions are to theirs.
Words are those of the real course, sentence by sentence; each made-up course has its own form of a topical word, the k-th form with a
chance proportional to 1/k, so that a word is as rare among all passages as in mixed real text and as frequent as ever in its course.
What this does not know: vectors and words of a made-up passage have nothing to do with one another, and real outliers are missing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rag.embed import Embedder
from rag.golden import Golden
from rag.records import EmbedderStamp, NewDocument
from rag.store import Store
from rag.text import STOPWORDS, fold, sentences, stem
from rag.types import Chunk, Location, LocationKind, Passage

COURSE_PASSAGES, DOCUMENT_PASSAGES, SECTION_PASSAGES = 1000, 25, 2
FORMS = 5
"""Of a topical word, at most. The words of a question then stand in 14 % of all passages together, the most frequent one in 7 % (medians);
in 10,764 passages of mixed real text it was 15 % and 6 % (docs/experiments.md)."""
_ALPHABET = "bcdfghjklmnpqrstvwxz"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is measured on a real course."""

    course_similarity: float
    """Mean cosine of two passages of the course; of the same document and of the same section in the next two."""
    document_similarity: float
    section_similarity: float
    neighbour_similarity: float
    """Median cosine of a passage to its nearest neighbour: not fitted, to compare."""
    question_similarities: np.ndarray
    """Cosines of golden questions to the best passage with their quote."""
    factor: np.ndarray
    """`(d, d) float32`; standard normal rows times it have the passages' covariance, scaled to a mean squared norm of 1."""
    lengths: tuple[int, ...]
    """Characters of the passages."""
    sentences: tuple[str, ...]
    questions: tuple[str, ...]


def measure(store: Store, course: str, embedder: Embedder, golden: Sequence[Golden]) -> Statistics:
    """The statistics of a course in a store and of the questions asked about it."""
    ids, vectors, _ = store.vectors()
    rows = vectors.astype(np.float32)
    passages = store.passages(ids.tolist())
    ordered = [passages[chunk_id] for chunk_id in ids.tolist()]
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, np.nan)
    documents = np.unique([passage.source for passage in ordered], return_inverse=True)[1]
    sections = np.unique([f"{passage.source}\n{passage.chunk.context}" for passage in ordered], return_inverse=True)[1]
    values, directions = np.linalg.eigh(np.cov(rows.T))
    deviations = np.sqrt(np.maximum(values, 0))
    return Statistics(
        float(np.nanmean(cosines)),
        float(np.nanmean(cosines[documents[:, None] == documents])),
        float(np.nanmean(cosines[sections[:, None] == sections])),
        float(np.median(np.nanmax(cosines, axis=1))),
        np.array(sorted(_question_similarities(golden, embedder, ordered, rows)), np.float32),
        (directions * deviations / np.linalg.norm(deviations)).T.astype(np.float32),
        tuple(len(passage.chunk.text) for passage in ordered),
        tuple(" ".join(sentence.split()) for passage in ordered for sentence in sentences(passage.chunk.text)),
        tuple(question.question for question in golden),
    )


def _question_similarities(golden: Sequence[Golden], embedder: Embedder, passages: Sequence[Passage], rows: np.ndarray) -> Iterator[float]:
    texts = [(passage.source, " ".join(passage.chunk.text.split()).lower()) for passage in passages]
    for question in golden:
        quotes = [(place["source"], " ".join(place["quote"].split()).lower()) for place in question.relevant if place.get("quote")]
        held = [row for row, (source, text) in enumerate(texts) if any(source == there and quote in text for there, quote in quotes)]
        if held:
            yield float((rows[held] @ embedder.embed_query(question.question)).max())


def course_vectors(statistics: Statistics, course: int, count: int) -> np.ndarray:
    """`(count, d) float32` unit rows: the passages of one made-up course, always the same for its number."""
    draw = np.random.default_rng([1, course])
    shares = np.diff([0.0, statistics.course_similarity, statistics.document_similarity, statistics.section_similarity, 1.0])
    rows = np.zeros((count, len(statistics.factor)), np.float32)
    for share, size in zip(shares, (count, DOCUMENT_PASSAGES, SECTION_PASSAGES, 1), strict=True):
        groups = -(-count // size)
        rows += np.sqrt(max(share, 0.0)) * np.repeat(_gaussian(draw, groups, statistics), size, axis=0)[:count]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def question_vectors(statistics: Statistics, targets: np.ndarray, seed: int = 2) -> np.ndarray:
    """`(n, d) float32` unit rows: a question for each row of `targets`, as similar to it as real questions are to their passages."""
    draw = np.random.default_rng(seed)
    away = _gaussian(draw, len(targets), statistics)
    away -= (away * targets).sum(1, keepdims=True) * targets
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    similarity = draw.choice(statistics.question_similarities, len(targets))[:, None]
    return (similarity * targets + np.sqrt(1 - similarity**2) * away).astype(np.float32)


def _gaussian(draw: np.random.Generator, count: int, statistics: Statistics) -> np.ndarray:
    return draw.standard_normal((count, len(statistics.factor)), np.float32) @ statistics.factor


class CourseWords:
    """A text as a made-up course would have it: the same sentences with its own forms of topical words."""

    def __init__(self, course: int) -> None:
        self._course = course
        self._forms: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        return re.sub(r"[^\W\d_]{3,}", lambda found: self._form(found.group()), text)

    def _form(self, word: str) -> str:
        if word not in self._forms:
            folded = fold(word)
            self._forms[word] = word if folded in STOPWORDS else _prefix(stem(folded), self._course) + word
        return self._forms[word]


def _prefix(stemmed: str, course: int) -> str:
    """Empty for the first form. A prefix keeps the ending, so that the index still brings the forms of one word together."""
    form = int(FORMS ** random.Random(f"{stemmed} {course}").random())  # density proportional to 1/form
    letters = ""
    while form > 1:
        form, letter = divmod(form, len(_ALPHABET))
        letters += _ALPHABET[letter]
    return letters


def write_store(store: Store, course: str, statistics: Statistics, count: int, stamp: EmbedderStamp) -> None:
    """Fills a new store with one course of `count` passages, whose folders are the made-up courses. Half are slides, a hundredth of week 7.

    Nothing waits for the disk: what a loss of power breaks is written again.
    """
    store.db.execute("PRAGMA synchronous = OFF")
    store.save_course(course, f"{count:,} passages", store.directory)
    store.stamp_embedder(stamp)
    for number in range(-(-count // COURSE_PASSAGES)):
        passages = min(COURSE_PASSAGES, count - number * COURSE_PASSAGES)
        for document in _documents(statistics, number, course_vectors(statistics, number, passages)):
            store.save_document(course, document)
    store.db.execute("PRAGMA synchronous = FULL")


def _documents(statistics: Statistics, course: int, vectors: np.ndarray) -> Iterator[NewDocument]:
    draw, words = random.Random(course), CourseWords(course)
    lines = [words(sentence) for sentence in statistics.sentences]
    for number, first in enumerate(range(0, len(vectors), DOCUMENT_PASSAGES)):
        rows = vectors[first : first + DOCUMENT_PASSAGES].astype(np.float16)
        texts = [_passage(lines, draw, draw.choice(statistics.lengths)) for _ in rows]
        keys = [f"{course}-{first + row}" for row in range(len(rows))]
        week = (course * COURSE_PASSAGES // DOCUMENT_PASSAGES + number) % 100
        yield NewDocument(
            f"course-{course:04}/document-{number:02}.txt", keys[0], "", "txt", f"Document {number}", 0, "",
            [Chunk(text, 0, len(text), Location(LocationKind.LINE, 1), f"Document {number}") for text in texts],
            keys, dict(zip(keys, rows, strict=True)), {"material": ("notes", "slides")[number % 2], "week": str(week)},
        )  # fmt: skip


def _passage(lines: Sequence[str], draw: random.Random, length: int) -> str:
    """Sentences that follow one another in the real course, of about so many characters."""
    start = draw.randrange(len(lines))
    text = lines[start]
    while len(text) < length:
        start += 1
        text += " " + lines[start % len(lines)]
    return text
