"""From the lines on a PDF page to paragraphs. Pure: knows positions and words, nothing of PDFium.

PDF has no paragraphs, only lines. A line is joined to the one before it when the line break was clearly the layout's and not the
author's: the next word would not have fitted, or the sentence runs on. In doubt the break stays: a torn paragraph still reads, a table
whose rows ran together does not.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

from ingest.readers._common import one_line

_LIST_ITEM = re.compile(r"(?:[•‣◦▪▫●○■□–—\-*·➢➤❖✓]|o|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)])(?:\s|$)|[•‣◦▪●■]")
_BARE_NUMBER = re.compile(
    r"(?:(?:page|slide|seite|p\.)\s*)?[-–—\[(|]*\s*(?:\d+|[ivxl]+)\s*[-–—\])|]*(?:\s*(?:/|of|von)\s*\d+)?", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"(?<![\w./@-])[^\W\d_]+(?:-[^\W\d_]+)*(?![\w@-])")
_SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*$")
_ADDRESS = re.compile(r"https?:|www\.|\S+@")
_WINDOW = 6  # lines to each side that show where the column ends
_EDGE = 0.14  # of the page's height: where headers and footers stand; LaTeX's default puts the page number at 0.13


class Line(NamedTuple):
    """A line of text and where it stands (points, y upwards). `height` is the font's, the same for every line set in it.

    `hyphen`: a hyphen was taken off its end. `fixed`: set in a fixed-width font, as code is. `cells`: it has gaps like a table row.
    """

    text: str
    left: float
    bottom: float
    right: float
    top: float
    hyphen: bool = False
    fixed: bool = False
    cells: bool = False

    @property
    def height(self) -> float:
        return max(self.top - self.bottom, 0.1)


def is_list_mark(text: str) -> bool:
    """Whether the text is nothing but a bullet or an item's number."""
    return _LIST_ITEM.fullmatch(text) is not None


def join_fragments(lines: Iterable[Line]) -> list[Line]:
    """The lines with those made one that stand at the same height: exponents and indices, and bullets before their text."""
    joined: list[Line] = []
    for line in lines:
        before = joined[-1] if joined else None
        if before and not before.hyphen and _at_same_height(before, line):
            gap = line.left - before.right
            space = " " if gap > 0.12 * max(before.height, line.height) or _LIST_ITEM.fullmatch(before.text) else ""
            tall = max(before, line, key=lambda one: one.height)
            joined[-1] = tall._replace(
                text=before.text + space + line.text,
                left=before.left,
                right=line.right,
                hyphen=line.hyphen,
                cells=before.cells or line.cells,
            )
        else:
            joined.append(line)
    return joined


def _at_same_height(before: Line, line: Line) -> bool:
    overlap = min(before.top, line.top) - max(before.bottom, line.bottom)
    reach = 4.0 if _LIST_ITEM.fullmatch(before.text) else 0.8
    gap = (line.left - before.right) / max(before.height, line.height)
    return overlap > 0.4 * min(before.height, line.height) and -0.3 < gap < reach


