"""Course facts: what a file is, of which week and lecture, of when, due when.

When it may be seen, in which language it is. From `course.toml`, then the file's own front matter, then its name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ingest.walk import COURSE_FILE
from rag.errors import CorpusError, UnreadableDocument
from rag.moments import EXPECTED, utc_moment

_MATERIALS = {
    "syllabus": r"syllab|course[-_ ]?(?:info|outline)",
    "solution": r"solution|answer[-_ ]?key",
    "assignment": r"assignment|homework|\bhw\d*\b|problem[-_ ]?set|\bpset|project",
    "lab": r"\blabs?\d*\b|tutorial|exercise",
    "transcript": r"transcript|subtitle|caption|\.(?:srt|vtt)$",
    "code": r"\.(?:py|java|cs|scala|kt|swift|c|h|cpp|cc|hpp|jsx?|tsx?|go|rs|rb|php|r|jl|m|hs|ml|lisp|scm|pl|sh|sql|css)$",
    "data": r"\.(?:csv|tsv|json)$",
    "slides": r"slide|deck|\.(?:pptx|odp|otp)$",
    "faq": r"\bfaq",
    "lecture notes": r"lecture|\blec\d*\b|notes|chapter|\bbook\b",
}
_NUMBER = r"[-_ ]?0*(\d{1,2})(?!\d)"
_WEEK = re.compile(rf"(?:week|(?<![a-z])wk){_NUMBER}", re.IGNORECASE)
_LECTURE = re.compile(rf"(?:lecture|session|(?<![a-z])(?:lec|class)){_NUMBER}", re.IGNORECASE)
_UNIT = re.compile(
    rf"(?:chapter|module|(?<![a-z])(?:ch|lab|unit)){_NUMBER}|(?:^|/)0*(\d{{1,2}})[-_. ](?!\d{{1,2}}[-_.]\d{{4}})(?=[^/]*$)",
    re.IGNORECASE,
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?!\d)")
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})([-_./]?)(?P<month>\d{2})\2(?P<day>\d{2})(?:[T ]\d{2}:.*)?",  # the time of a day is left out
        r"(?P<day>\d{1,2})\. ?(?P<month>\d{1,2})\. ?(?P<year>\d{4})",
        r"(?:[a-z]+,? )?(?P<name>[a-z]{3,9})\.? (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>\d{4})",
        r"(?:[a-z]+,? )?(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?[- ](?:of )?(?P<name>[a-z]{3,9})\.?,?[- ](?P<year>\d{4})",
    )
)
_MONTH_NAME = re.compile(
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")


@dataclass(frozen=True, slots=True)
class CourseFacts:
    """A course's name and title, and its rules `(glob, facts)` for files, first match first."""

    name: str
    title: str
    rules: tuple[tuple[str, dict[str, str]], ...] = ()
    language: str = ""
    """Of all materials that name none; empty where course.toml says nothing."""


def read_course_facts(folder: Path, name: str | None = None) -> CourseFacts:
    """The facts in the folder's course.toml; without one the folder's name is the course's.

    Args:
        name: overrides the name.

    Raises:
        CorpusError: course.toml is not valid, or a week or lecture in it is no number, a date, due date or moment none, a language no code.
    """
    file = folder / COURSE_FILE
    content: dict[str, Any] = {}
    if file.exists():
        try:
            content = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise CorpusError(f"{file} is not valid TOML: {e}; correct it, then run this again") from e
    course, materials = content.get("course", {}), content.get("material", [])
    if not isinstance(course, dict) or not isinstance(materials, list) or not all("path" in material for material in materials):
        raise CorpusError(f"{file} is not as expected: a table [course], and tables [[material]] each with a path")
    chosen = str(name or course.get("name") or folder.resolve().name)
    rules = tuple((material["path"], _rule(material, f"the entry for {material['path']}", file)) for material in materials)
    language = _rule({"language": course.get("language", "")}, "[course]", file).get("language", "")
    return CourseFacts(chosen, str(course.get("title") or chosen), rules, language)


