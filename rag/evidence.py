"""Which sentences of the hits answer the question, and how sure we are that any does.

The passages are cut into statements; each is judged by its meaning (cosine to the question), by the share of the question's words it holds
(rare words count more), and by how well its passage ranked. The best ones are what the generator sees and what an extractive answer quotes.
The confidence is a logistic function of two of these figures, fitted on questions that have an answer and questions that have none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rag.embed import Embedder
from rag.lexical import any_word
from rag.store import Store
from rag.text import content_words, sentence_spans, stem, stems, words
from rag.types import Hit

FEWEST_WORDS = 5
"""A shorter piece without a full stop (a label such as `Due:`) says nothing by itself: it is read together with what follows."""
LONGEST_HEADING = 12
"""Words; a line by itself that is longer is no heading."""
STATEMENTS_WEIGHED = 8
"""Statements whose meaning is compared with the question's: those with most of its words. More find nothing (docs/experiments.md)."""

_MARKED_HEADING = re.compile(r"#{1,6}\s|(?:Notes|Output):$|(?:Table|Figure|Fig\.|Listing)\s*\d+\s*[:.]")
_NO_HEADING = re.compile(r"[.!?:;=|]$|[=|]|^[-*•▪◦–]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement of a hit: `chunk.text[start:end]`. Higher figures are better."""

    hit: Hit
    start: int
    end: int
    similarity: float
    """Cosine to the question, -1 to 1."""
    overlap: float
    """Share of the question's words, by weight, that it holds, 0 to 1."""

    @property
    def text(self) -> str:
        return self.hit.passage.chunk.text[self.start : self.end]

    @property
    def strength(self) -> float:
        """What statements are ranked by; the weights were chosen on half of squad2 and hold on syllabi (docs/experiments.md)."""
        return self.similarity + self.overlap + 0.5 * self.hit.score


def word_weights(question: str, store: Store, course: str, language: str | None) -> dict[str, float]:
    """How much each content word (its stem) of the question tells: its inverse document frequency in the course.

    Args:
        language: the question's, in which the course's text index is asked.
    """
    index = store.text_index
    chunks = index.chunks(course)
    found = {stem(word): index.count(course, any_word(word, language)) for word in dict.fromkeys(content_words(question))}
    return {word: math.log1p(chunks / (1 + count)) for word, count in found.items()}


def select_evidence(query: np.ndarray, hits: Sequence[Hit], weights: Mapping[str, float], embedder: Embedder) -> list[Evidence]:
    """The statements of the hits that may answer, the strongest first: at most `STATEMENTS_WEIGHED`.

    Args:
        query: the question's vector, `(d,) float32` of norm 1.
        weights: the question's words, as `word_weights` gives them.
    """
    statements = [
        Evidence(hit, start, end, 0.0, overlap(hit.passage.chunk.text[start:end], weights))
        for hit in hits
        for start, end in statement_spans(hit.passage.chunk.text)
    ]
    weighed = sorted(statements, key=_order)[:STATEMENTS_WEIGHED]
    if not weighed:
        return []
    similarities = embedder.embed_documents([one.text for one in weighed]) @ query
    return sorted((replace(one, similarity=float(value)) for one, value in zip(weighed, similarities, strict=True)), key=_order)


def _order(one: Evidence) -> tuple[float, int, int]:
    return -one.strength, one.hit.rank, one.start


def overlap(text: str, weights: Mapping[str, float]) -> float:
    """Share of the words, by weight, that the text holds: 0 to 1."""
    total = sum(weights.values())
    there = stems(text)
    return sum(weight for word, weight in weights.items() if word in there) / total if total else 0.0


def statement_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the sentences of a passage without its headings; a label is taken together with the sentence after it.

    Headings are left out because they answer nothing by themselves; a passage of nothing else keeps them.
    """
    spans = list(sentence_spans(text))
    pending: int | None = None
    last_end = 0
    for start, end in [span for span in spans if not _is_heading(text, *span)] or spans:
        begin = start if pending is None else pending
        is_label = len(words(text[start:end])) < FEWEST_WORDS and not text[start:end].rstrip("\"')”").endswith((".", "!", "?"))
        last_end = end
        if is_label and end - begin < 200:
            pending = begin
        else:
            yield begin, end
            pending = None
    if pending is not None:
        yield pending, last_end


CONFIDENCE_WEIGHTS = (-2.33, 1.712, 2.669)
"""Intercept, then a weight for each of `confidence_features`; printed by scripts/fit_confidence.py (quality: docs/experiments.md)."""


def _is_heading(text: str, start: int, end: int) -> bool:
    """Whether a sentence is a heading or a caption: marked as one, or a short line by itself, a blank line after it."""
    sentence = text[start:end]
    if "\n" in sentence:
        return False
    is_short = len(words(sentence)) <= LONGEST_HEADING and not _NO_HEADING.search(sentence)
    return bool(_MARKED_HEADING.match(sentence)) or (is_short and text[end:].startswith("\n\n"))


def confidence(evidence: Sequence[Evidence]) -> float:
    """The estimated chance, 0 to 1, that the materials answer the question; 0 without any evidence."""
    if not evidence:
        return 0.0
    intercept, *weights = CONFIDENCE_WEIGHTS
    logit = intercept + sum(weight * value for weight, value in zip(weights, confidence_features(evidence), strict=True))
    return 1 / (1 + math.exp(-logit))


def confidence_features(evidence: Sequence[Evidence]) -> tuple[float, float]:
    """Cosine to the question of the best passage, and of the strongest statement; 0 without evidence."""
    if not evidence:
        return 0.0, 0.0
    return max(one.hit.similarity or 0.0 for one in evidence), evidence[0].similarity
