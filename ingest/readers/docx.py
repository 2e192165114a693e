"""Word documents: headings, paragraphs, list items and table rows in document order.

python-docx opens the package and knows its styles; the text is taken from the XML itself, because its paragraphs leave out content
controls, tracked insertions, text boxes and formulas, which syllabi are full of. Text that Word would not show is left out and told of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import docx
from lxml import etree

from ingest.readers._common import Block, Part, choose_title, is_title, join_blocks, one_line, sections_of, table_row
from ingest.readers._hidden import HiddenText
from ingest.readers._numbering import Numbering
from ingest.readers._office import OPENING_ERRORS, SAVE_AGAIN, chart_rows, open_package, paragraph_text, repeat_merged, run_text
from rag.errors import UnreadableDocument
from rag.types import Document

TINY_HALF_POINTS = 3
WHITE = 0xF0  # of 255, in each of red, green and blue
HEADING_CHARACTERS = 80  # a bold paragraph longer than this is emphasis, not a heading

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_WRAPPERS = frozenset(_W + name for name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"))


class Look(NamedTuple):
    """What decides whether a run is seen: hidden on purpose, white, its size in half-points, on a coloured ground. None: not said here."""

    vanish: bool | None = None
    white: bool | None = None
    size: int | None = None
    shaded: bool | None = None

    def over(self, below: Look) -> Look:
        """This look, with what it leaves open taken from the one below."""
        return Look(
            below.vanish if self.vanish is None else self.vanish,
            below.white if self.white is None else self.white,
            below.size if self.size is None else self.size,
            below.shaded if self.shaded is None else self.shaded,
        )


class Style(NamedTuple):
    """What a paragraph style says about its paragraphs, its ancestors' word included."""

    level: int | None = None  # 0: the title, 1 to 9: headings
    indent: int | None = None  # a list item's depth
    bold: bool = False
    list_name: str = ""
    look: Look = Look()


class Paragraph(NamedTuple):
    text: str
    level: int | None = None
    row: bool = False
    item: bool = False
    bold: bool = False


@dataclass
class Rules:
    """What the rest of the package says about the body's paragraphs, and what has been seen of them so far."""

    styles: dict[str, Style] = field(default_factory=dict)
    numbering: Numbering = field(default_factory=Numbering)
    coloured_tables: frozenset[str] = frozenset()
    white_page: bool = True
    charts: dict[str, Any] = field(default_factory=dict)
    hidden: HiddenText = field(default_factory=HiddenText)
    paragraphs: int = 0


def read(data: bytes, source: str) -> Document:
    """One Section a heading; in a document without heading styles, short bold paragraphs are its headings."""
    stream = open_package(data, source, ".docx")
    try:
        document = docx.Document(stream)
        body = document.element.body
        rules = _read_rules(document)
        metadata_title = one_line(document.core_properties.title or "")
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no Word document ({one_line(str(error))}): {SAVE_AGAIN} as .docx") from error
    paragraphs = [paragraph for paragraph in _paragraphs(body, rules) if paragraph.text.strip()]
    if not any(paragraph.level is not None for paragraph in paragraphs):
        paragraphs = _promote_bold(paragraphs)
    sections = sections_of(_parts(paragraphs))
    notices = rules.hidden.notices()
    if not sections:
        unseen = f" that a person could see ({notices[0]})" if notices else ""
        raise UnreadableDocument(f"{source} holds no text{unseen}: leave it out, or save it as PDF if it shows any")
    return Document(choose_title(_titles(paragraphs, metadata_title), source), sections, notices=notices)


