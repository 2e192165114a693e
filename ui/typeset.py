"""The stored text of a document set as a reader would print it: paragraphs, lists, tables, code, a slide with its title and notes.

Pure functions of strings; `ui.render` makes every word safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from itertools import groupby
from typing import NamedTuple

from ui import render

Span = tuple[int, int]

_ITEM = re.compile(r"(\s*)(?:[-*•▪◦–]|(\d{1,3})[.)])\s+(?=\S)")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_HEADING = re.compile(r"\s*#{1,6}\s+\S")
_DIVIDER = re.compile(r"[\s|:-]*--[\s|:-]*")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
FLOWING = frozenset({"md", "mdx", "mkd", "markdown", "rmd", "qmd", "tex"})
"""Formats whose lines were broken for an editor's width."""
_NOTES = "Notes:\n"
"""How the readers of slides begin a speaker's notes."""


class _Kind(Enum):
    PROSE = auto()
    HEADING = auto()
    ITEM = auto()
    ROW = auto()
    CODE = auto()
    BLANK = auto()


class _Line(NamedTuple):
    """A line of the text: `start` is its place there, `text` has no line end."""

    kind: _Kind
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def set_text(text: str, span: Span | None = None, flows: bool = False) -> str:
    """A text as Markdown, the characters of `span` highlighted where they are not code.

    Args:
        flows: lines were broken for an editor's width, as in Markdown and TeX: they run on.
    """
    lines = list(_lines(text))
    blocks: list[str] = []
    for kind, group in groupby(_whole_tables(lines), key=lambda line: line.kind):
        members = list(group)
        match kind:
            case _Kind.BLANK:
                continue
            case _Kind.ROW:
                blocks.append(_table(members, span))
            case _Kind.ITEM:
                blocks.append(_list(members, span))
            case _Kind.CODE:
                blocks.append(_code(members))
            case _:
                blocks.append(_prose(text, members, span, flows and kind is _Kind.PROSE))
    return "\n\n".join(filter(None, blocks))


def set_slide(text: str, title: str, span: Span | None = None) -> str:
    """A slide's text as Markdown: its title, its points as a list, tables as tables, and the speaker's notes apart."""
    body_at = text.index("\n\n") + 2 if "\n\n" in text else len(text)
    titled = bool(title) and " ".join(text[:body_at].split()) == title
    body_at = body_at if titled else 0
    notes_at = _notes_at(text)
    parts = [f"**{render.label(title, 300)}**"] if titled else []
    parts.append(_points(text[body_at:notes_at], shift(span, body_at)))
    if notes_at < len(text):
        spoken_at = notes_at + len(_NOTES)
        parts += ["**Speaker notes**", set_text(text[spoken_at:], shift(span, spoken_at))]
    return "\n\n".join(filter(None, parts))


def notes_of(text: str) -> Span | None:
    """Where the speaker's notes stand in a slide's text."""
    at = _notes_at(text)
    return (at + len(_NOTES), len(text)) if at < len(text) else None


def shift(span: Span | None, by: int) -> Span | None:
    """A span of a text as one of what is left when its first `by` characters are cut off."""
    return None if span is None or span[1] <= by else (max(span[0] - by, 0), span[1] - by)


def _notes_at(text: str) -> int:
    if text.startswith(_NOTES):
        return 0
    found = text.rfind(f"\n\n{_NOTES}")
    return len(text) if found < 0 else found + 2


def _points(text: str, span: Span | None) -> str:
    """The blocks of a slide's body: several lines that are no table are points."""
    parts: list[str] = []
    for block in re.finditer(r"(?:(?!\n[ \t]*\n).)+", text, re.DOTALL):
        found, inside = block[0].strip("\n"), shift(span, block.start() + len(block[0]) - len(block[0].lstrip("\n")))
        lines = list(_whole_tables(list(_lines(found))))
        if len(lines) > 1 and {line.kind for line in lines} <= {_Kind.PROSE, _Kind.ITEM}:
            parts.append(_list(lines, inside))
        else:
            parts.append(set_text(found, inside))
    return "\n\n".join(filter(None, parts))


