"""What a question means, by rule: follow-ups made standalone, and the parts of a course it names. No model, no time, no look-up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rag.prompts import REFUSAL
from rag.text import STOPWORDS, content_words, words
from rag.types import Passage, Turn

_POINTS_BACK = frozenset("it they them he him she".split())
_POSSESSIVES = frozenset("its their theirs his her hers".split())
_POINTS_BACK_AT_THE_EDGE = frozenset("this that these those there then one ones same".split())
"""These also join clauses ("the model that we use"): only among the first words or as the last one do they point back."""
_SHORT = 8
"""In a longer question a pronoun mostly stands for something named in the question itself."""
_CONTINUES = re.compile(
    r"^\s*(?:and|but|or|what about|how about|what if|no,|ok(?:ay)?,|so,|for (?:what|which|the)|which (?:one|of))\b", re.IGNORECASE
)
_ASKS_BY_NAME = re.compile(r"^\s*(?:(?:what|who|when|where)(?:'s|’s| is| are| was)|define|explain|describe)\b", re.IGNORECASE)
_FEWEST_WORDS = 4
ANSWER_WORDS = 30
"""Of the last answer that are taken up: all of it is no better."""
_ABOUT_THE_COURSE = re.compile(r"\bthis (?:course|class|term|semester|week)\b", re.IGNORECASE)


def make_standalone(question: str, history: Sequence[Turn]) -> str:
    """The question with what it refers to: a follow-up gets the last question that stood by itself put before it.

    A question is a follow-up when it points back (a pronoun, "and …", "what about …"), or has two or three words that name nothing.
    Without a history the question itself comes back.
    """
    asked = [turn.content for turn in history if turn.role == "user"]
    if not asked or not is_follow_up(question):
        return question
    topic = next((earlier for earlier in reversed(asked) if not is_follow_up(earlier)), asked[0])
    renamed = numbered_parts(question)  # "what about lab 2", after a question about lab 1, is no longer about that
    topic = NUMBERED.sub(lambda part: "" if _KINDS[part[1].lower()] in renamed else part[0], topic)
    return " ".join(f"{topic} {question}".split())


def meaning_of_follow_up(question: str, history: Sequence[Turn]) -> str:
    """What the dense leg searches for: a follow-up after the last question and the beginning of its answer, which say what it is about.

    Empty for what is no follow-up. The lexical leg does not get them: their words would count as if they had been asked for.
    """
    if not history or not is_follow_up(question):
        return ""
    asked = [turn.content for turn in history if turn.role == "user"][-1:]
    answered = [turn.content for turn in history[-1:] if turn.role == "assistant" and not turn.content.startswith(REFUSAL)]
    return " ".join([*asked, *(" ".join(text.split()[:ANSWER_WORDS]) for text in answered), question])


def is_follow_up(question: str) -> bool:
    """Whether the question leans on what was said before."""
    if _CONTINUES.match(question):
        return True
    every = words(_ABOUT_THE_COURSE.sub("", question))
    if _POINTS_BACK_AT_THE_EDGE & {*every[:4], *every[-1:]}:
        return True
    pointing = [position for position, word in enumerate(every) if word in _POINTS_BACK | _POSSESSIVES]
    if pointing:
        before = [word for word in every[: pointing[0]] if word not in STOPWORDS]
        return not before or (every[pointing[0]] in _POINTS_BACK and len(every) <= _SHORT)
    names_something = _ASKS_BY_NAME.match(question) and content_words(question)[-1] not in STOPWORDS
    return len(words(question)) < _FEWEST_WORDS and not names_something


_KINDS = {
    "assignment": "assignment", "homework": "assignment", "hw": "assignment", "pset": "assignment", "lecture": "lecture", "lec": "lecture",
    "lab": "lab", "week": "week", "chapter": "chapter", "quiz": "quiz", "module": "module", "unit": "unit", "part": "part", "task": "task",
}  # fmt: skip
_CARDINALS = "one two three four five six seven eight nine ten eleven twelve".split()
_ORDINAL_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_NUMBERS = {word: str(number) for number, word in enumerate(_CARDINALS, start=1)}
_ORDINALS = {word: str(number) for number, word in enumerate(_ORDINAL_WORDS, start=1)}
_KIND = "|".join(_KINDS)
NUMBERED = re.compile(rf"\b({_KIND})s?[\s#_-]*0*(\d{{1,2}}|{'|'.join(_NUMBERS)})(?![\d.]\d|\w)", re.IGNORECASE)
COUNTED = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+({_KIND})\b", re.IGNORECASE)


def numbered_parts(text: str) -> dict[str, set[str]]:
    """The numbered parts of a course that a text names: `hw 2 or the third lab` gives `{"assignment": {"2"}, "lab": {"3"}}`."""
    parts: dict[str, set[str]] = {}
    for kind, number in NUMBERED.findall(text):
        parts.setdefault(_KINDS[kind.lower()], set()).add(_NUMBERS.get(number.lower(), number))
    for ordinal, kind in COUNTED.findall(text):
        parts.setdefault(_KINDS[kind.lower()], set()).add(_ORDINALS[ordinal.lower()])
    return parts


_MATERIAL_NAMES = {
    "slides": "slides", "slide deck": "slides", "syllabus": "syllabus", "transcript": "transcript", "recording": "transcript",
    "lecture notes": "lecture notes", "faq": "faq",
}  # fmt: skip
_MATERIAL = re.compile(rf"\b({'|'.join(_MATERIAL_NAMES)})s?\b", re.IGNORECASE)

OTHER_PART_PENALTY = 0.6
"""Factor on the score of a passage about another assignment, lab or lecture than the one asked for."""
NAMED_PART_BONUS = 1.35
"""Factor for a passage of the material, and one for one of the week or lecture, that the question names."""


@dataclass(frozen=True, slots=True)
class NamedParts:
    """What parts of a course a question names: numbers by kind, as `numbered_parts` gives them, and materials as documents carry them."""

    numbers: dict[str, set[str]] = field(default_factory=dict)
    materials: frozenset[str] = frozenset()

    @classmethod
    def of(cls, question: str) -> NamedParts:
        return cls(numbered_parts(question), frozenset(_MATERIAL_NAMES[name.lower()] for name in _MATERIAL.findall(question)))

    def factor(self, passage: Passage) -> float:
        """What the score of a passage is multiplied by: it may stand in what is named, or under another number of the same kind.

        Only its document and headings count for the latter: the text of assignment 1 may well mention assignment 2.
        """
        if not self.numbers and not self.materials:
            return 1.0
        named = numbered_parts(f"{passage.source} {passage.chunk.context}")
        if any(kind in named and not numbers & named[kind] for kind, numbers in self.numbers.items()):
            return OTHER_PART_PENALTY
        is_of_number = any(str(getattr(passage, kind)) in self.numbers.get(kind, ()) for kind in ("week", "lecture"))
        return NAMED_PART_BONUS ** (is_of_number + (passage.material in self.materials))
