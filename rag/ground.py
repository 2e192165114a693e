"""Sentence by sentence: which passage supports it, how well, or nothing does. Code decides this, never the generator.

A sentence is supported when a stretch of one passage holds most of its content words, and every number and every name in it stands in that
passage. Markers that a model writes are removed, whole or half-streamed: only citations given here reach a reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.evidence import statement_spans
from rag.text import content_stems, fold, stems
from rag.types import Passage, Support

SUPPORTED_SHARE = 0.8
"""A sentence with at least this share of its content words in one stretch of a passage is supported; see docs/experiments.md."""
WEAK_SHARE = 0.6

_MARKER = re.compile(
    r"\s*[\[【(]\s*(?:(?:sources?|excerpts?|citations?|ref\w*)\s*)?#?\d+(?:\s*[,;–-]\s*\d+)*\s*[\])】]|\s*</?excerpt[^>]*>?", re.IGNORECASE
)
_OPEN_MARKER = re.compile(r"\s*(?:[\[【(][^\])】]{0,24}|<[^>]{0,80})$|\s+$")
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_NAME = re.compile(r"(?<!^)\b[A-Z][\w-]*[A-Za-z0-9]\b")
"""Capitalized words but the first, which may be any word."""
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|nor|without|cannot|isn't|aren't|doesn't|don't|didn't|won't|can't|mustn't|shouldn't)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Grounding:
    """What holds a sentence: the best `passage` and the stretch `quote` of it; neither when nothing does."""

    support: Support
    passage: Passage | None = None
    quote: str = ""


def ground(sentence: str, passages: Sequence[Passage], question: str = "") -> Grounding:
    """The best support for a sentence among the passages.

    Args:
        question: names that the reader used may stand in the answer without standing in the passage.
    """
    wanted = content_stems(sentence) - content_stems(question)
    wanted = wanted or content_stems(sentence)
    best = Grounding(Support.UNSUPPORTED)
    best_fit = (0.0, 0)  # share, then the shorter quote
    for passage in passages:
        if not _facts_agree(sentence, passage, question):
            continue
        for quote in _stretches(passage.chunk.text):
            share = len(wanted & stems(quote)) / len(wanted) if wanted else 0.0
            if share >= WEAK_SHARE and (share, -len(quote)) > best_fit:
                best_fit = share, -len(quote)
                best = Grounding(_support(share, sentence, quote), passage, quote)
    return best


def without_markers(text: str) -> str:
    """The text without citation markers and source tags of the model's own making."""
    return _MARKER.sub("", text)


def stable_prefix(text: str) -> str:
    """As much of a streamed text as may be shown: without markers, and without a tail that could still become one."""
    return _OPEN_MARKER.sub("", without_markers(text))


def _support(share: float, sentence: str, quote: str) -> Support:
    same_sense = bool(_NEGATION.search(sentence)) == bool(_NEGATION.search(quote))
    return Support.SUPPORTED if share >= SUPPORTED_SHARE and same_sense else Support.WEAK


def _facts_agree(sentence: str, passage: Passage, question: str) -> bool:
    """Whether every number of the sentence stands in the passage, and every name in the passage or the question."""
    there = f"{passage.chunk.context} {passage.chunk.text}"
    numbers = {number.replace(",", "") for number in _NUMBER.findall(there)}
    if any(number.replace(",", "") not in numbers for number in _NUMBER.findall(sentence)):
        return False
    known = fold(f"{there} {question}")
    return all(fold(name) in known for name in _NAME.findall(sentence))


def _stretches(text: str) -> Iterator[str]:
    """Each statement of a passage, and each two neighbours together."""
    spans = list(statement_spans(text))
    for index, (start, end) in enumerate(spans):
        yield text[start:end]
        if index + 1 < len(spans):
            yield text[start : spans[index + 1][1]]
