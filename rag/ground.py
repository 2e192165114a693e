"""Sentence by sentence: which passage supports it, how well, or nothing does. Code decides this, never the generator.

A sentence is supported when a statement of one passage, or two neighbours, hold most of its content words in about their order, and agree
with it in every number with its unit, date, time, name, negation and limit. A stretch that holds it in part is weak support; one that
contradicts a number, date or time is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rag import agreement
from rag.agreement import (
    hedges_agree,
    limits_agree,
    moments_agree,
    names_agree,
    negations_agree,
    normalized,
    numbers_stay_with_their_words,
    quantities,
    quantities_agree,
    share_in_order,
    subject_stands,
)
from rag.evidence import statement_spans
from rag.text import STOPWORDS, content_stems, stems, words
from rag.types import Passage, Support

SUPPORTED_SHARE = 0.86
"""A sentence with at least this share of its content words in one stretch of a passage is supported: of up to six none may be missing, of
seven one. With 0.8 a wrong subject passed (docs/experiments.md)."""
WEAK_SHARE = 0.6
FEWEST_WORDS = 4
"""A sentence with fewer content words is held only by what also speaks of the question."""
FEWEST_WITH_NUMBER = 3
ORDER_SHARE = 0.75
"""Of its neighbouring content words at least this share must stand near each other there."""

_LEAD_IN = re.compile(
    r"^(?:(?:so|well),? )?(?:the |my )?(?:correct )?answer(?: to (?:this|the|your) question)? is(?: that)?\s*:?\s+(?=\S)", re.IGNORECASE
)
_DIGITS = re.compile(r"\d+(?:[.,:/]\d+)*")
_VERDICT = re.compile(r"^(?:yes|no)\s*[,.:;!–—-]+\s*(?:(?:because|since|but|however|and)\b,?\s+)?(?=\S)", re.IGNORECASE)
_YES_OR_NO = re.compile(r"^(?:yes|no)\b[\s,.:;!–—-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Grounding:
    """What holds a sentence: the best `passage` and the stretch `quote` of it; neither when nothing does."""

    support: Support
    passage: Passage | None = None
    quote: str = ""


def ground(sentence: str, passages: Sequence[Passage], question: str = "") -> Grounding:
    """The best support for a sentence among the passages.

    Args:
        question: what the reader said. Its words need no support, its numbers and names do for full support.
    """
    claim = _Claim.of(sentence, question)
    has_verdict = bool(_VERDICT.match(sentence))  # whether the rest means it is nothing that a passage's words can hold
    best = Grounding(Support.UNSUPPORTED)
    best_fit = (False, 0.0, 0)  # supported, share, then the shorter quote
    for passage in passages if claim.every else ():
        context = passage.chunk.context
        if not names_agree(sentence, f"{context} {passage.chunk.text} {question}"):
            continue
        for quote in _stretches(passage.chunk.text):
            there = stems(normalized(quote))
            share = len(claim.own & there) / len(claim.own)
            if share < WEAK_SHARE or (best_fit[0] and (share, -len(quote)) <= best_fit[1:]):
                continue
            known = f"{context}\n{quote}"
            if not (quantities_agree(sentence, f"{known} {question}") and moments_agree(sentence, f"{known} {question}")):
                continue
            supported = (
                not has_verdict
                and share >= SUPPORTED_SHARE
                and claim.is_held(quote, there | stems(context))
                and _agree(sentence, quote, known)
            )
            fit = supported, share, -len(quote)
            if fit > best_fit:
                best_fit = fit
                best = Grounding(Support.SUPPORTED if supported else Support.WEAK, passage, quote)
    return best


@dataclass(frozen=True, slots=True)
class _Claim:
    """A sentence by its words: all content words, the sentence's own, and the question's. No words are left of a bare `yes`."""

    text: str
    question: str
    every: frozenset[str]
    own: frozenset[str]
    asked: frozenset[str]

    @classmethod
    def of(cls, sentence: str, question: str) -> _Claim:
        text = _YES_OR_NO.sub("", sentence)
        every = content_stems(normalized(text)) if words(text) else frozenset()
        asked = content_stems(normalized(question))
        return cls(text, question, every, every - asked or every, asked)

    def is_held(self, quote: str, there: frozenset[str]) -> bool:
        """Whether a stretch, `there` being its words and those of its headings, holds all of it, and speaks of what was asked."""
        if len(self.every & there) < SUPPORTED_SHARE * len(self.every):
            return False
        if len(self.every) >= FEWEST_WORDS:
            return True
        if any(quantities(self.text)) and len(content_stems(_DIGITS.sub("0", self.text))) < FEWEST_WITH_NUMBER:
            return False  # `34.1 MB.` does not say of what
        # `Friday.` stands in many places; it is the answer where the question's words stand too.
        is_about = not self.asked or len(self.asked & there) >= len(self.asked) / 2
        return is_about and numbers_stay_with_their_words(self.text, quote, self.question)


def _agree(sentence: str, quote: str, known: str) -> bool:
    """Whether a stretch says it in full; `known` is the stretch with its headings."""
    return (
        quantities_agree(sentence, known)
        and moments_agree(sentence, known)
        and names_agree(sentence, known)
        and negations_agree(sentence, quote)
        and limits_agree(sentence, quote)
        and hedges_agree(sentence, quote)
        and subject_stands(sentence, known)
        and numbers_stay_with_their_words(sentence, quote)
        and share_in_order(sentence, known) >= ORDER_SHARE
    )


def without_lead_in(sentence: str) -> str:
    """A sentence without `The answer to this question is: `, which small models like to begin with."""
    return _without(_LEAD_IN, sentence)


def without_verdict(sentence: str) -> str:
    """A sentence without the `Yes,` or `No,` it begins with, with which `ground` finds it weak at best."""
    return _without(_VERDICT, sentence)


def _without(beginning: re.Pattern[str], sentence: str) -> str:
    bare = beginning.sub("", sentence)
    return bare if bare == sentence else bare[:1].upper() + bare[1:]


def says_something(sentence: str) -> bool:
    """Whether it is a sentence at all: not a lead-in, a question, a list's number, nothing but stop words, or the same words over again."""
    is_bare_number = re.fullmatch(r"\(?(?:\d{1,2}|[A-Za-z])[.)]", sentence)
    parts = [" ".join(words(part)) for part in re.split(r"[,;]\s*(?:and |or )?|\s(?:and|or)\s", sentence)]
    repeats = any(part.count(" ") and any(earlier.endswith(part) for earlier in parts[:at]) for at, part in enumerate(parts))
    return not (sentence.endswith((":", "?")) or is_bare_number or repeats or set(words(sentence)) <= STOPWORDS)


def adds_nothing(sentence: str, earlier: Sequence[str], question: str = "") -> bool:
    """Whether a sentence says no more than an earlier one of the answer, or only what the question says."""
    said = content_stems(sentence)
    if said <= content_stems(question):
        return not _YES_OR_NO.match(sentence)
    return any(said <= content_stems(one) for one in earlier)


def forget_texts() -> None:
    """Empties what is kept of passages from sentence to sentence: the store has changed, and they may be of removed documents."""
    _stretches.cache_clear()
    agreement.forget_texts()


@lru_cache(maxsize=64)
def _stretches(text: str) -> tuple[str, ...]:
    """Each statement of a passage, and each two neighbours together. Kept, as every sentence of an answer is compared with all of them."""
    spans = list(statement_spans(text))
    single = [text[start:end] for start, end in spans]
    return *single, *(text[start:end] for (start, _), (_, end) in pairwise(spans))
