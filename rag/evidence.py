"""Which sentences of the hits answer the question, and how sure we are that any does.

The passages are cut into statements; each is judged by its meaning (how likely the reader takes it for the answer; without a reader its
cosine to the question), by the share of the question's words it holds (rare words count more), and by how well its passage ranked. The
best ones are what the generator sees and what an extractive answer quotes. The confidence is a logistic function of a few such figures,
fitted on questions that have an answer and questions that have none.
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
from rag.types import Hit, Reading

FEWEST_WORDS = 5
"""A shorter piece without a full stop (a label such as `Due:`) says nothing by itself: it is read together with what follows."""
LONGEST_HEADING = 12
"""Words; a line by itself that is longer is no heading."""
LONGEST_LABEL = 200
LONGEST_OPENING = 400
LONGEST_LIST = 700
"""Characters of a label, of a sentence that opens something, and of a list with its opening sentence."""
STATEMENTS_WEIGHED = 8
"""Statements that are told; without a reader those with most of the question's words, whose meaning is compared with the question's. More
find nothing (docs/experiments.md)."""

SEVERAL = 3
CLEAR_LEAD = 0.2
"""A second statement is quoted if its strength is at most so much below the first one's."""
FEWEST_LINES = 3
LONGEST_LINE = 25
"""Words."""
CLEAR_LINE = 1.5
"""A line must hold so many times the weight of the next best one to be quoted alone."""
UNNAMED = 8.0
"""How far a statement that holds none of the stretches that the reader names lies behind the best of them, in logits."""
CONFIDENCE_WEIGHTS = (-2.446, 1.56, 2.931)
"""Intercept, then a weight for each of `confidence_features`; printed by scripts/fit_confidence.py (quality: docs/experiments.md)."""
CONFIDENCE_WEIGHTS_READ = (-1.325, 1.16, 1.207, 0.359, 0.311)
"""The same where a reader has read."""
ODDS_WHEN_DECLINED = 0.4
"""By how much the odds that the materials answer change where the generator has all the same written that they do not: how many times as
often the shipped one declines a question that has an answer as one that has none (docs/tuning-generator.md). Another one is taken to do the
same."""