def drop_furniture(pages: list[list[Line]], heights: list[tuple[float, float]]) -> list[list[Line]]:
    """The pages without page numbers and without the headers and footers that most of them repeat; a header's first time stays.

    `heights` are each page's lower and upper edge. A number that counts on with the pages does not make a line different.
    """
    repeated = Counter(key for number, page in enumerate(pages) for key in _edge_keys(page, heights[number], number))
    most = max(3, len(pages) // 2 + 1)
    seen: set[str] = set()
    kept_pages: list[list[Line]] = []
    for number, page in enumerate(pages):
        kept: list[Line] = []
        for line in page:
            is_number = _BARE_NUMBER.fullmatch(line.text) is not None
            needed = 2 if is_number else most
            keys = [key for key in _keys(line, number) if repeated[key] >= needed] if _at_edge(line, heights[number]) else []
            if not keys or not (is_number or seen.intersection(keys)):
                kept.append(line)
            seen.update(keys)
        kept_pages.append(kept)
    return kept_pages


def _at_edge(line: Line, edges: tuple[float, float]) -> bool:
    low, high = edges
    margin = _EDGE * (high - low)
    return line.top < low + margin or line.bottom > high - margin


def _edge_keys(page: list[Line], edges: tuple[float, float], number: int) -> set[str]:
    return {key for line in page if _at_edge(line, edges) for key in _keys(line, number)}


def _keys(line: Line, page: int) -> set[str]:
    """What makes a line the same on another page: its words, or its words with one number taken relative to the page's."""
    text = one_line(line.text)
    counted = {
        f"{text[: match.start()]}#{int(match[0]) - page}{text[match.end() :]}" for match in _NUMBER.finditer(text) if len(match[0]) < 5
    }
    return {text, *counted}


class Vocabulary:
    """The words of a document, which tell a hyphen of its own (`take-home`) from one that only broke a line (`com-ing`)."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.words: set[str] = set()
        broken = False
        for line in lines:
            words = [(match.start(), match.end(), match[0].lower()) for match in _WORD.finditer(line.text)]
            whole = [word for start, end, word in words if not (broken and start == 0) and not (line.hyphen and end == len(line.text))]
            self.words.update(whole)
            broken = line.hyphen

    def join(self, left: str, right: str) -> str:
        """The text of two lines, the first of which lost a hyphen at its end, with or without the hyphen."""
        head = re.search(r"[\w-]*$", left)
        tail = re.match(r"\w*", right)
        first, second = (head[0] if head else "").lower(), (tail[0] if tail else "").lower()
        return left + ("-" if self._keeps_hyphen(first, second, right) else "") + right

    def _keeps_hyphen(self, first: str, second: str, right: str) -> bool:
        if first + second in self.words:
            return False
        if f"{first}-{second}" in self.words or not right[:1].islower() or len(first) < 2 or not first.isalpha():
            return True
        return first in self.words and second in self.words


def paragraphs(lines: list[Line], vocabulary: Vocabulary) -> str:
    """The lines as text: one line a paragraph, list item, heading or table row; a blank line where the page leaves a gap."""
    gaps = [before.bottom - line.top for before, line in pairwise(lines) if line.top < before.top]
    leading = median(gaps) if gaps else 0.0
    text: list[str] = []
    for index, line in enumerate(_indent_code(lines)):
        before = lines[index - 1] if index else None
        if before is None:
            text.append(line.text)
        elif before.hyphen:
            text[-1] = vocabulary.join(text[-1], line.text)
        elif _continues(lines, index, leading):
            text[-1] = f"{text[-1]}{'' if text[-1].endswith('-') else ' '}{line.text}"
        else:
            apart = before.bottom - line.top > max(leading, 0) + 0.45 * line.height or line.bottom > before.top
            text.append(f"\n{line.text}" if apart else line.text)
    return "\n".join(text)


def _indent_code(lines: list[Line]) -> list[Line]:
    """The lines, those in a fixed-width font with the spaces in front that PDF expresses as position only."""
    indented: list[Line] = []
    for fixed, group in groupby(lines, key=lambda line: line.fixed):
        run = list(group)
        margin = min(line.left for line in run)
        for line in run:
            spaces = round((line.left - margin) * len(line.text) / max(line.right - line.left, 0.1)) if fixed else 0
            indented.append(line._replace(text=" " * min(spaces, 60) + line.text))
    return indented


def _continues(lines: list[Line], index: int, leading: float) -> bool:
    """Whether the line at `index` runs on from the one before it."""
    before, line = lines[index - 1], lines[index]
    gap = before.bottom - line.top
    if not (-0.6 * line.height < gap <= max(leading, 0) + 0.3 * line.height) or abs(before.height - line.height) > 0.12 * line.height:
        return False
    if before.cells or line.cells or before.fixed or line.fixed or _LIST_ITEM.match(line.text):
        return False
    is_item = _LIST_ITEM.match(before.text) is not None
    if line.left > before.left + (3.0 if is_item else 0.5) * line.height or line.left >= before.right:
        return False
    width = before.right - before.left
    near = [other for other in lines[max(0, index - _WINDOW) : index + _WINDOW] if abs(other.left - line.left) < 3 * line.height]
    column_end = max(other.right for other in [*near, before])
    first_word = line.text.split(" ", 1)[0]
    full = before.right + (len(first_word) + 1) * 0.38 * line.height > column_end
    shared = sum(other.right > column_end - 0.2 * (column_end - line.left) for other in near) >= 3
    ended = _SENTENCE_END.search(before.text) is not None
    runs_on = line.text[:1].islower() and not _ADDRESS.match(line.text) and not ended and width > 0.6 * (column_end - before.left)
    wraps = full and (shared or is_item) and width > 12 * line.height
    return wraps or (runs_on and width > (6 if full else 12) * line.height)


def large_title(lines: list[Line]) -> str:
    """The words in the largest letters among a first page's lines; nothing when no line stands out."""
    if not lines:
        return ""
    characters: dict[float, int] = defaultdict(int)
    for line in lines:
        characters[round(line.height, 1)] += len(line.text)
    common = max(characters, key=lambda height: characters[height])
    largest = max((line.height for line in lines if sum(map(str.isalpha, line.text)) > 3), default=0.0)
    if largest < 1.15 * common:
        return ""
    first = next(index for index, line in enumerate(lines) if line.height > 0.95 * largest and sum(map(str.isalpha, line.text)) > 3)
    run = [line.text for line in lines[first : first + 3]]
    count = next((number for number, line in enumerate(lines[first : first + 3]) if line.height <= 0.95 * largest), len(run))
    return one_line(" ".join(run[:count]))
