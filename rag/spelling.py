"""Spelling errors in a question, corrected to words of its course.

A word is taken for an error when the course holds it in no form, and a word of the course is near: one edit away (a letter more, less or
another, or two swapped), two from eight letters on (Damerau, "A technique for computer detection and correction of spelling errors", 1964).
Words with digits, short ones and those in capitals are left alone: codes need not stand in the materials. In a name one edit is the most.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from rag.store import Store
from rag.text import STOPWORDS, fold, stem
from rag.vocabulary import is_vocabulary

SHORTEST = 4
TWO_EDITS_FROM = 8
"""Letters: in a shorter word two edits make another one."""
CONTRACTIONS = frozenset(
    "arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt shouldnt thats theres wasnt werent whats wont wouldnt".split()
)
"""Written without an apostrophe, as in a chat."""
_AGENT = re.compile(r"(\w{4,}?)e?rs?")
CANDIDATES = 5
CACHED_LISTS = 64
"""Lists of words with the same first letter kept in memory: some 1,000 words each in a course of 1,000 pages, 100 kB."""


def _may_be_an_error(word: str) -> bool:
    return len(word) >= SHORTEST and is_vocabulary(word) and word not in STOPWORDS and word not in CONTRACTIONS


def _without_endings(word: str) -> list[str]:
    """The word, and what it may be the plural, past or -ing form of."""
    return [word, *(word[: -len(ending)] for ending in ("s", "es", "d", "ed", "ing") if word.endswith(ending))]


@dataclass(frozen=True, slots=True)
class _Words:
    revision: int
    counts: Mapping[str, int]


class Speller:
    """Corrects words against the courses of a store; safe to share between threads.

    Args:
        is_word: whether a word is one of the language, whatever the course holds: it is then no error.
    """

    def __init__(self, store: Store, is_word: Callable[[str], bool] = lambda _: False) -> None:
        self._store = store
        self._is_word = is_word
        self._lists: dict[tuple[str, str], _Words] = {}
        self._lock = threading.Lock()

    def errors(self, course: str, written: list[str]) -> list[str]:
        """Those of a question's words, as written and in their order, that may be spelling errors."""
        suspects = [word for word in written if (word.islower() or word.istitle()) and _may_be_an_error(fold(word))]
        if not suspects:
            return []
        known = self._store.known_words(course, [fold(word) for word in suspects])
        return [word for word in suspects if fold(word) not in known and not any(map(self._is_word, _without_endings(fold(word))))]

    def candidates(self, course: str, written: str) -> list[str]:
        """Words of the course that a word may be meant for, folded, the likeliest first; none when the course has it in another form."""
        word = fold(written)
        counts = self._beginning(course, word[0])
        wanted, agent = stem(word), _AGENT.fullmatch(word)
        if any(other.startswith(wanted[:-1]) and stem(other) == wanted for other in counts):
            return []
        if agent and any(other.startswith(agent[1]) for other in counts):  # `grader` where there is `grading`: the stemmer parts them
            return []
        most = 2 if len(word) >= TWO_EDITS_FROM and written.islower() else 1
        near = process.extract(word, counts.keys(), scorer=OSA.distance, score_cutoff=most, limit=None)
        letters = sorted(word)  # two letters swapped is a commoner error than another letter
        near.sort(key=lambda found: (found[1], sorted(found[0]) != letters, -counts[found[0]], found[0]))
        return [other for other, _, _ in near if len(other) >= SHORTEST][:CANDIDATES]

    def _beginning(self, course: str, letter: str) -> Mapping[str, int]:
        revision = self._store.revision()
        with self._lock:
            known = self._lists.get((course, letter))
        if known is None or known.revision != revision:
            known = _Words(revision, self._store.words_beginning(course, letter))
            with self._lock:
                self._lists.pop((course, letter), None)
                self._lists[course, letter] = known  # the last in order is the latest made
                while len(self._lists) > CACHED_LISTS:
                    self._lists.pop(next(iter(self._lists)))
        return known.counts