def _lines(text: str) -> Iterator[_Line]:
    """The lines with what each is taken for by itself; what lies in fences is code, in `$$` prose."""
    start, fence, formula = 0, "", False
    after_item = False
    for line in text.split("\n"):
        opened = _FENCE.match(line)
        if fence:
            kind = _Kind.CODE
            fence = "" if opened and opened[1].startswith(fence) and not line.strip(" `~") else fence
        elif opened and not formula:
            kind, fence = _Kind.CODE, opened[1]
        elif formula or line.count("$$") % 2:
            kind = _Kind.PROSE
            formula ^= bool(line.count("$$") % 2)
        else:
            kind = _kind(line, after_item)
        after_item = kind is _Kind.ITEM
        yield _Line(kind, start, line)
        start += len(line) + 1


def _kind(line: str, after_item: bool) -> _Kind:
    if not line.strip():
        return _Kind.BLANK
    if _HEADING.match(line):
        return _Kind.HEADING
    if _ITEM.match(line) or (after_item and line.startswith("  ")):  # an indented line goes on with the item
        return _Kind.ITEM
    return _Kind.ROW if " | " in line or ("|" in line and _DIVIDER.fullmatch(line)) else _Kind.PROSE


def _whole_tables(lines: list[_Line]) -> Iterator[_Line]:
    """The lines, a single row taken for prose: one ` | ` may stand in any sentence."""
    for kind, group in groupby(lines, key=lambda line: line.kind):
        members = list(group)
        alone = kind is _Kind.ROW and len(members) == 1
        yield from (line._replace(kind=_Kind.PROSE) for line in members) if alone else members


def _prose(text: str, members: list[_Line], span: Span | None, flows: bool) -> str:
    start, end = members[0].start, members[-1].end
    return render.marked_at(text[start:end].replace("\n", " ") if flows else text[start:end], _clip(span, start, end))


def _list(members: list[_Line], span: Span | None) -> str:
    """Points as Markdown's; one that is indented more than the one before is a level deeper."""
    shown: list[str] = []
    indents: list[int] = []
    for line in members:
        item = _ITEM.match(line.text)
        at = item.end() if item else len(line.text) - len(line.text.lstrip())
        words = render.marked_at(line.text[at:], _clip(span, line.start + at, line.end)).replace("\n", " ")
        if item is None and shown and line.text.startswith("  "):
            shown[-1] += f" {words}"
            continue
        indent = len(item[1]) if item else 0
        while indents and indents[-1] >= indent:
            indents.pop()
        mark = f"{item[2]}." if item and item[2] else "-"
        shown.append(f"{'    ' * len(indents)}{mark} {words}")
        indents.append(indent)
    return "\n".join(shown)


def _table(members: list[_Line], span: Span | None) -> str:
    rows = [list(_cells(line, span)) for line in members if not _DIVIDER.fullmatch(line.text)]
    width = max(len(row) for row in rows) if rows else 0
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]]) if rows else ""


def _cells(line: _Line, span: Span | None) -> Iterator[str]:
    """The cells of a row. One that holds a bar in code or a formula is shown as its characters: the bar would end the cell."""
    inner = line.text.strip()
    at = line.start + len(line.text) - len(line.text.lstrip())
    if inner.startswith("|"):
        inner, at = inner[1:], at + 1
    inner = inner.removesuffix("|")
    for cell in inner.split(" | "):
        if "|" in cell or "$$" in cell:
            yield render.label(cell, len(cell) + 1)
        else:
            lead = len(cell) - len(cell.lstrip())
            words = cell.strip()
            yield render.marked_at(words, _clip(span, at + lead, at + lead + len(words)))
        at += len(cell) + len(" | ")


def _code(members: list[_Line]) -> str:
    """What stood between fences, between fences that it cannot end."""
    lines = [line.text for line in members[1:]]
    if lines and _FENCE.match(lines[-1]) and not lines[-1].strip(" `~"):
        lines.pop()
    content = _CONTROLS.sub("", "\n".join(lines))
    fence = "`" * max(4, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}text\n{content}\n{fence}" if content.strip() else ""


def _clip(span: Span | None, start: int, end: int) -> Span | None:
    """The part of a span within a piece of the text, counted from its beginning."""
    if span is None or span[1] <= start or span[0] >= end:
        return None
    return max(span[0], start) - start, min(span[1], end) - start
