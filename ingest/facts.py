"""Course facts: what a file is, of which week, since when. From `course.toml`, then the file's own front matter, then its name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ingest.walk import COURSE_FILE
from rag.errors import CorpusError

_MATERIALS = {
    "syllabus": r"syllab|course[-_ ]?(?:info|outline)",
    "solution": r"solution|answer[-_ ]?key",
    "assignment": r"assignment|homework|\bhw\d*\b|problem[-_ ]?set|\bpset|project",
    "lab": r"\blabs?\d*\b|tutorial|exercise",
    "transcript": r"transcript|subtitle|caption|\.(?:srt|vtt)$",
    "slides": r"slide|deck|\.(?:pptx|odp)$",
    "faq": r"\bfaq",
    "lecture notes": r"lecture|\blec\d*\b|notes|chapter|\bbook\b",
}
_NUMBER = re.compile(
    r"(?:week|wk|lecture|lec|chapter|ch|lab|unit|module|session|class)[-_ ]?0*(\d{1,2})(?!\d)|(?:^|/)0*(\d{1,2})[-_. ](?=[^/]*$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CourseFacts:
    """A course's name and title, and its rules `(glob, facts)` for files, first match first."""

    name: str
    title: str
    rules: tuple[tuple[str, dict[str, str]], ...] = ()


def read_course_facts(folder: Path, name: str | None = None) -> CourseFacts:
    """The facts in the folder's course.toml; without one the folder's name is the course's.

    Args:
        name: overrides the name.

    Raises:
        CorpusError: course.toml is not valid, or a week in it is no number.
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
    return CourseFacts(
        chosen, str(course.get("title") or chosen), tuple((material["path"], _rule(material, file)) for material in materials)
    )


def facts_of_file(source: str, course: CourseFacts, stated: Mapping[str, str]) -> dict[str, str]:
    """The facts of one file, the more deliberate word first: course.toml, what the file itself states, what its name suggests."""
    facts = _from_name(source)
    facts |= _cleaned(stated)
    for pattern, rule in course.rules:
        if fnmatchcase(source, pattern):
            facts |= rule
            break
    return facts


def _rule(material: Mapping[str, Any], file: Path) -> dict[str, str]:
    try:
        return _cleaned({key: str(value) for key, value in material.items() if key != "path"}, strict=True)
    except ValueError as e:
        raise CorpusError(f"{file}: the entry for {material['path']} {e}") from e


def _cleaned(facts: Mapping[str, str], strict: bool = False) -> dict[str, str]:
    """Facts under the names that the catalogue keeps: title, material, week, date."""
    cleaned = {key: facts[key] for key in ("title", "date") if facts.get(key)}
    if material := facts.get("material") or facts.get("type"):
        cleaned["material"] = material.lower()
    if week := facts.get("week") or facts.get("lecture"):
        if re.fullmatch(r"\d{1,3}", week.strip()):
            cleaned["week"] = week.strip()
        elif strict:
            raise ValueError(f"has week {week!r}; expected a number")
    return cleaned


def _from_name(source: str) -> dict[str, str]:
    facts = {}
    readable = source.replace("_", " ").lower()
    for material, pattern in _MATERIALS.items():
        if re.search(pattern, readable):
            facts["material"] = material
            break
    if number := _NUMBER.search(source):
        facts["week"] = number.group(1) or number.group(2)
    return facts