_MARKED_HEADING = re.compile(r"#{1,6}\s|(?:Notes|Output):$|(?:Table|Figure|Fig\.|Listing)\s*\d+\s*[:.]")
_LINE = re.compile(r"[^\n]*\S[^\n]*")
_SEVERAL = re.compile(
    r"\b(?:overview|summar(?:y|i[sz]e)|describe|details?|list|topics|themes|policies|requirements|types|kinds|components|objectives|goals"
    r"|compare|differences?|steps|ways|resources|what are (?:the|some|all|my|our)|which .*\b(?:are|do)\b|tell me about"
    r"|how (?:do|can|should) (?:i|we|you))\b",
    re.IGNORECASE,
)
_LEADERS = re.compile(r"\.{5,}|(?:\. ){5,}")
"""The dots of a table of contents."""
_LIST_ITEM = re.compile(r"(?:[-*•▪◦–§]|\(?\d{1,2}[.)]|\(?[A-Za-z][.)])\s")
_LISTING = re.compile(r":\s*\n?\s*(?:[-*•▪◦–§]|\(?\d{1,2}[.)]|\(?[A-Za-z][.)])\s")
"""A colon, then a list item."""
_BARE_NUMBER = re.compile(r"(?:^|[:\n])\s*\(?(?:\d{1,2}|[A-Za-z])[.)]$")
_NO_HEADING = re.compile(r"[.!?:;=|]$|[=|]|^[-*•▪◦–]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement of a hit: `chunk.text[start:end]`. Higher figures are better."""

    hit: Hit
    start: int
    end: int
    meaning: float
    """The reader's chance that it answers, 0 to 1; without a reader its cosine to the question, -1 to 1."""
    overlap: float
    """Share of the question's words, by weight, that it holds, 0 to 1."""

    @property
    def text(self) -> str:
        return self.hit.passage.chunk.text[self.start : self.end]

    @property
    def strength(self) -> float:
        """What statements are ranked by; the weights were chosen on the even halves of the sets (docs/experiments.md)."""
        return self.meaning + 0.5 * self.overlap + 0.5 * self.hit.score

    @property
    def promise(self) -> float:
        """What statements are chosen by for being embedded."""
        return self.overlap + 0.5 * self.hit.score


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
    # All or none: chances and cosines are not to be compared.
    is_read = all(hit.reading is not None for hit in hits)
    statements = [
        Evidence(hit, start, end, answering(hit.reading, start, end) if hit.reading else 0.0, overlap(text[start:end], weights))
        for hit in (hits if is_read else [replace(hit, reading=None) for hit in hits])
        for text in (hit.passage.chunk.text,)
        for start, end in statement_spans(text)
    ]
    return sorted(statements if is_read else _embedded(statements, query, embedder), key=_order)[:STATEMENTS_WEIGHED]


def _embedded(statements: Sequence[Evidence], query: np.ndarray, embedder: Embedder) -> list[Evidence]:
    """The most promising statements, their cosine to the question for a meaning."""
    chosen = sorted(statements, key=lambda one: (-one.promise, one.hit.rank, one.start))[:STATEMENTS_WEIGHED]
    if not chosen:
        return []
    similarities = embedder.embed_documents([one.text for one in chosen]) @ query
    return [replace(one, meaning=float(value)) for one, value in zip(chosen, similarities, strict=True)]


def answering(reading: Reading, start: int, end: int) -> float:
    """How likely the reader takes the characters `start` to `end` of a passage for what answers, 0 to 1: whether the passage does at all,
    and how far the best stretch inside lies behind the passage's best."""
    best = reading.spans[0].score if reading.spans else 0.0
    behind = min((best - span.score for span in reading.spans if span.start < end and span.end > start), default=UNNAMED)
    return logistic(reading.answers - behind / 2)


def _order(one: Evidence) -> tuple[float, int, int]:
    return -one.strength, one.hit.rank, one.start


def quoted_statements(evidence: Sequence[Evidence], weights: Mapping[str, float], question: str) -> list[Evidence]:
    """What an extractive answer quotes, the strongest first; of a table its row that answers.

    A question for one thing gets one statement, and a second where that is nearly as strong; one for an overview or a list gets three.
    """
    if asks_for_several(question):
        chosen = list(evidence[:SEVERAL])
    else:
        chosen = [one for one in evidence[:2] if evidence[0].strength - one.strength <= CLEAR_LEAD]
    return [narrowed(one, weights) for one in chosen]


def asks_for_several(question: str) -> bool:
    """Whether one statement can hardly be the answer."""
    return bool(_SEVERAL.search(question))


def narrowed(one: Evidence, weights: Mapping[str, float]) -> Evidence:
    """The line of a table, a form or a slide that holds clearly more of the question's words than every other; else the statement as it is.

    Only where every line is read by itself: none is long or goes on with the one before.
    """
    lines = [(match.start(), match.end()) for match in _LINE.finditer(one.text)]
    if len(lines) < FEWEST_LINES or any(not _is_line_by_itself(one.text[start:end]) for start, end in lines):
        return one
    held = sorted(((overlap(one.text[start:end], weights), start, end) for start, end in lines), reverse=True)
    (most, start, end), (second, *_) = held[0], held[1]
    line = one.text[start:end].rstrip()
    if most < CLEAR_LINE * second or most == 0 or len(words(line)) < 2 or line.endswith(":"):
        return one
    return replace(one, start=one.start + start, end=one.start + end)


def _is_line_by_itself(line: str) -> bool:
    return len(words(line)) <= LONGEST_LINE and not line.strip()[0].islower()


def overlap(text: str, weights: Mapping[str, float]) -> float:
    """Share of the words, by weight, that the text holds: 0 to 1."""
    total = sum(weights.values())
    there = stems(text)
    return sum(weight for word, weight in weights.items() if word in there) / total if total else 0.0


def statement_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the statements of a passage: its sentences without headings, each with what it cannot be read without.

    A label, a list's number and a question are taken together with the sentence after them; a sentence that ends in a colon also with the
    list items that follow it. Headings and lines of a table of contents are left out because they answer nothing by themselves; a passage
    of nothing else keeps them.
    """
    spans = list(sentence_spans(text))
    begin: int | None = None  # of a statement that awaits what follows
    listed: tuple[int, int] | None = None  # a statement with the list items found so far
    last_end = 0
    for start, end in [span for span in spans if not _is_heading(text, *span)] or spans:
        start = start if begin is None else begin
        if listed is not None:
            if _LIST_ITEM.match(text, start) and end - listed[0] <= LONGEST_LIST:
                is_number = _BARE_NUMBER.search(text[start:end])
                listed, begin = (listed, start) if is_number else ((listed[0], end), None)
                last_end = end
                continue
            yield listed
            listed = None
        last_end = end
        if _is_opening(text, start, end):
            begin = start
        elif begin is not None and _LISTING.search(text, begin, end):
            listed, begin = (begin, end), None
        else:
            yield start, end
            begin = None
    if listed is not None:
        yield listed[0], last_end
    elif begin is not None:
        yield begin, last_end


def _is_opening(text: str, start: int, end: int) -> bool:
    """Whether a piece says nothing by itself: a label, a list's number, a question, or what ends in a colon."""
    piece = text[start:end].rstrip("\"')”")
    if piece.endswith((":", "?")):
        return end - start < LONGEST_OPENING
    is_label = len(words(piece)) < FEWEST_WORDS and not piece.endswith((".", "!"))
    return (is_label or bool(_BARE_NUMBER.search(piece))) and end - start < LONGEST_LABEL


def _is_heading(text: str, start: int, end: int) -> bool:
    """Whether a sentence is a heading or a caption: marked as one, or a short line by itself, a blank line after it."""
    sentence = text[start:end]
    if "\n" in sentence:
        return False
    is_short = len(words(sentence)) <= LONGEST_HEADING and not _NO_HEADING.search(sentence)
    return bool(_MARKED_HEADING.match(sentence) or _LEADERS.search(sentence)) or (is_short and text[end:].startswith("\n\n"))


def confidence(evidence: Sequence[Evidence]) -> float:
    """The estimated chance, 0 to 1, that the materials answer the question; 0 without any evidence."""
    if not evidence:
        return 0.0
    intercept, *weights = CONFIDENCE_WEIGHTS if evidence[0].hit.reading is None else CONFIDENCE_WEIGHTS_READ
    return logistic(intercept + sum(weight * value for weight, value in zip(weights, confidence_features(evidence), strict=True)))


def logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def confidence_when_declined(sure: float) -> float:
    """The confidence of `sure` after a generator that read the evidence has declined to answer from it."""
    answers = sure * ODDS_WHEN_DECLINED
    return answers / (answers + 1 - sure)


def floor_of_cost(cost: float, unanswerable: float) -> float:
    """The confidence below which a refusal costs less than an answer.

    The confidence was fitted on as many questions with as without an answer, so its odds are those of the words alone. With a share
    `unanswerable` of questions that have none, refusing pays while odds < cost × unanswerable / (1 - unanswerable).

    Args:
        cost: how many times as bad as refusing a question that has an answer it is to answer one that has none.
    """
    odds = cost * unanswerable / (1 - unanswerable)
    return odds / (1 + odds)


def confidence_features(evidence: Sequence[Evidence]) -> tuple[float, ...]:
    """The highest cosine to the question among the passages, and meaning among the statements; from a reader also the highest strength and
    how sure it is of a passage. None without evidence."""
    if not evidence:
        return ()
    similarity = max(one.hit.similarity or 0.0 for one in evidence)
    meaning = max(one.meaning for one in evidence)
    read = [one.hit.reading.answers for one in evidence if one.hit.reading]
    return (similarity, meaning, evidence[0].strength, max(read)) if read else (similarity, meaning)
