"""Office formulas (OMML) as LaTeX, the way every other reader hands formulas on. What has no LaTeX here keeps its bare symbols."""

from __future__ import annotations

from typing import Any

_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_OPERATORS = {"∑": "\\sum", "∏": "\\prod", "∫": "\\int", "∬": "\\iint", "∮": "\\oint", "⋃": "\\bigcup", "⋂": "\\bigcap"}
_ACCENTS = {"\u0302": "\\hat", "\u0303": "\\tilde", "\u0304": "\\bar", "\u0305": "\\bar", "\u0307": "\\dot", "\u20d7": "\\vec"}
DEEPEST = 60


def latex(element: Any, depth: int = 0) -> str:
    """The LaTeX of an element and what stands in it."""
    return "".join(_piece(child, depth) for child in element) if depth < DEEPEST else ""


def _piece(element: Any, depth: int) -> str:
    name = element.tag.removeprefix(_M) if isinstance(element.tag, str) else ""
    if name == "t":
        return element.text or ""
    if name.endswith("Pr"):
        return ""

    def part(of: str) -> str:
        found = element.find(_M + of)
        return "" if found is None else latex(found, depth + 1).strip()

    match name:
        case "f":
            return f"\\frac{{{part('num')}}}{{{part('den')}}}"
        case "sSup":
            return f"{part('e')}^{{{part('sup')}}}"
        case "sSub":
            return f"{part('e')}_{{{part('sub')}}}"
        case "sSubSup":
            return f"{part('e')}_{{{part('sub')}}}^{{{part('sup')}}}"
        case "rad":
            return _root(part("deg"), part("e"))
        case "nary":
            return _operator(_property(element, "naryPr", "chr", "∫"), part("sub"), part("sup")) + part("e")
        case "d":
            inside = ", ".join(latex(one, depth + 1).strip() for one in element.iterchildren(f"{_M}e"))
            return _property(element, "dPr", "begChr", "(") + inside + _property(element, "dPr", "endChr", ")")
        case "acc":
            return _accent(element, part("e"))
        case "func":
            return f"{part('fName')} {part('e')}"
        case "limLow":
            return f"{part('e')}_{{{part('lim')}}}"
        case "m":
            rows = (
                " & ".join(latex(one, depth + 1).strip() for one in row.iterchildren(f"{_M}e")) for row in element.iterchildren(f"{_M}mr")
            )
            return "\\begin{matrix}" + " \\\\ ".join(rows) + "\\end{matrix}"
        case "eqArr":
            return " \\\\ ".join(latex(one, depth + 1).strip() for one in element.iterchildren(f"{_M}e"))
    return latex(element, depth + 1)


def _root(degree: str, inside: str) -> str:
    return f"\\sqrt[{degree}]{{{inside}}}" if degree else f"\\sqrt{{{inside}}}"


def _accent(element: Any, inside: str) -> str:
    return f"{_ACCENTS.get(_property(element, 'accPr', 'chr', chr(0x302)), '')}{{{inside}}}"


def _operator(sign: str, lower: str, upper: str) -> str:
    limits = (f"_{{{lower}}}" if lower else "") + (f"^{{{upper}}}" if upper else "")
    return f"{_OPERATORS.get(sign, sign)}{limits} "


def _property(element: Any, properties: str, name: str, otherwise: str) -> str:
    """A sign that an element's properties name; an empty one stays empty, as for a brace that opens only."""
    found = element.find(f"{_M}{properties}/{_M}{name}")
    value = None if found is None else found.get(f"{_M}val")
    return otherwise if value is None else str(value)
