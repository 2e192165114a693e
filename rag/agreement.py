"""Whether a sentence says of its facts what a stretch of text says: quantities with units, dates, times, names, negation, limits, order.

Rules on words: they find what contradicts or is missing, never that two texts mean the same. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rag.text import STOPWORDS, fold, stem, stems, words

NEAR = 4
"""Content words within which two words that stand side by side in a sentence must stand in its source."""

_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "zero - two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
        "twenty".split()
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100"}
_MONTH_NAMES = "january february march april may june july august september october november december".split()
_MONTHS = {name[:3]: number for number, name in enumerate(_MONTH_NAMES, 1)}
_MONTH = rf"(?:{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTH_NAMES)}|sept)\.?"
_DATE = re.compile(
    rf"\b(?P<month>{_MONTH})\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?![:.]\d)"
    rf"|\b(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<month2>{_MONTH})(?!\w)"
    r"|\b(?:\d{4}-)(?P<month3>\d{2})-(?P<day3>\d{2})\b|\b(?P<month4>1[0-2]|0?[1-9])/(?P<day4>[0-3]?\d)(?:/\d{2,4})?\b(?!/)",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b(?P<hour>[01]?\d|2[0-3])(?:[:.](?P<minute>[0-5]\d))?\s*(?P<half>[ap])\.?\s?m\b\.?|\b(?P<hour2>[01]?\d|2[0-3]):(?P<minute2>[0-5]\d)(?![:\d])"
    r"|\b(?P<word>noon|midnight)\b",
    re.IGNORECASE,
)
_WEEKDAYS = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
_WEEKDAY = re.compile(r"\b(mon|tue|wed|thu|fri|sat|sun)(?:s|r|rs|nes|ur)?(?:day)?s?\b", re.IGNORECASE)
_QUANTITY = re.compile(
    r"(?P<currency>[$€£]\s?)?(?P<sign>(?<![\w.])[-−])?(?<![\w.])(?P<value>\d+(?:[.,:/]\d+)*)(?P<unit>\s*%|[\s-]?[^\W\d_]+)?",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"\s*(?:%|\bper\s?cent\b)", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_NAME = re.compile(r"\b(?:[A-Z][\w’'-]*[A-Za-z0-9]|[a-z]+[A-Z]\w*)\b")
_FIRST_WORD = re.compile(r"^\W*\w+")
_NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot|nothing|nobody|unable|fails?|lacks?|\w+n[’']t)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[;:.!?,—|\n]|\b(?:but|while|whereas|however|except|unless|although|though)\b", re.IGNORECASE)
_LIMITS = {
    "at most": r"at most|up to|no more than|not more than|maximum|max\b|not exceed|a limit of|capped",
    "at least": r"at least|no (?:less|fewer) than|not less than|minimum|min\b|or (?:more|higher|above)",
    "more": r"(?<!no )(?<!not )(?<!or )\bmore than|\bover\b|\babove\b|exceed|greater|higher|larger|longer|faster|bigger|increas",
    "less": r"(?<!no )(?<!not )\b(?:less|fewer) than|\bunder\b|\bbelow\b|lower|smaller|shorter|slower|decreas|reduc",
    "before": r"\bbefore\b|\bprior to\b|\bearlier\b|\bpreced",
    "after": r"\bafter\b|\blater\b|\bfollowing\b|\bonce\b|\bsubsequent",
    "only": r"\bonly\b|\bsolely\b|\bexclusively\b|\bjust\b|nothing but",
    "all": r"\ball\b|\bevery\b|\beach\b|\balways\b|\bany\b|\bentire|\bboth\b",
    "required": r"\bmust\b|requir|mandatory|obligat|compulsory|\bneeds? to\b|\bhave to\b|\bhas to\b|necessary",
    "optional": r"optional|voluntar|not required|\bmay\b|recommended",
    "allowed": r"(?<!not )(?<!n't )\b(?:allowed|permitted|accepted)\b|\bmay\b(?! not)|\bcan\b(?! ?not)",
    "forbidden": r"forbid|prohibit|banned|not (?:be )?(?:allowed|permitted|accepted)",
}  # fmt: skip
_LIMIT = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _LIMITS.items()}
_OPPOSITES = {
    "at most": "at least", "more": "less", "before": "after", "required": "optional", "allowed": "forbidden",
}  # fmt: skip
_OPPOSITE = _OPPOSITES | {other: one for one, other in _OPPOSITES.items()}
_MUST_STAND = ("at most", "at least", "before", "after", "only", "all")
"""Limits that a sentence may not add: words so common that the share of content words passes over them."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number without thousands' separators, and the stem of its unit (`%`, `$`, `dai`), empty where none follows."""

    value: str
    unit: str


