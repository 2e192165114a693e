"""Which language a text is in: a document's at ingest, a question's among those of its course.

By py3langid (Lui and Baldwin, "langid.py: An Off-the-shelf Language Identification Tool", 2012), whose package has its model. Loading it
takes 0.7 s and 70 MB, so that happens only for a question to a course in several languages, and for a document that does not say its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

READ_CHARACTERS = 4000
"""Of a document's text. More changes nothing."""
FEWEST_LETTERS = 200
"""A shorter text is too often taken for another language."""
LEAST_PROBABILITY = 0.9


def document_language(text: str) -> str | None:
    """The language (ISO 639-1) that a document is surely in; None when it is too short or could be in several."""
    beginning = text[:READ_CHARACTERS]
    if sum(map(str.isalpha, beginning)) < FEWEST_LETTERS and not _has_few_letters_a_word(beginning):
        return None
    language, probability = _identifier().classify(beginning)
    return language if probability >= LEAST_PROBABILITY else None


def question_language(question: str, languages: Sequence[str]) -> str | None:
    """The language of a question among those that its course is in, the commonest first; None when none is known.

    With one language there is nothing to tell apart, and nothing is loaded.
    """
    if len(languages) < 2:
        return next(iter(languages), None)
    likelihoods = dict(_identifier().rank(question))
    return max(languages, key=lambda language: likelihoods.get(language, 0.0))


def _has_few_letters_a_word(text: str) -> bool:
    """Whether most letters are of a script that writes words in one or two: 60 of them are a paragraph."""
    return sum(character >= "\u2e80" for character in text) >= FEWEST_LETTERS // 4


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Its three-letter codes are dialects and creoles (`pcm`, `wuu`) that plain English and Chinese are taken for.
    identifier.set_languages([label for label in identifier.labels if len(label) == 2])
    return identifier