def _read_rules(document: Any) -> Rules:
    styles = document.styles.element
    parts = {
        relation.reltype.rpartition("/")[2]: relation.target_part for relation in document.part.rels.values() if not relation.is_external
    }
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    numbering = Numbering.from_element(etree.fromstring(parts["numbering"].blob, parser)) if "numbering" in parts else Numbering()
    charts = {
        name: etree.fromstring(relation.target_part.blob, parser)
        for name, relation in document.part.rels.items()
        if relation.reltype.endswith("/chart") and not relation.is_external
    }
    page = document.element.find(f"{_W}background")
    white_page = page is None or _is_white(page.get(f"{_W}color"), page.get(f"{_W}themeColor")) is not False
    coloured = (style.get(f"{_W}styleId") for style in styles.iterchildren(f"{_W}style") if _has_ground(style))
    return Rules(_read_styles(styles), numbering, frozenset(map(str, coloured)), white_page, charts)


def _titles(paragraphs: list[Paragraph], metadata_title: str) -> list[str]:
    """Candidates, best first: the paragraph in the style Title, the metadata's title if the text bears it out, the first lines."""
    styled = [paragraph.text for paragraph in paragraphs if paragraph.level == 0]
    opening = [paragraph.text for paragraph in paragraphs[:20]]
    return [*styled[:1], metadata_title if is_title(metadata_title, " ".join(opening)) else "", *opening[:3]]


def _parts(paragraphs: list[Paragraph]) -> list[Part]:
    """Paragraphs gathered under their headings. With a title, headings lie one level below it."""
    shift = 1 if any(paragraph.level == 0 for paragraph in paragraphs) else 0
    parts: list[Part] = []
    level, heading, blocks = 0, "", list[Block]()
    for paragraph in [*paragraphs, Paragraph("", level=0)]:
        if paragraph.level is None:
            blocks.append(Block(paragraph.text, tight=paragraph.row or paragraph.item))
            continue
        parts.append(Part(level, heading, heading, join_blocks(blocks)))
        level, heading, blocks = paragraph.level + shift, one_line(paragraph.text), []
    return parts


def _promote_bold(paragraphs: list[Paragraph]) -> list[Paragraph]:
    """The same paragraphs with those that look like headings made so: short, wholly bold, with plain text after them."""
    likely = [
        paragraph.bold and len(paragraph.text) <= HEADING_CHARACTERS and "\n" not in paragraph.text and paragraph.text[-1] not in ".,;"
        for paragraph in paragraphs
    ]
    return [
        paragraph._replace(level=1) if here and not after else paragraph
        for paragraph, here, after in zip(paragraphs, likely, [*likely, True][1:], strict=True)
    ]


def _paragraphs(container: Any, rules: Rules) -> Iterator[Paragraph]:
    """The paragraphs and table rows beneath an element, in document order, the text boxes after the paragraph they hang on."""
    for child in container:
        if child.tag == f"{_W}p":
            yield _read_paragraph(child, rules)
            for chart in child.iter(f"{_CHART}chart"):
                data = rules.charts.get(chart.get(_RELATION) or "")
                yield from (Paragraph(row, row=True) for row in (chart_rows(data) if data is not None else ()))
            for box in _text_boxes(child):
                yield from _paragraphs(box, rules)
        elif child.tag == f"{_W}tbl":
            above: dict[int, str] = {}
            for row in child.iterchildren(f"{_W}tr", *_WRAPPERS):
                yield Paragraph(table_row(repeat_merged(_cells(row, rules), above)), row=True)
        elif child.tag in _WRAPPERS:
            yield from _paragraphs(child, rules)


def _cells(row: Any, rules: Rules, column: int = 0) -> Iterator[tuple[int, str, bool]]:
    """Each cell of a row: its column, its text, and whether it goes on from the row above."""
    for cell in row.iterchildren(f"{_W}tc", *_WRAPPERS):
        if cell.tag == f"{_W}tc":
            text = " ".join(paragraph.text for paragraph in _paragraphs(cell, rules))
            merge = cell.find(f"{_W}tcPr/{_W}vMerge")
            yield column, text, merge is not None and merge.get(f"{_W}val") != "restart"
            span = _value(cell, "tcPr/gridSpan") or "1"
            column += int(span) if span.isdecimal() and len(span) < 4 else 1
        else:
            inner = list(_cells(cell, rules, column))
            yield from inner
            column += len(inner)


