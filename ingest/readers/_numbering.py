"""The numbers that Word computes for list items and headings: the file only says which list and which depth a paragraph has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PLACE = re.compile(r"%([1-9])")
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"),
          (4, "iv"), (1, "i"))  # fmt: skip
LARGEST = 9999  # beyond it letters and Roman numerals take lines


class Level(NamedTuple):
    """How one depth of a list counts: from where, in which figures, and written how (`%1.%2`)."""

    start: int = 1
    figures: str = "decimal"
    pattern: str = ""
    style: str = ""


@dataclass
class Numbering:
    """The lists of a document and how far each has counted. `lists` gives each list's kind and levels."""

    kinds: dict[str, str] = field(default_factory=dict)
    levels: dict[str, list[Level]] = field(default_factory=dict)
    restarts: dict[str, dict[int, int]] = field(default_factory=dict)
    _counts: dict[str, list[int | None]] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)

    @classmethod
    def from_element(cls, root: Any) -> Numbering:
        """The lists that a `numbering.xml` describes."""
        kinds = {str(kind.get(f"{_W}abstractNumId")): _levels(kind) for kind in root.iterchildren(f"{_W}abstractNum")}
        numbering = cls()
        for one in root.iterchildren(f"{_W}num"):
            name, kind = str(one.get(f"{_W}numId")), _value(one, "abstractNumId")
            if kind not in kinds:
                continue
            numbering.kinds[name] = kind
            numbering.levels[name] = list(kinds[kind])
            for override in one.iterchildren(f"{_W}lvlOverride"):
                numbering._override(name, override)
        return numbering

    def _override(self, name: str, override: Any) -> None:
        depth = _number(override.get(f"{_W}ilvl"), 0)
        if not 0 <= depth < 9:
            return
        level, start = override.find(f"{_W}lvl"), _value(override, "startOverride")
        if level is not None:
            self.levels[name][depth] = _level(level)
        if start:
            self.restarts.setdefault(name, {})[depth] = _number(start, 1)

    def depth_of_style(self, name: str, style: str) -> int:
        """The depth at which the list `name` numbers paragraphs of a style; 0 when it does not say."""
        return next((depth for depth, level in enumerate(self.levels.get(name, [])) if style and level.style == style), 0)

    def next_label(self, name: str, depth: int) -> str:
        """The next item's number, such as `2.1` or `(b)`; nothing for a bullet or an unknown list."""
        levels = self.levels.get(name)
        if levels is None or not 0 <= depth < 9:
            return ""
        counts = self._counts.setdefault(self.kinds[name], [None] * 9)
        if name not in self._begun:
            self._begun.add(name)
            for place, start in self.restarts.get(name, {}).items():
                counts[place] = start - 1
        before = counts[depth]
        counts[depth] = levels[depth].start if before is None else before + 1
        counts[depth + 1 :] = [None] * (8 - depth)
        if levels[depth].figures in ("bullet", "none"):
            return ""
        figures = [
            _figures(levels[place].start if (count := counts[place]) is None else count, levels[place].figures) for place in range(9)
        ]
        return _PLACE.sub(lambda match: figures[int(match[1]) - 1], levels[depth].pattern).strip()


def _levels(kind: Any) -> list[Level]:
    levels = [Level(figures="none")] * 9
    for element in kind.iterchildren(f"{_W}lvl"):
        depth = _number(element.get(f"{_W}ilvl"), 0)
        if 0 <= depth < 9:
            levels[depth] = _level(element)
    return levels


def _level(element: Any) -> Level:
    start, figures = _number(_value(element, "start"), 1), _value(element, "numFmt") or "decimal"
    return Level(start, figures, _value(element, "lvlText") or "", _value(element, "pStyle") or "")


def _value(element: Any, name: str) -> str:
    found = element.find(_W + name)
    return "" if found is None else str(found.get(f"{_W}val") or "")


def _number(value: str | None, otherwise: int) -> int:
    return int(value) if value and value.isdecimal() and len(value) < 6 else otherwise


def _figures(number: int, figures: str) -> str:
    """A number in letters, Roman numerals or digits; digits for the many kinds that courses do not use."""
    letters = figures.lower()
    if not 0 < number <= LARGEST or not letters.endswith(("letter", "roman", "decimalzero")):
        return str(number)
    if letters.endswith("zero"):
        return f"{number:02}"
    text = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1) if letters.endswith("letter") else _roman(number)
    return text.upper() if figures.startswith("upper") else text


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text
