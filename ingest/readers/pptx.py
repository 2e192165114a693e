"""PowerPoint decks: a Section a slide with its title, its text in reading order, tables as rows, the words in diagrams, the speaker notes.

python-pptx opens the package; the text is taken from the XML, because its shapes leave out formulas and whatever PowerPoint wrapped for
older versions of itself. Slides are numbered as they lie in the deck, hidden ones included. Pictures give nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pptx
from lxml import etree

from ingest.readers._common import Block, choose_title, join_blocks, one_line, table_row
from ingest.readers._office import OPENING_ERRORS, open_package, paragraph_text
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

BAND = 300_000  # EMU, a third of an inch: shapes whose tops differ by less stand side by side

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("ftr", "sldNum", "dt", "hdr")


class Slide(NamedTuple):
    """The XML of one slide: its shapes, its notes' shapes, and the parts (diagrams, charts) that its frames name by relation id."""

    shapes: Any
    notes: Any
    parts: dict[str, Any]


def read(data: bytes, source: str) -> Document:
    """One Section a slide that holds text."""
    stream = open_package(data, source, ".pptx")
    try:
        slides = [_load_slide(slide) for slide in pptx.Presentation(stream).slides]
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no PowerPoint deck: {one_line(str(error))}") from error
    sections: list[Section] = []
    empty: list[str] = []
    for number, slide in enumerate(slides, start=1):
        title, text = _read_slide(slide)
        if text:
            sections.append(Section(text, Location(LocationKind.SLIDE, number, heading=(title,) if title else ())))
        else:
            empty.append(str(number))
    if not sections:
        raise UnreadableDocument(f"{source} holds no text on its {len(slides)} slides (pictures only?)")
    notices = (f"{len(empty)} of {len(slides)} slides hold no text (images?): {', '.join(empty)}",) if empty else ()
    title = choose_title((heading for section in sections for heading in section.location.heading), source)
    return Document(title, tuple(sections), pages=len(slides), notices=notices)


def _load_slide(slide: Any) -> Slide:
    """What python-pptx may stumble over, fetched at once."""
    wanted = {value for frame in slide.element.iter(f"{_A}graphicData") for child in frame for value in _relations(child)}
    relations = {key: slide.part.rels[key] for key in wanted if key in slide.part.rels}
    blobs = {key: relation.target_part.blob for key, relation in relations.items() if not relation.is_external}
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    parts = {key: etree.fromstring(blob, parser) for key, blob in blobs.items() if blob.lstrip()[:1] == b"<"}
    notes = slide.notes_slide.shapes._spTree if slide.has_notes_slide else None
    return Slide(slide.shapes._spTree, notes, parts)


def _relations(element: Any) -> list[str]:
    """The relations by which a frame names its diagram's data or its chart."""
    return [str(element.get(_R + name)) for name in ("dm", "id") if element.get(_R + name)]


def _read_slide(slide: Slide) -> tuple[str, str]:
    """The slide's title and its whole text, title first and notes last."""
    shapes = list(_shapes(slide.shapes))
    titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
    others = sorted((shape for shape in shapes if _placeholder(shape) not in (*_TITLES, *_FURNITURE)), key=_position)
    texts = [join_blocks(list(_blocks(shape, slide.parts))) for shape in [*titles, *others]]
    notes = [shape for shape in _shapes(slide.notes) if _placeholder(shape) == "body"] if slide.notes is not None else []
    spoken = "\n".join(text for shape in notes if (text := join_blocks(list(_blocks(shape, {})))))
    title = one_line(" ".join(block.text for shape in titles for block in _blocks(shape, {})))
    return title, "\n\n".join(filter(None, [*texts, spoken and f"Notes:\n{spoken}"]))


def _shapes(container: Any) -> Iterator[Any]:
    """The shapes beneath a shape tree, groups and compatibility wrappers entered."""
    for child in container:
        if child.tag in (f"{_P}sp", f"{_P}graphicFrame"):
            yield child
        elif child.tag in (f"{_P}grpSp", f"{_MC}AlternateContent", f"{_MC}Choice"):
            yield from _shapes(child)


def _placeholder(shape: Any) -> str:
    """The kind of placeholder a shape is (`title`, `body`, `ftr` …); nothing for a shape of its own."""
    found = next(shape.iter(f"{_P}ph"), None)
    return "" if found is None else str(found.get("type", "body"))


def _position(shape: Any) -> tuple[int, int]:
    """Where a shape stands in reading order. Placeholders come first, in the deck's own order."""
    offset = next(shape.iter(f"{_A}off"), None)
    if offset is None or _placeholder(shape):
        return (-1, 0)
    return (_number(offset.get("y")) // BAND, _number(offset.get("x")))


def _number(value: str | None) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0


def _blocks(shape: Any, parts: dict[str, Any]) -> Iterator[Block]:
    """A shape's paragraphs and table rows; for a diagram or chart, those of its own part."""
    table = next(shape.iter(f"{_A}tbl"), None)
    if table is not None:
        for row in table.iterchildren(f"{_A}tr"):
            yield Block(table_row(_paragraphs_text(cell) for cell in row.iterchildren(f"{_A}tc")), tight=True)
        return
    roots = [
        shape,
        *(parts[key] for frame in shape.iter(f"{_A}graphicData") for child in frame for key in _relations(child) if key in parts),
    ]
    for root in roots:
        for paragraph in root.iter(f"{_A}p"):
            yield Block(_paragraph(paragraph), tight=True)


def _paragraphs_text(cell: Any) -> str:
    return " ".join(paragraph_text(paragraph) for paragraph in cell.iter(f"{_A}p"))


def _paragraph(paragraph: Any) -> str:
    """A paragraph's words, indented and with a dash when it is a point under another one."""
    text = paragraph_text(paragraph)
    properties = paragraph.find(f"{_A}pPr")
    level = _number(properties.get("lvl")) if properties is not None else 0
    return f"{'  ' * min(level, 8)}- {text.strip()}" if level > 0 and text else text
