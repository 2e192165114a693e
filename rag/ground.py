"""Sentence by sentence: which passage supports it, how well, or nothing does. Code decides this, never the generator.

A sentence is supported when a statement of one passage, or two neighbours, hold most of its content words, every number in it stands there,
and every name in that passage. Markers that a model writes are removed, whole or half-streamed: only citations given here reach a reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.evidence import statement_spans
from rag.text import content_stems, stems, words
from rag.types import Passage, Support

SUPPORTED_SHARE = 0.8
"""A sentence with at least this share of its content words in one stretch of a passage is supported; see docs/experiments.md."""
WEAK_SHARE = 0.6

_NUMBERS = r"\#?\d{1,2}(?:\s*[,;–-]\s*\d{1,2})*"
_SOURCE_WORD = r"(?:sources?|excerpts?|citations?|ref\w*)"
_MARKER = re.compile(
    rf"""\s*(?<!\b\w)[\[【]\s*(?:{_SOURCE_WORD}\s*)?{_NUMBERS}\s*[\]】]  # [1], [2, 3], but not x[0]
    | \s*\(\s*{_SOURCE_WORD}\s*{_NUMBERS}\s*\)                         # (source 1), but not (2017)
    | \s*</?excerpt[^>]*>?""",
    re.IGNORECASE | re.VERBOSE,
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
    every = content_stems(sentence)
    own = every - content_stems(question) or every
    best = Grounding(Support.UNSUPPORTED)
    best_fit = (0.0, 0)  # share, then the shorter quote
    for passage in passages:
        if not _names_agree(sentence, passage, question):
            continue
        for quote, is_single in _stretches(passage.chunk.text):
            there = stems(quote)
            share = len(own & there) / len(own) if own else 0.0
            if share < WEAK_SHARE or (share, -len(quote)) <= best_fit or not _numbers_agree(sentence, quote, passage, question):
                continue
            best_fit = share, -len(quote)
            holds_all = len(every & (there | stems(passage.chunk.context))) >= SUPPORTED_SHARE * len(every)
            # A number belongs to its own statement: two neighbours together may pair it with the wrong thing.
            is_whole = is_single or not _NUMBER.search(sentence)
            same_sense = bool(_NEGATION.search(sentence)) == bool(_NEGATION.search(quote))
            supported = share >= SUPPORTED_SHARE and holds_all and is_whole and same_sense
            best = Grounding(Support.SUPPORTED if supported else Support.WEAK, passage, quote)
    return best


def without_markers(text: str) -> str:
    """The text without citation markers and source tags of the model's own making."""
    return _MARKER.sub("", text)


def stable_prefix(text: str) -> str:
    """As much of a streamed text as may be shown: without markers, and without a tail that could still become one."""
    return _OPEN_MARKER.sub("", without_markers(text))


def _numbers_agree(sentence: str, quote: str, passage: Passage, question: str) -> bool:
    """Whether every number of the sentence stands in the quoted words, their headings, or the question."""
    known = {number.replace(",", "") for number in _NUMBER.findall(f"{passage.chunk.context} {quote} {question}")}
    return all(number.replace(",", "") in known for number in _NUMBER.findall(sentence))


def _names_agree(sentence: str, passage: Passage, question: str) -> bool:
    """Whether every name of the sentence is a word of the passage, its headings, or the question."""
    known = set(words(f"{passage.chunk.context} {passage.chunk.text} {question}"))
    return all(set(words(name)) <= known for name in _NAME.findall(sentence))


def _stretches(text: str) -> Iterator[tuple[str, bool]]:
    """Each statement of a passage, and each two neighbours together; with whether it is a single one."""
    spans = list(statement_spans(text))
    for index, (start, end) in enumerate(spans):
        yield text[start:end], True
        if index + 1 < len(spans):
            yield text[start : spans[index + 1][1]], False
