"""What a question means after what was said: a correction, a change of topic, a follow-up, or a question of its own. By rule, no model.

A correction ("no, the second assignment") asks the last question again with that part replaced; so does "what about lab 2?" where the last
question has a part of the same kind. A change of topic leaves the old one behind. Everything else is left to `rag/understand.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.text import STOPWORDS, stem, words
from rag.types import Turn
from rag.understand import COUNTED, NUMBERED, is_follow_up, make_standalone, meaning_of_follow_up, numbered_parts

TURNS_READ = 12
"""Earlier messages that a question may lean on: each is understood after those before it."""
LONGEST_CORRECTION = 10
"""Words; who writes more asks anew."""
LONGEST_ELLIPSIS = 6
FEWEST_WORDS = 4
"""A question with fewer is a few key words ("office hours?"), or it leans on what was said ("how late?")."""

_ASKING = frozenset(
    """what when where which who whom whose why how is are was were am do does did can could may might must shall should will would has have
    had isn't aren't don't doesn't can't""".split()
)
_POINTING = frozenset("it its that this these those they them their he him his she her there then other others else same one ones".split())
_COMPARING = frozenset("also too as more less instead still again either only even just".split())

_PLEASANTRY = (
    r"(?:thanks|thank you|thx|great|good|cool|perfect|alright|all right|got it|i see|ok(?:ay)?)\b(?:\s+(?:so much|a lot))?[\s,.!;:–-]*"
)
_NEW_TOPIC = re.compile(
    rf"""^(?:{_PLEASANTRY})*(?:now|and|so|but)?[\s,]*
    (?:(?:(?:i\ have\ )?an?\ )?(?:completely\ |totally\ )?(?:different|another|new|next|unrelated|separate)
        \ (?:question|topic|thing|subject)
      |by\ the\ way|btw|(?:now\ )?(?:to\ )?something\ (?:completely\ )?(?:else|different)|unrelated(?:ly)?(?:\ to\ (?:this|that))?
      |on\ (?:a|an)(?:other)?\ (?:different\ |unrelated\ )?(?:note|topic|subject)
      |(?:chang|switch)ing\ (?:the\ )?(?:topics?|subjects?)
      |let(?:'s|’s|\ us)\ (?:talk\ about|turn\ to|move\ on\ to|go\ on\ to|switch\ to|get\ to))
    (?:[\s,.:;!–-]+(?:but|though|however)\b)?[\s,.:;!–-]*(?=\S)""",
    re.IGNORECASE | re.VERBOSE,
)
_OPENING = re.compile(rf"^(?:(?:{_PLEASANTRY})|(?:and|but|so|or)\b[\s,]*)+", re.IGNORECASE)

_JOINED = re.compile(r"^(?:and|but|or)\b", re.IGNORECASE)
_NAMES_ONE_THING = re.compile(r"^(?:what|who)(?:'s|’s| is| are)\s+(?!the\b|my\b|our\b)[\w-]+\W*$", re.IGNORECASE)

_LEAD = re.compile(r"^(?:(?:no+|nope|nah|sorry|wait|actually|oops|hm+|well)\b[\s,.!:–-]*)+", re.IGNORECASE)
_MEANT = re.compile(
    r"^i\s+(?:mean|meant|was\s+asking|am\s+asking|asked|want(?:ed)?)\b(?:\s+(?:about|for|to\s+know))*[\s,:]*"
    r"|[\s,]+i\s+(?:mean|meant)[.!]?$",
    re.IGNORECASE,
)
_OLD_FIRST = re.compile(r"^not\s+(?:about\s+)?(?P<old>[^,;]+?)(?:\s*[,;]\s*|\s+but\s+)(?:but\s+)?(?P<new>.+)$", re.IGNORECASE)
_NEW_FIRST = re.compile(r"^(?P<new>.+?)\s*[,;]\s*(?:and\s+)?not\s+(?P<old>.+)$", re.IGNORECASE)
_ELLIPSIS = re.compile(r"^(?:(?:and|but|or|so|ok(?:ay)?)\b[\s,]*)?(?:what|how)\s+about\s+|^(?:and|or)\s+", re.IGNORECASE)

