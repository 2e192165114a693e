"""Words and sentences: the small text facts that chunking, search, grounding and evaluation must agree on."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(
    r"""(?<=[.!?…])["'”’)\]]*\s+(?=["'“‘(\[]*[A-Z0-9À-Þ$])  # a full stop, then what may begin a sentence
    | (?<=[。！？])
    | \n\s*\n
    | \n(?=\s*(?:[-*•▪◦–]|\d+[.)]|[A-Za-z][.)])\s)        # a list item begins
    | \n(?=[^\n|]+[ ]\|[ ]) | (?<=\|)\n                  # a table row begins or has ended""",
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|fig|eq|sec|ch|no|vol|pp?|dr|prof|mr|mrs|ms|st|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|dept|approx)|\b[A-Z])\.$",
    re.IGNORECASE,
)

STOPWORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below between both but by can could did do
    does doing down during each few for from further had has have having he her here hers him his how i if in into is it its itself
    just me more most my no nor not now of off on once only or other our ours out over own same she should so some such than that
    the their theirs them then there these they this those through to too under until up us very was we were what when where which
    while who whom why will with would you your yours please tell explain give mean means does many much""".split()
)

_STEMMERS = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eo": "esperanto", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish",
    "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""Snowball's, by language."""


def fold(text: str) -> str:
    """Lower case without accents and compatibility forms, so that `naïve` and `naive` are the same word."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def words(text: str) -> list[str]:
    """The words of a text, folded, in order."""
    return _WORD.findall(fold(text))


def content_words(text: str) -> list[str]:
    """The words that say what a text is about; all of them when there are none but stop words."""
    every = words(text)
    return [word for word in every if word not in STOPWORDS] or every


@lru_cache(maxsize=65536)
def stem(word: str, language: str | None = None) -> str:
    """The word without its ending: `batches` and `batching` become one.

    Args:
        language: ISO 639-1; English where it is None or there is no stemmer for it.
    """
    return fold(_stemmer(language if language in _STEMMERS else "en").stemWord(word))


def stems(text: str) -> frozenset[str]:
    """The stems of all words of a text."""
    return frozenset(stem(word) for word in words(text))


def content_stems(text: str) -> frozenset[str]:
    """The stems of its content words."""
    return frozenset(stem(word) for word in content_words(text))


_OF_THREAD = threading.local()


def _stemmer(language: str) -> snowballstemmer.stemmer:
    """This thread's stemmer. It holds the word it works on: two threads that share one get stems of mixed words, or an IndexError."""
    if not hasattr(_OF_THREAD, language):
        setattr(_OF_THREAD, language, snowballstemmer.stemmer(_STEMMERS[language]))
    return getattr(_OF_THREAD, language)


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans `(start, end)` of the sentences of `text`, in order, without the white space around them.

    Blank lines, list items and table rows (` | `) end a sentence too. Abbreviations and initials do not. The text between two spans is
    white space only.
    """
    start = 0
    for boundary in _SENTENCE_END.finditer(text):
        before = text[start : boundary.start()]
        if "\n" not in boundary.group() and _ABBREVIATION.search(before[-12:]):
            continue
        yield from _trimmed(text, start, boundary.end())
        start = boundary.end()
    yield from _trimmed(text, start, len(text))


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def embedded_text(context: str, text: str) -> str:
    """What a model reads of a chunk: where it stands, then what it says."""
    return f"{context}\n{text}" if context else text
