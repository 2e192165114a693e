"""Plain text: any encoding, cited by line.

Lines stay as they are, so that line numbers mean what an editor shows. Headings are believed only when there are two or more of them in
Markdown's `#` style: one alone is as likely a comment.
"""

from __future__ import annotations

import re

from ingest.readers._common import TITLE_CHARACTERS, decode, one_line, stem
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")


def read(data: bytes, source: str) -> Document:
    """The file as one Section over all its lines, or one a heading."""
    lines = decode(data, source).split("\n")
    if not any(line.strip() for line in lines):
        raise UnreadableDocument(f"{source} holds no text")
    headings = [(number, match) for number, line in enumerate(lines) if (match := _HEADING.match(line))]
    starts = headings if len(headings) > 1 else []
    bounds = [0, *(number for number, _ in starts), len(lines)]
    paths = [(), *_paths([(len(match[1]), match[2].rstrip("# \t")) for _, match in starts])]
    spans = zip(bounds[:-1], bounds[1:], paths, strict=True)
    sections = tuple(section for start, end, path in spans if (section := _section(lines, start, end, path)))
    return Document(_title(lines, source), sections)


def _paths(headings: list[tuple[int, str]]) -> list[tuple[str, ...]]:
    """The path of each heading, outermost first, from levels and titles in file order."""
    paths: list[tuple[str, ...]] = []
    above: list[tuple[int, str]] = []
    for level, title in headings:
        above = [step for step in above if step[0] < level] + [(level, title)]
        paths.append(tuple(step[1] for step in above))
    return paths


def _section(lines: list[str], start: int, end: int, path: tuple[str, ...]) -> Section | None:
    """The lines from `start` up to `end` without blank ones at either side; None when nothing is left."""
    full = [number for number in range(start, end) if lines[number].strip()]
    if not full:
        return None
    first, last = full[0], full[-1]
    text = "\n".join(line.rstrip() for line in lines[first : last + 1])
    return Section(text, Location(LocationKind.LINE, first + 1, last + 1, path))


def _title(lines: list[str], source: str) -> str:
    """The first line if it looks like a title: short, no sentence, and capitalised or set apart by a blank line."""
    number = next(number for number, line in enumerate(lines) if line.strip())
    line = one_line(lines[number]).lstrip("#").strip()
    apart = number + 1 >= len(lines) or not lines[number + 1].strip("=-~ ")
    words = [word for word in line.split() if len(word) > 3 and word[0].isalpha()]
    capitalised = len(words) > 0 and 2 * sum(word[0].isupper() for word in words) >= len(words)
    likely = line[:1].isalnum() and len(line) <= TITLE_CHARACTERS // 2 and line[-1] not in ".,;:?!…" and (apart or capitalised)
    return line if likely else stem(source)