_ARTICLE = r"(?:\b(?:the|an?|my|our|your)\s+)?"
_PREPOSITION = re.compile(r"^(?:for|in|of|on|at|with|from|by|about|during)\s+", re.IGNORECASE)
_CODE_WORD = re.compile(r"\b[A-Za-z]+\d+\b")
_NAME = re.compile(r"(?<!^)\b[A-Z][^\W\d_]+\b")
_SAME_KIND = (
    "midterm|mid-term|final exam|exam|test|quiz|project|proposal|checkpoint|milestone|report|paper|presentation|talk|poster|assignment"
    "|homework|problem set|pset|lab|reflection|participation|attendance",
    "slides|notes|transcript|recording|video|syllabus|faq|textbook|handout",
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
)
"""Things that take each other's place in a question about a course."""


@dataclass(frozen=True, slots=True)
class Meant:
    """A question as it stands by itself; `meaning` is what the dense leg searches for where that is something else, else empty."""

    text: str
    meaning: str = ""
    leans: bool = False
    """Whether a generator needs the messages before to understand it."""


def meant_by(question: str, history: Sequence[Turn]) -> Meant:
    """What is asked, given the messages before; without any, the question itself."""
    history = history[-TURNS_READ:]
    last = next((at for at in range(len(history) - 1, -1, -1) if history[at].role == "user"), None)
    if last is None:
        return Meant(question)
    if topic := _NEW_TOPIC.match(question):
        return Meant(question[topic.end() :])
    if is_correction(question) or _is_ellipsis(question):
        asked_before = meant_by(history[last].content, history[:last]).text
        if (again := _asked_again(question, asked_before)) is not None:
            return Meant(again)
    opened = _OPENING.sub("", question)
    if _stands_alone(opened):
        # "And how long may the report be?" may be about the part asked before, or not: the words of both, and the meaning of this one.
        is_joined = _JOINED.match(question) and not _NAMES_ONE_THING.match(opened)
        return Meant(make_standalone(f"and {opened}", history), opened, leans=True) if is_joined else Meant(opened)
    return Meant(make_standalone(question, history), meaning_of_follow_up(question, history), is_follow_up(question))


def is_correction(question: str) -> bool:
    """Whether a message replaces a part of the last question: `no, the second assignment`, `not the midterm, the final`."""
    rest, is_marked = _without_marks(question)
    every = words(rest)
    if not every or len(every) > LONGEST_CORRECTION or every[0] in _ASKING | _POINTING | {"i", "you", "we"}:
        return False
    return is_marked or bool(_OLD_FIRST.match(rest) or _NEW_FIRST.match(rest))


def _is_ellipsis(question: str) -> bool:
    """Whether a message is only a part of a question: `what about lab 2?`, `and for the final?`, `lab 2?`"""
    rest = words(_ELLIPSIS.sub("", question))
    if not _ELLIPSIS.match(question) and not numbered_parts(question):
        return False
    return 0 < len(rest) <= LONGEST_ELLIPSIS and rest[0] not in _ASKING and not _POINTING & set(rest)


def _stands_alone(question: str) -> bool:
    """Whether a question, without the words that joined it to what was said, has a subject of its own."""
    every = words(question)
    if is_follow_up(question):
        return 0 < len(every) < FEWEST_WORDS and not {*every} & (STOPWORDS | _POINTING)
    return bool(every) and not _COMPARING & {*every}


def _without_marks(question: str) -> tuple[str, bool]:
    """A correction without the words that mark it as one, and whether there were any."""
    rest = question.strip(" ,.:?!")
    unled = _LEAD.sub("", rest)
    bare = _MEANT.sub("", unled).strip(" ,.:")
    return bare, bare != rest


def _asked_again(question: str, before: str) -> str | None:
    """The question before with a part replaced; None where there is nothing to replace, and nothing says that it is a correction."""
    bare, _ = _without_marks(question)
    corrects = is_correction(question)
    either = (_OLD_FIRST.match(bare) or _NEW_FIRST.match(bare)) if corrects else None
    if either and (again := _swapped(before, either["old"], either["new"])):
        return again
    new = either["new"] if either else (bare if corrects else _ELLIPSIS.sub("", question).strip().rstrip("?!. "))
    for replace_part in (_by_number, _by_preposition, _by_kind, _by_code_word, _by_name, _by_head):
        if again := replace_part(before, new):
            return again
    return f"{before.rstrip('?!. ')} {new}" if corrects else None