def facts_of_file(source: str, course: CourseFacts, stated: Mapping[str, str]) -> dict[str, str]:
    """The facts of one file, the more deliberate word first: course.toml, what the file itself states, what its name suggests.

    Keys: title, material, week, lecture, date, due, visible, language. Where no week is named, a lecture's number stands for it, or that of
    a chapter, unit or lab, or the one the file's name begins with.

    Raises:
        UnreadableDocument: the file says from when it may be seen in words that are no moment, and course.toml does not say it.
    """
    facts = ({"language": course.language} if course.language else {}) | _from_name(source) | _cleaned(stated)
    for pattern, rule in course.rules:
        if fnmatchcase(source, pattern):
            facts |= rule
            break
    if stated.get("visible") and "visible" not in facts:  # shown at once, it might be shown too early
        raise UnreadableDocument(f"has visible {stated['visible']!r} in its front matter; expected {EXPECTED}: correct it")
    week = facts.get("week") or facts.get("lecture") or _unit_in_name(source)
    return facts | ({"week": week} if week else {})


def _rule(material: Mapping[str, Any], place: str, file: Path) -> dict[str, str]:
    try:
        return _cleaned({key: str(value) for key, value in material.items() if key != "path"}, strict=True)
    except ValueError as e:
        raise CorpusError(f"{file}: {place} {e}") from e


def _cleaned(facts: Mapping[str, str], strict: bool = False) -> dict[str, str]:
    """Facts under the names and in the forms that the catalogue keeps.

    Raises:
        ValueError: a number or date is none, and this is `strict`.
    """
    cleaned = {"title": facts["title"]} if facts.get("title") else {}
    if material := facts.get("material") or facts.get("type"):
        cleaned["material"] = material.lower()
    for keys, normalise, expected in (
        (("week", "lecture"), _normal_number, "a number"),
        (("date", "due"), _normal_date, "a date such as 2024-09-03"),
        (("visible",), utc_moment, EXPECTED),
        (("language",), _normal_language, "a two-letter code of ISO 639-1 such as en"),
    ):
        for key in keys:
            value = facts.get(key, "").strip()
            if normal := normalise(value):
                cleaned[key] = normal
            elif value and strict:
                raise ValueError(f"has {key} {value!r}; expected {expected}")
    return cleaned


def _normal_number(text: str) -> str | None:
    """The number without leading zeros; None when it is none."""
    return str(int(text)) if re.fullmatch(r"[0-9]{1,3}", text) else None


def _normal_date(text: str) -> str | None:
    """The date as YYYY-MM-DD; as it stands when day and month could be either way round; None when it is no date."""
    text = " ".join(text.split())
    if slashes := _SLASHES.fullmatch(text):
        first, second, year = (int(group) for group in slashes.groups())
        if max(first, second) <= 12 and first != second:
            return text
        return _iso(year, min(first, second), max(first, second))
    for pattern in _DATES:
        if match := pattern.fullmatch(text):
            parts = match.groupdict()
            month = _month_number(parts["name"]) if "name" in parts else int(parts["month"])
            return _iso(int(parts["year"]), month, int(parts["day"]))
    return None


def _normal_language(text: str) -> str | None:
    """The two letters of `en`, `EN` or `en-US`; None when it is no such code."""
    code = re.fullmatch(r"([a-z]{2})(?:[-_][a-z0-9]+)*", text.lower())
    return code[1] if code else None


def _month_number(name: str) -> int:
    """1 to 12; 0 when no month has this English name."""
    lower = name.lower()
    return _MONTHS.index(lower[:3]) + 1 if _MONTH_NAME.fullmatch(lower) else 0


def _iso(year: int, month: int, day: int) -> str | None:
    """The day as YYYY-MM-DD; None when the calendar has no such day."""
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None


def _from_name(source: str) -> dict[str, str]:
    facts = {}
    readable = source.replace("_", " ").lower()
    for material, pattern in _MATERIALS.items():
        if re.search(pattern, readable):
            facts["material"] = material
            break
    for key, numbered in (("week", _WEEK), ("lecture", _LECTURE)):
        if number := numbered.search(source):
            facts[key] = number[1]
    days = [_iso(int(match[1]), int(match[3]), int(match[4])) for match in _DATE_IN_NAME.finditer(source)]
    if day := next(filter(None, reversed(days)), None):
        facts["date"] = day
    return facts


def _unit_in_name(source: str) -> str | None:
    """The number of the chapter, unit, module or lab, or the one that the file's name begins with."""
    number = _UNIT.search(source)
    return (number[1] or number[2]) if number else None