def _text_boxes(paragraph: Any) -> list[Any]:
    boxes = paragraph.iterdescendants(f"{_W}txbxContent")
    return [box for box in boxes if not any(above.tag in (_FALLBACK, f"{_W}txbxContent") for above in box.iterancestors())]


def _read_paragraph(element: Any, rules: Rules) -> Paragraph:
    rules.paragraphs += 1
    name = _value(element, "pPr/pStyle") or ""
    style = rules.styles.get(name, rules.styles.get("", Style()))
    properties = element.find(f"{_W}pPr")
    own = _read_properties(properties)
    look = _read_look(properties).over(style.look)
    text = paragraph_text(element, lambda run: _is_hidden(run, look, rules))
    level = own.level if own.level is not None else style.level
    indent = own.indent if own.indent is not None else style.indent
    listed = own.list_name or style.list_name
    numbered = indent if own.list_name else rules.numbering.depth_of_style(listed, name) or indent
    label = rules.numbering.next_label(listed, numbered) if listed and numbered is not None and numbered >= 0 else ""
    if level is not None:
        return Paragraph(f"{label} {text.strip()}".strip() if text.strip() else "", level)
    if indent is not None and indent >= 0 and text:
        return Paragraph(f"{'  ' * indent}{label or '-'} {text.strip()}", item=True)
    return Paragraph(text, bold=_is_bold(element, style))


def _is_hidden(run: Any, below: Look, rules: Rules) -> bool:
    """Whether Word would not show a run, or not so that a person sees it; if so, its words are noted."""
    properties = run.find(f"{_W}rPr")
    if properties is None and below == Look():
        return False
    named = rules.styles.get(_value(run, "rPr/rStyle") or "", Style()).look
    look = _read_look(properties).over(named).over(below)
    if look.vanish:
        kind = "{n} characters marked as hidden"
    elif look.size is not None and look.size <= TINY_HALF_POINTS:
        kind = "{n} characters too small to see"
    elif look.white and not look.shaded and rules.white_page and not _on_colour(run, rules):
        kind = "{n} white characters"
    else:
        return False
    rules.hidden.add(kind, f"in paragraph {rules.paragraphs}", run_text(run))
    return True


def _on_colour(run: Any, rules: Rules) -> bool:
    """Whether a run stands in a shape, whose colour is not looked for, or in a table that has colours."""
    for above in run.iterancestors(f"{_W}txbxContent", f"{_W}tc", f"{_W}tbl"):
        if above.tag == f"{_W}txbxContent" or (above.tag == f"{_W}tc" and _has_ground(above.find(f"{_W}tcPr"))):
            return True
        if above.tag == f"{_W}tbl" and (
            (_value(above, "tblPr/tblStyle") or "") in rules.coloured_tables or _has_ground(above.find(f"{_W}tblPr"))
        ):
            return True
    return False


def _has_ground(element: Any) -> bool:
    """Whether anything in an element is shaded or highlighted in a colour other than white."""
    if element is None:
        return False
    return any(map(_is_ground, element.iter(f"{_W}shd", f"{_W}highlight")))


def _is_ground(shade: Any) -> bool:
    """Whether a shading or highlight shows."""
    value = shade.get(f"{_W}val")
    if shade.tag == f"{_W}highlight":
        return value not in ("none", "white")
    return _is_white(shade.get(f"{_W}fill"), shade.get(f"{_W}themeFill")) is False or value not in (None, "clear", "nil")


def _is_white(colour: str | None, theme: str | None) -> bool | None:
    """Whether a colour is white or all but; None for automatic or none."""
    if theme:
        return theme in ("background1", "light1", "bg1", "lt1")
    if colour is None or not re.fullmatch("[0-9A-Fa-f]{6}", colour):
        return None
    return all(int(colour[place : place + 2], 16) >= WHITE for place in (0, 2, 4))