def quantities(text: str) -> Iterator[Quantity]:
    """The numbers of a text, in digits or words; those of dates among them, times of day not."""
    for found in _QUANTITY.finditer(normalized(text)):
        value = ("-" if found["sign"] else "") + re.sub(r",(?=\d{3}\b)", "", found["value"])
        unit = (found["unit"] or "").strip(" -\n").lower()
        if found["currency"]:
            unit = found["currency"].strip()
        elif unit in ("dollar", "dollars", "usd"):
            unit = "$"
        elif unit in STOPWORDS or unit in ("st", "nd", "rd", "th", "am", "pm"):
            unit = ""
        yield Quantity(re.sub(r"\.0+$", "", value), unit if unit in ("%", "$", "€", "£", "") else stem(fold(unit)))


@lru_cache(maxsize=4096)
def normalized(text: str) -> str:
    """The text with digits for number words and `%` for percent, and without times of day, so that what is written in two ways has the same
    words. `one` stays, as it mostly counts nothing."""
    text = _PERCENT.sub(" %", _TIME.sub(" ", text))
    return _WORD.sub(lambda word: _NUMBER_WORDS.get(word[0].lower(), word[0]), text)


def forget_texts() -> None:
    """Empties the caches of this module, which hold texts of materials."""
    for cached in (normalized, _clauses, _content):
        cached.cache_clear()


def quantities_agree(sentence: str, source: str) -> bool:
    """Whether every number of the sentence stands in the source, with its unit where both name one."""
    there: dict[str, set[str]] = {}
    for one in quantities(source):
        there.setdefault(one.value, set()).add(one.unit)
    every = stems(source)
    for one in quantities(sentence):
        units = there.get(one.value)
        if units is None:
            return False
        known = {unit for unit in units if unit}
        # `5 points` is what `5 late points` and `points: 5` say; `5 %` and `5 $` are neither.
        if one.unit and known and one.unit not in known and (one.unit not in every or _is_sign(one.unit) or any(map(_is_sign, known))):
            return False
    return True


def _is_sign(unit: str) -> bool:
    return unit in ("%", "$", "€", "£")


def dates(text: str) -> set[tuple[int, int]]:
    """`(month, day)` of each date: `March 9`, `9th of March`, `2026-03-09`, `3/9`."""
    found: set[tuple[int, int]] = set()
    for match in _DATE.finditer(text):
        name, day = match["month"] or match["month2"], match["day"] or match["day2"] or match["day3"] or match["day4"]
        month = _MONTHS[name[:3].lower()] if name else int(match["month3"] or match["month4"])
        found.add((month, int(day)))
    return found


def times(text: str) -> set[int]:
    """Times of day in minutes. Half a day is left out where none says which it is: `5:30` and `17:30` are the same."""
    found: set[int] = set()
    for match in _TIME.finditer(text):
        if match["word"]:
            found.add(0)
        else:
            hour, minute = int(match["hour"] or match["hour2"]), int(match["minute"] or match["minute2"] or 0)
            found.add(hour % 12 * 60 + minute)
    return found


def moments_agree(sentence: str, source: str) -> bool:
    """Whether every date, time and weekday of the sentence stands in the source."""
    return all(found(sentence) <= found(source) for found in (dates, times, _weekdays))


def _weekdays(text: str) -> set[str]:
    return {match[1].lower() for match in _WEEKDAY.finditer(text) if match[0][0].isupper() or len(match[0]) > 4}


def names(text: str) -> set[str]:
    """Folded words of the names: capitalized words but the first, which may be any word, and such as `iPad`."""
    first = _FIRST_WORD.match(text)
    start = first.end() if first else 0
    return {word for name in _NAME.finditer(text) if name.start() >= start or not name[0].istitle() for word in words(name[0])} - STOPWORDS


def names_agree(sentence: str, source: str) -> bool:
    """Whether every name of the sentence is a word of the source, `students` and `Student` being the same."""
    known = set(words(source))
    missing = names(sentence) - known
    return not missing or {stem(word) for word in missing} <= stems(source)


@dataclass(frozen=True, slots=True)
class _Clause:
    """`denied`: the content word after a negation; the one before it, where the clause ends."""

    content: list[str]
    denied: frozenset[str]
    is_negated: bool


@lru_cache(maxsize=1024)
def _clauses(text: str) -> list[_Clause]:
    found: list[_Clause] = []
    for clause in _CLAUSE.split(text):
        denied: set[str] = set()
        negations = list(_NEGATION.finditer(clause))
        for negation in negations:
            denied.update(_content(clause[negation.end() :])[:1] or _content(clause[: negation.start()])[-1:])
        if content := _content(clause):
            found.append(_Clause(content, frozenset(denied), bool(negations)))
    return found


