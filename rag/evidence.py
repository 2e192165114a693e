"""Which sentences of the hits answer the question, and how sure we are that any does.

The passages are cut into statements; each is judged by its meaning (cosine to the question), by the share of the question's words it holds
(rare words count more), and by how well its passage ranked. The best ones are what the generator sees and what an extractive answer quotes.
The confidence is a logistic function of two of these figures, fitted on questions that have an answer and questions that have none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rag.embed import Embedder
from rag.store import Store
from rag.text import content_words, sentence_spans, stem, stems, words
from rag.types import Hit

FEWEST_WORDS = 5
"""A shorter piece without a full stop (a heading, a label) says nothing by itself: it is read together with what follows."""


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


def word_weights(question: str, store: Store) -> dict[str, float]:
    """How much each content word (its stem) of the question tells: its inverse document frequency in the store."""
    chunks = store.count_chunks()
    return {stem(word): math.log1p(chunks / (1 + store.count_chunks_with(word))) for word in dict.fromkeys(content_words(question))}


def select_evidence(question: str, hits: Sequence[Hit], weights: Mapping[str, float], embedder: Embedder) -> list[Evidence]:
    """Every statement of the hits, the strongest first."""
    spans = [(hit, start, end) for hit in hits for start, end in statement_spans(hit.passage.chunk.text)]
    if not spans:
        return []
    texts = [hit.passage.chunk.text[start:end] for hit, start, end in spans]
    similarities = embedder.embed_documents(texts) @ embedder.embed_query(question)
    evidence = [
        Evidence(hit, start, end, float(similarity), overlap(text, weights))
        for (hit, start, end), text, similarity in zip(spans, texts, similarities, strict=True)
    ]
    return sorted(evidence, key=lambda one: (-one.strength, one.hit.rank, one.start))


def overlap(text: str, weights: Mapping[str, float]) -> float:
    """Share of the words, by weight, that the text holds: 0 to 1."""
    total = sum(weights.values())
    there = stems(text)
    return sum(weight for word, weight in weights.items() if word in there) / total if total else 0.0


def statement_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the sentences of a passage; a heading or label is taken together with the sentence after it."""
    pending: int | None = None
    last_end = 0
    for start, end in sentence_spans(text):
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


CONFIDENCE_WEIGHTS = (-2.5, 2.0, 3.0)
"""Intercept, then a weight for each of `confidence_features`; printed by scripts/fit_confidence.py (quality: docs/experiments.md)."""


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
