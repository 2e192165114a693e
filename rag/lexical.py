"""Texts and questions as the text index knows them: folded stems, and pairs of characters where a script writes no spaces.

The index (FTS5) holds `indexed_text`, so that a word is cut down in the language of its document; a question becomes expressions over the
same terms. Counting and scoring (BM25) are FTS5's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from rag.text import STOPWORDS, fold, stem

_RUN = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+"
)
"""Thai, Lao, Burmese, Khmer, kana and Han."""
_SHORTENED = re.compile(r"['’](?:s|t|re|ve|ll|d|m)\b", re.IGNORECASE)
"""What is left of a verb in `what's` or `don't` says nothing."""
MOST_TERMS = 100
"""Of a question. Longer ones are pasted texts, whose first hundred words say what they are about."""


def terms(text: str, language: str | None) -> list[str]:
    """The terms of a text, in order.

    Args:
        language: ISO 639-1, of the document, or of the documents a question is put to; English where it is None.
    """
    return [term for run in _runs(text) for term in _terms_of_run(run, language)]


def indexed_text(text: str, language: str | None) -> str:
    """What the text index holds of a text: its terms, a space between them."""
    return " ".join(terms(text, language))


def any_word(question: str, language: str | None) -> str:
    """An FTS5 expression that any content word of the question matches; of all its words, where it has no others."""
    pairs = _flagged_terms(question, language)
    content = [term for term, is_stop in pairs if not is_stop] or [term for term, _ in pairs]
    return _any(content)


def any_phrase(question: str, language: str | None, stop_words: bool = True) -> str:
    """An FTS5 expression that any two neighbouring words of the question match where they stand side by side.

    Args:
        stop_words: whether one of the two may be a stop word.
    """
    pairs = pairwise(_flagged_terms(question, language))
    return _any(f"{a} {b}" for (a, a_stops), (b, b_stops) in pairs if a_stops + b_stops <= stop_words)


def _flagged_terms(question: str, language: str | None) -> list[tuple[str, bool]]:
    """The first terms of a question, each with whether it is a stop word."""
    runs = _runs(_SHORTENED.sub("", question))
    return [(term, fold(run) in STOPWORDS) for run in runs for term in _terms_of_run(run, language)][:MOST_TERMS]


def _runs(text: str) -> list[str]:
    """Accents stay until the stemmer has seen them: endings are told by them."""
    return _RUN.findall(unicodedata.normalize("NFKC", text).lower())


def _terms_of_run(run: str, language: str | None) -> Iterator[str]:
    end = 0
    for unspaced in _UNSPACED.finditer(run):
        if run[end : unspaced.start()]:
            yield stem(run[end : unspaced.start()], language)
        characters, end = fold(unspaced.group()), unspaced.end()
        yield from (characters[at : at + 2] for at in range(max(1, len(characters) - 1)))
    if run[end:]:
        yield stem(run[end:], language)


def _any(phrases: Iterator[str] | list[str]) -> str:
    """Quoting keeps operators in a question from acting."""
    return " OR ".join(f'"{phrase}"' for phrase in dict.fromkeys(phrases)) or '""'