def negations_agree(sentence: str, source: str) -> bool:
    """Whether what one of them denies, the other does not affirm.

    Clause by clause: a word that is denied in one text must stand beside a negation in that clause of the other which shares the most
    words with it, the first one of the clause counting twice.
    """
    return all(_is_denied_alike(word, clause, _clauses(source)) for clause in _clauses(sentence) for word in dict.fromkeys(clause.content))


def _is_denied_alike(word: str, clause: _Clause, others: list[_Clause]) -> bool:
    others = [other for other in others if word in other.content]
    shared = [len(set(clause.content) & set(other.content)) + (clause.content[0] == other.content[0]) for other in others]
    nearest = [other for other, count in zip(others, shared, strict=True) if count == max(shared)]
    return not nearest or any(
        not (word in clause.denied and not other.is_negated) and not (word in other.denied and not clause.is_negated) for other in nearest
    )


@lru_cache(maxsize=4096)
def _content(text: str) -> list[str]:
    """Stems of the content words, in order. Negations and words that stand alone after one are none."""
    return [stem(word) for word in words(normalized(text)) if word not in STOPWORDS and not _NEGATION.fullmatch(word)]


def limits_agree(sentence: str, source: str) -> bool:
    """Whether the sentence sets no limit (`at most`, `before`, `only`, …) that the source does not set or sets the other way."""
    for name, limit in _LIMIT.items():
        if not limit.search(sentence) or limit.search(source):
            continue
        opposite = _OPPOSITE.get(name)
        if name in _MUST_STAND or (opposite and _LIMIT[opposite].search(source)):
            return False
    return True


_HEDGED = re.compile(
    r"\b(?:at most|at least|up to|no more than|no fewer than|no less than|more than|less than|fewer than|over|under|about|around|roughly"
    r"|approximately|nearly|almost|some)\s*(?:[$€£~]\s*)?(?P<value>\d+(?:[.,:/]\d+)*)",
    re.IGNORECASE,
)


def hedges_agree(sentence: str, source: str) -> bool:
    """Whether no number of the sentence has lost its `about` or `at most`: one that the source never gives without has one here."""
    said, there = normalized(sentence), normalized(source)
    hedged, kept = ({found["value"] for found in _HEDGED.finditer(text)} for text in (there, said))
    bare = {one["value"] for one in _QUANTITY.finditer(_HEDGED.sub(" ", there))}
    return all(one["value"] not in hedged - bare or one["value"] in kept for one in _QUANTITY.finditer(said))


def subject_stands(sentence: str, source: str) -> bool:
    """Whether the first two content words of a sentence, mostly its subject, stand in the source."""
    there = set(_content(source))
    return set(_content(sentence)[:2]) <= there


_SEGMENT = re.compile(r"[;|\n]|,(?!\d)|(?<=\D)\.\s|\band\b|\bbut\b|\bwhile\b|\bthen\b", re.IGNORECASE)


def numbers_stay_with_their_words(sentence: str, source: str, asked: str = "") -> bool:
    """Whether each number of the sentence is said of what the source says it of.

    Both are cut into segments (commas, `and`, cells). Of the source's segments with numbers, one that shares the most words with the
    sentence's must hold its number: `Midterm 30 %, final 40 %` does not hold `The midterm counts 40 %`.

    Args:
        asked: the question, where the sentence is too short to say itself what its number is of.
    """
    segments = [(set(_content(part)), {one.value for one in quantities(part)}) for part in _SEGMENT.split(source)]
    numbered = [(held, values) for held, values in segments if values]
    if len(numbered) < 2:
        return True
    for part in _SEGMENT.split(sentence):
        said = set(_content(part)) | set(_content(asked))
        for value in {one.value for one in quantities(part)}:
            shared = [(len((said - {value}) & held), value in values) for held, values in numbered]
            most = max(count for count, _ in shared)
            if most and any(is_there for _, is_there in shared) and not any(is_there for count, is_there in shared if count == most):
                return False
    return True


def share_in_order(sentence: str, source: str) -> float:
    """Share of the sentence's neighbouring content words that stand near each other (`NEAR`) in the source, 0 to 1; 1 with less than two.

    A sentence made up of a passage's words, said of something else, has all its words there and few of its pairs.
    """
    said, there = _content(sentence), _content(source)
    places: dict[str, list[int]] = {}
    for place, word in enumerate(there):
        places.setdefault(word, []).append(place)
    pairs = [(one, other) for one, other in pairwise(said) if one != other]
    if not pairs:
        return 1.0
    near = sum(any(abs(a - b) <= NEAR for a in places.get(one, ()) for b in places.get(other, ())) for one, other in pairs)
    return near / len(pairs)