def _read_look(properties: Any) -> Look:
    """What paragraph or run properties say themselves. The properties of a paragraph's mark inside are not those of its runs."""
    if properties is None:
        return Look()
    colour, size = properties.find(f"{_W}color"), _value(properties, "sz") or ""
    white = None if colour is None else bool(_is_white(colour.get(f"{_W}val"), colour.get(f"{_W}themeColor")))
    ground = [one for one in (properties.find(f"{_W}shd"), properties.find(f"{_W}highlight")) if one is not None]
    shaded = any(map(_is_ground, ground)) if ground else None
    return Look(_switch(properties, "vanish"), white, int(size) if size.isdecimal() and len(size) < 6 else None, shaded)


def _is_bold(element: Any, style: Style) -> bool:
    """Whether every run with words in it is bold."""
    runs = [run for run in element.iter(f"{_W}r") if "".join(text.text or "" for text in run.iterchildren(f"{_W}t")).strip()]
    return bool(runs) and all(style.bold if (bold := _switch(run.find(f"{_W}rPr"), "b")) is None else bold for run in runs)


def _read_styles(element: Any) -> dict[str, Style]:
    """Paragraph and character styles by id; the default paragraph style also under the empty id."""
    raw = {style.get(f"{_W}styleId"): style for style in element.iterchildren(f"{_W}style")}
    defaults = _read_look(element.find(f"{_W}docDefaults/{_W}rPrDefault/{_W}rPr"))
    styles = {identifier: _resolve_style(identifier, raw, defaults) for identifier in raw if identifier}
    default = next((key for key, style in raw.items() if key and style.get(f"{_W}default") and style.get(f"{_W}type") == "paragraph"), None)
    return {**styles, "": styles.get(default or "", Style(look=defaults))}


def _resolve_style(identifier: str, raw: dict[str, Any], defaults: Look) -> Style:
    """The style with what it inherits; the nearest ancestor that says something wins."""
    found = Style()
    seen: set[str | None] = set()
    current: str | None = identifier
    while current in raw and current not in seen:
        seen.add(current)
        style = raw[current]
        own = _read_properties(style.find(f"{_W}pPr"))
        name = (_value(style, "name") or "").lower()
        named = 0 if name == "title" else int(match[1]) if (match := re.fullmatch(r"heading (\d)", name)) else own.level
        listed = 0 if own.indent is None and name.startswith("list ") else own.indent
        look = found.look.over(_read_look(style.find(f"{_W}rPr"))).over(_read_look(style.find(f"{_W}pPr")))
        found = Style(
            named if found.level is None else found.level,
            listed if found.indent is None else found.indent,
            found.bold or bool(_switch(style.find(f"{_W}rPr"), "b")),
            found.list_name or own.list_name,
            look,
        )
        current = _value(style, "basedOn")
    return found._replace(look=found.look.over(defaults)) if raw[identifier].get(f"{_W}type") == "paragraph" else found


def _read_properties(properties: Any) -> Style:
    """Heading level and list depth as the paragraph properties have them; a depth of -1 takes a style's numbering away."""
    if properties is None:
        return Style()
    outline = _value(properties, "outlineLvl") or ""
    number, depth = _value(properties, "numPr/numId"), _value(properties, "numPr/ilvl") or "0"
    indent = None if number is None else -1 if number == "0" else int(depth) if depth.isdecimal() and len(depth) < 3 else 0
    level = int(outline) + 1 if outline.isdecimal() and len(outline) < 3 and int(outline) < 9 else None
    return Style(level, indent, list_name=number if number not in (None, "0") else "")


def _value(element: Any, path: str) -> str | None:
    """The `w:val` of the element at a path such as `numPr/ilvl`; None when it is not there."""
    found = element.find("/".join(_W + name for name in path.split("/")))
    value = None if found is None else found.get(f"{_W}val")
    return None if value is None else str(value)


def _switch(properties: Any, name: str) -> bool | None:
    """An on-off property: present without a value means on; None when it is absent."""
    found = None if properties is None else properties.find(_W + name)
    return None if found is None else found.get(f"{_W}val", "1") not in ("0", "false", "off")
