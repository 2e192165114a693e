"""Word documents: headings, paragraphs, list items and table rows in document order.

python-docx opens the package and knows its styles; the text is taken from the XML itself, because its paragraphs leave out content
controls, tracked insertions, text boxes and formulas, which syllabi are full of. Numbers of list items are not computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import docx

from ingest.readers._common import Block, Part, choose_title, is_title, join_blocks, one_line, sections_of, table_row
from ingest.readers._office import OPENING_ERRORS, open_package, paragraph_text
from rag.errors import UnreadableDocument
from rag.types import Document

HEADING_CHARACTERS = 80  # a bold paragraph longer than this is emphasis, not a heading

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_WRAPPERS = frozenset(_W + name for name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag"))


class Style(NamedTuple):
    """What a paragraph style says about its paragraphs, its ancestors' word included."""

    level: int | None = None  # 0: the title, 1 to 9: headings
    indent: int | None = None  # a list item's depth
    bold: bool = False


class Paragraph(NamedTuple):
    text: str
    level: int | None = None
    row: bool = False
    item: bool = False
    bold: bool = False


def read(data: bytes, source: str) -> Document:
    """One Section a heading; in a document without heading styles, short bold paragraphs are its headings."""
    stream = open_package(data, source, ".docx")
    try:
        document = docx.Document(stream)
        body = document.element.body
        styles = _read_styles(document.styles.element)
        metadata_title = one_line(document.core_properties.title or "")
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no Word document: {one_line(str(error))}") from error
    paragraphs = [paragraph for paragraph in _paragraphs(body, styles) if paragraph.text.strip()]
    if not any(paragraph.level is not None for paragraph in paragraphs):
        paragraphs = _promote_bold(paragraphs)
    sections = sections_of(_parts(paragraphs))
    if not sections:
        raise UnreadableDocument(f"{source} holds no text")
    return Document(choose_title(_titles(paragraphs, metadata_title), source), sections)


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


def _paragraphs(container: Any, styles: dict[str, Style]) -> Iterator[Paragraph]:
    """The paragraphs and table rows beneath an element, in document order, the text boxes after the paragraph they hang on."""
    for child in container:
        if child.tag == f"{_W}p":
            yield _read_paragraph(child, styles)
            for box in _text_boxes(child):
                yield from _paragraphs(box, styles)
        elif child.tag == f"{_W}tbl":
            for row in child.iterchildren(f"{_W}tr", *_WRAPPERS):
                yield Paragraph(table_row(_cell_texts(row, styles)), row=True)
        elif child.tag in _WRAPPERS:
            yield from _paragraphs(child, styles)


def _cell_texts(row: Any, styles: dict[str, Style]) -> Iterator[str]:
    for cell in row.iterchildren(f"{_W}tc", *_WRAPPERS):
        if cell.tag == f"{_W}tc":
            yield " ".join(paragraph.text for paragraph in _paragraphs(cell, styles))
        else:
            yield from _cell_texts(cell, styles)


def _text_boxes(paragraph: Any) -> list[Any]:
    boxes = paragraph.iterdescendants(f"{_W}txbxContent")
    return [box for box in boxes if not any(above.tag in (_FALLBACK, f"{_W}txbxContent") for above in box.iterancestors())]


def _read_paragraph(element: Any, styles: dict[str, Style]) -> Paragraph:
    text = paragraph_text(element)
    style = styles.get(_value(element, "pPr/pStyle") or "", styles.get("", Style()))
    own = _read_properties(element.find(f"{_W}pPr"))
    level = own.level if own.level is not None else style.level
    indent = own.indent if own.indent is not None else style.indent
    if level is not None:
        return Paragraph(text.strip(), level)
    if indent is not None and indent >= 0 and text:
        return Paragraph(f"{'  ' * indent}- {text.strip()}", item=True)
    return Paragraph(text, bold=_is_bold(element, style))


def _is_bold(element: Any, style: Style) -> bool:
    """Whether every run with words in it is bold."""
    runs = [run for run in element.iter(f"{_W}r") if "".join(text.text or "" for text in run.iterchildren(f"{_W}t")).strip()]
    return bool(runs) and all(style.bold if (bold := _switch(run.find(f"{_W}rPr"), "b")) is None else bold for run in runs)


def _read_styles(element: Any) -> dict[str, Style]:
    """Paragraph styles by id; the default one also under the empty id."""
    raw = {style.get(f"{_W}styleId"): style for style in element.iterchildren(f"{_W}style")}
    styles = {identifier: _resolve_style(identifier, raw) for identifier in raw if identifier}
    default = next((key for key, style in raw.items() if key and style.get(f"{_W}default") and style.get(f"{_W}type") == "paragraph"), None)
    return {**styles, "": styles.get(default or "", Style())}


def _resolve_style(identifier: str, raw: dict[str, Any]) -> Style:
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
        found = Style(
            named if found.level is None else found.level,
            listed if found.indent is None else found.indent,
            found.bold or bool(_switch(style.find(f"{_W}rPr"), "b")),
        )
        current = _value(style, "basedOn")
    return found


def _read_properties(properties: Any) -> Style:
    """Heading level and list depth as the paragraph properties have them; a depth of -1 takes a style's numbering away."""
    if properties is None:
        return Style()
    outline = _value(properties, "outlineLvl") or ""
    number, depth = _value(properties, "numPr/numId"), _value(properties, "numPr/ilvl") or "0"
    indent = None if number is None else -1 if number == "0" else int(depth) if depth.isdecimal() else 0
    return Style(int(outline) + 1 if outline.isdecimal() and int(outline) < 9 else None, indent)


def _value(element: Any, path: str) -> str | None:
    """The `w:val` of the element at a path such as `numPr/ilvl`; None when it is not there."""
    found = element.find("/".join(_W + name for name in path.split("/")))
    value = None if found is None else found.get(f"{_W}val")
    return None if value is None else str(value)


def _switch(properties: Any, name: str) -> bool | None:
    """An on-off property: present without a value means on; None when it is absent."""
    found = None if properties is None else properties.find(_W + name)
    return None if found is None else found.get(f"{_W}val", "1") not in ("0", "false", "off")
