"""What a question asks for, given what its course holds: spelling corrected, short forms, language, the parts it names.

Rules and look-ups only; no model is run. Nothing that was asked is lost: a corrected word stays in the lexical search beside the other.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rag.language import question_language
from rag.lexical import any_word
from rag.spelling import Speller
from rag.store import Store
from rag.text import words
from rag.types import Scope
from rag.understand import NamedParts

_WORD = re.compile(r"(?<![\w`./@#'’-])[^\W\d_]+(?![\w`/@(]|[.'’-]\w)")
"""Words of letters alone, none of a name in code, an address or a compound."""
SHORT_FORMS = {
    "ta": "teaching assistant", "tas": "teaching assistants", "oh": "office hours", "hw": "homework", "gpa": "grade point average",
    "lms": "learning management system", "pset": "problem set", "prereq": "prerequisite", "prereqs": "prerequisites", "prof": "professor",
}  # fmt: skip
"""What students write for what materials spell out. Pairs that a course defines itself lose more than they find (docs/experiments.md)."""
CACHED_SCOPES = 256


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A question as it is searched for."""

    question: str
    """As it was asked."""
    text: str
    """With its spelling corrected: what evidence is compared with."""
    corrections: tuple[tuple[str, str], ...] = ()
    """`(written, corrected)`."""
    expansions: tuple[str, ...] = ()
    """What its short forms stand for."""
    language: str | None = None
    """ISO 639-1, among the languages of what it searches; None when these are not known."""
    parts: NamedParts = field(default_factory=NamedParts)
    meaning: str = ""
    """What the dense leg searches for in place of `text`, where a conversation says more than that; empty where it does not."""

    leans: bool = False
    """Whether a generator needs the messages before to understand it."""

    @property
    def dense(self) -> str:
        """What the dense leg searches for."""
        return self.meaning or self.text

    @property
    def lexical(self) -> str:
        """What the lexical leg searches for: every word that was asked, and what it may be meant for."""
        return " ".join([self.text, *(written for written, _ in self.corrections), *self.expansions])

    @property
    def notices(self) -> tuple[str, ...]:
        """What the reader should be told."""
        changes = ", ".join(f"“{corrected}” (you wrote “{written}”)" for written, corrected in self.corrections)
        return (f"searched for {changes}",) if changes else ()


class Interpreter:
    """Interprets questions about the courses of a store; safe to share between threads.

    Args:
        is_word: whether a word is one of the language, whatever a course holds; it is then no spelling error.
    """

    def __init__(self, store: Store, is_word: Callable[[str], bool]) -> None:
        self._store = store
        self._speller = Speller(store, is_word)
        self._languages: dict[Scope, tuple[int, list[str]]] = {}
        self._lock = threading.Lock()

    def interpret(self, question: str, scope: Scope, correct_spelling: bool = True) -> Interpreted:
        """
        Args:
            scope: settled, as `Store.settle` does it: it names what is seen in a cache.
        """
        languages = self._languages_of(scope)
        corrections = self._corrections(question, scope, next(iter(languages), None)) if correct_spelling else {}
        text = _WORD.sub(lambda match: corrections.get(match.group(), match.group()), question)
        every = words(text)
        expansions = tuple(SHORT_FORMS[word] for word in dict.fromkeys(every) if word in SHORT_FORMS)
        language = question_language(question, languages)
        return Interpreted(question, text, tuple(corrections.items()), expansions, language, NamedParts.of(text))

    def _corrections(self, question: str, scope: Scope, language: str | None) -> dict[str, str]:
        corrections = {}
        for written in self._speller.errors(scope.course, _WORD.findall(question)):
            for candidate in self._speller.candidates(scope.course, written):
                # The vocabulary is the whole course's: a word that this scope does not see must not be told.
                if self._store.text_index.search(any_word(candidate, language), scope, 1):
                    corrections[written] = candidate.capitalize() if written.istitle() else candidate
                    break
        return corrections

    def _languages_of(self, scope: Scope) -> list[str]:
        revision = self._store.revision()
        with self._lock:
            known = self._languages.get(scope)
        if known is None or known[0] != revision:
            known = revision, self._store.languages(scope)
            with self._lock:
                if len(self._languages) >= CACHED_SCOPES:
                    self._languages.clear()
                self._languages[scope] = known
        return known[1]
