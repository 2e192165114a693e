"""What a question means, by rule: follow-ups made standalone, and the parts of a course it names. No model, no time."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.text import words
from rag.types import Turn

_POINTS_BACK = frozenset("it its they them their theirs he him his she her hers".split())
_POINTS_BACK_AT_THE_EDGE = frozenset("this that these those there then one ones same".split())
"""These also join clauses ("the model that we use"): only among the first words or as the last one do they point back."""
_CONTINUES = re.compile(
    r"^\s*(?:and|but|or|so|also|then|why|how come|no|ok|okay|what about|how about|what if|which (?:one|of)|for (?:what|which|the))\b",
    re.IGNORECASE,
)
_FEWEST_WORDS = 4
_ABOUT_THE_COURSE = re.compile(r"\bthis (?:course|class|term|semester|week)\b", re.IGNORECASE)


def make_standalone(question: str, history: Sequence[Turn]) -> str:
    """The question with what it refers to: a follow-up gets the last question that stood by itself put before it.

    A question is a follow-up when it points back (a pronoun, "and …", "what about …") or has only two or three words. Without a history
    the question itself comes back.
    """
    asked = [turn.content for turn in history if turn.role == "user"]
    if not asked or not is_follow_up(question):
        return question
    topic = next((earlier for earlier in reversed(asked) if not is_follow_up(earlier)), asked[0])
    return f"{topic.strip()} {question.strip()}"


def is_follow_up(question: str) -> bool:
    """Whether the question leans on what was said before."""
    if _CONTINUES.match(question) or len(words(question)) < _FEWEST_WORDS:
        return True
    every = words(_ABOUT_THE_COURSE.sub("", question))
    return bool(_POINTS_BACK & set(every) or _POINTS_BACK_AT_THE_EDGE & {*every[:4], *every[-1:]})


_KINDS = {
    "assignment": "assignment", "homework": "assignment", "hw": "assignment", "pset": "assignment", "lecture": "lecture", "lec": "lecture",
    "lab": "lab", "week": "week", "chapter": "chapter", "quiz": "quiz", "module": "module", "unit": "unit", "part": "part", "task": "task",
}  # fmt: skip
_CARDINALS = "one two three four five six seven eight nine ten eleven twelve".split()
_ORDINAL_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_NUMBERS = {word: str(number) for number, word in enumerate(_CARDINALS, start=1)}
_ORDINALS = {word: str(number) for number, word in enumerate(_ORDINAL_WORDS, start=1)}
_KIND = "|".join(_KINDS)
_NUMBERED = re.compile(rf"\b({_KIND})s?[\s#_-]*0*(\d{{1,2}}|{'|'.join(_NUMBERS)})(?![\d.]\d|\w)", re.IGNORECASE)
_COUNTED = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+({_KIND})\b", re.IGNORECASE)


def numbered_parts(text: str) -> dict[str, set[str]]:
    """The numbered parts of a course that a text names: `hw 2 or the third lab` gives `{"assignment": {"2"}, "lab": {"3"}}`."""
    parts: dict[str, set[str]] = {}
    for kind, number in _NUMBERED.findall(text):
        parts.setdefault(_KINDS[kind.lower()], set()).add(_NUMBERS.get(number.lower(), number))
    for ordinal, kind in _COUNTED.findall(text):
        parts.setdefault(_KINDS[kind.lower()], set()).add(_ORDINALS[ordinal.lower()])
    return parts