def _swapped(before: str, old: str, new: str) -> str | None:
    """The question with `old` replaced, however it is put: `the short one` is found in `the short queue`."""
    core = [word for word in re.findall(r"[\w'’-]+", old) if word.lower() not in {"the", "a", "an", "my", "our", "one", "ones"}]
    if not core:
        return None
    phrase, last = r"\W+".join(map(re.escape, core)), re.escape(new.split()[-1])
    pattern = rf"{_ARTICLE}\b{phrase}\b(?:\s+{last}\b)?"
    again, count = re.subn(pattern, lambda _: new, before, count=1, flags=re.IGNORECASE)
    return again if count else None


def _by_number(before: str, new: str) -> str | None:
    """`task 4` in the place of `task 3`; of a part of another kind where the new one's kind is not there."""
    if not numbered_parts(new):
        return None
    part = _PREPOSITION.sub("", new)
    there = [match for pattern in (NUMBERED, COUNTED) for match in re.finditer(pattern, before)]
    same = [match for match in there if numbered_parts(match[0]).keys() & numbered_parts(part).keys()]
    if not same and (len(there) != 1 or _PREPOSITION.match(new)):
        return None
    chosen = (same or there)[0]
    start = re.search(rf"{_ARTICLE}$", before[: chosen.start()], re.IGNORECASE)
    assert start is not None
    return before[: start.start()] + part + before[chosen.end() :]


def _by_preposition(before: str, new: str) -> str | None:
    """`for the assignments` in the place of `for the labs`, to the end of the question."""
    preposition = _PREPOSITION.match(new)
    if preposition is None:
        return None
    there = list(re.finditer(rf"\b{preposition[0].strip()}\s+.*$", before, re.IGNORECASE | re.DOTALL))
    return before[: there[-1].start()] + new if there else None


def _by_kind(before: str, new: str) -> str | None:
    """`the report` in the place of `the project proposal`: things of one kind."""
    for kind in _SAME_KIND:
        phrase = rf"{_ARTICLE}\b(?:(?:{kind})s?\b\s*)+(?:\#?\d+\b)?"
        if re.search(rf"\b(?:{kind})s?\b", new, re.IGNORECASE) and (there := re.search(phrase, before, re.IGNORECASE)):
            tail = " " if there[0].endswith(" ") else ""
            return before[: there.start()] + new + tail + before[there.end() :]
    return None


def _by_code_word(before: str, new: str) -> str | None:
    """`fp16` in the place of `bf16`."""
    again, count = _CODE_WORD.subn(new, before, count=1) if _CODE_WORD.fullmatch(new) else (before, 0)
    return again if count else None


def _by_name(before: str, new: str) -> str | None:
    """`Priya's` in the place of another name."""
    name = re.sub(r"['’]s$", "", new)
    there = list(_NAME.finditer(before))
    if len(there) != 1 or not re.fullmatch(r"[A-Z][^\W\d_]+", name):
        return None
    return before[: there[0].start()] + name + before[there[0].end() :]


def _by_head(before: str, new: str) -> str | None:
    """`the written report` in the place of `the lab report`: phrases with the same last word."""
    head = words(new)[-1:]
    if not head or head[0] in STOPWORDS or len(words(new)) < 2:
        return None
    modifier = rf"(?:\b(?!(?:{'|'.join(STOPWORDS)})\b)[\w'’-]+\s+)"
    opening = re.compile(rf"(?:\b(?:the|an?|my|our|your)\s+{modifier}{{0,3}}|{modifier}?)$", re.IGNORECASE)
    for match in re.finditer(r"[\w'’-]+", before):
        if stem(match[0].lower()) == stem(head[0]):
            start = opening.search(before[: match.start()])
            return before[: start.start() if start else match.start()] + new + before[match.end() :]
    return None
