"""PowerPoint decks: a Section a slide with its title, its text in reading order, tables as rows, the words in diagrams, the speaker notes.

python-pptx opens the package; the text is taken from the XML, because its shapes leave out formulas and whatever PowerPoint wrapped for
older versions of itself. Slides are numbered as they lie in the deck, hidden ones included. Pictures give nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pptx
from lxml import etree

from ingest.readers._common import Block, choose_title, join_blocks, one_line, table_row
from ingest.readers._hidden import HiddenText
from ingest.readers._office import OPENING_ERRORS, SAVE_AGAIN, chart_rows, open_package, paragraph_text, repeat_merged, run_text
from ingest.readers._slide_hidden import Ground, Place, background, colour_scheme, decoration, run_fault, shape_fault
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

SLIDES = 2000
BAND = 300_000  # EMU, a third of an inch: shapes whose tops differ by less stand side by side

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("ftr", "sldNum", "dt", "hdr")


class Slide(NamedTuple):
    """The XML of one slide: its shapes, its notes' shapes, the parts (diagrams, charts) that its frames name, and what is behind it all."""

    shapes: Any
    notes: Any
    parts: dict[str, Any]
    ground: Ground


def read(data: bytes, source: str) -> Document:
    """One Section a slide that holds text."""
    stream = open_package(data, source, ".pptx")
    try:
        presentation = pptx.Presentation(stream)
        found = len(presentation.slides)
        if found > SLIDES:
            raise UnreadableDocument(f"{source} has {found:,} slides, of which {SLIDES:,} would be read: split it")
        size = (presentation.slide_width or 0, presentation.slide_height or 0)
        slides = [_load_slide(slide, size) for slide in presentation.slides]
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no PowerPoint deck ({one_line(str(error))}): {SAVE_AGAIN} as .pptx") from error
    sections: list[Section] = []
    empty: list[str] = []
    hidden = HiddenText()
    for number, slide in enumerate(slides, start=1):
        title, text = _read_slide(slide, _Eye(slide.ground, hidden, f"on slide {number}"))
        if text:
            sections.append(Section(text, Location(LocationKind.SLIDE, number, heading=(title,) if title else ())))
        else:
            empty.append(str(number))
    if not sections:
        unseen = f" that a person could see ({hidden.notices()[0]})" if hidden.found else ""
        raise UnreadableDocument(
            f"{source} holds no text{unseen} on its {len(slides)} slides (pictures only?): save it with its words as text"
        )
    notices = (f"{len(empty)} of {len(slides)} slides hold no text (images?): {', '.join(empty)}",) if empty else ()
    title = choose_title((heading for section in sections for heading in section.location.heading), source)
    return Document(title, tuple(sections), pages=len(slides), notices=(*notices, *hidden.notices()))


def _load_slide(slide: Any, size: tuple[int, int]) -> Slide:
    """What python-pptx may stumble over, fetched at once."""
    wanted = {value for frame in slide.element.iter(f"{_A}graphicData") for child in frame for value in _relations(child)}
    relations = {key: slide.part.rels[key] for key in wanted if key in slide.part.rels}
    blobs = {key: relation.target_part.blob for key, relation in relations.items() if not relation.is_external}
    parts = {key: etree.fromstring(blob, _parser()) for key, blob in blobs.items() if blob.lstrip()[:1] == b"<"}
    notes = slide.notes_slide.shapes._spTree if slide.has_notes_slide else None
    return Slide(slide.shapes._spTree, notes, parts, _ground(slide, size))


def _parser() -> Any:
    return etree.XMLParser(resolve_entities=False, no_network=True)


def _ground(slide: Any, size: tuple[int, int]) -> Ground:
    """The slide's size and background. A deck without theme or master leaves the colour unknown."""
    layout = slide.slide_layout
    master = layout.slide_master
    theme = next((relation.target_part for relation in master.part.rels.values() if relation.reltype.endswith("/theme")), None)
    if theme is None:
        return Ground(*size, None, {})
    scheme = colour_scheme(etree.fromstring(theme.blob, _parser()), master.element, layout.element, slide.element)
    drawn = decoration(layout.element, master.element)
    return Ground(*size, background(slide.element, layout.element, master.element, scheme), scheme, drawn)


@dataclass
class _Eye:
    """What a viewer sees of a slide; what it does not see is noted."""

    ground: Ground
    hidden: HiddenText
    place: str

    def is_hidden(self, shape: Any) -> Callable[[Any], bool]:
        """A test for the runs of a shape."""

        def test(run: Any) -> bool:
            fault = run_fault(run, shape, self.ground)
            if fault:
                self.hidden.add(fault, self.place, run_text(run))
            return bool(fault)

        return test

    def sees(self, shape: Any, where: Place) -> bool:
        fault = shape_fault(shape, where, self.ground) if self.ground.width else ""
        if fault:
            self.hidden.add(fault, self.place, " ".join(paragraph_text(paragraph) for paragraph in shape.iter(f"{_A}p")))
        return not fault


def _relations(element: Any) -> list[str]:
    """The relations by which a frame names its diagram's data or its chart."""
    return [str(element.get(_R + name)) for name in ("dm", "id") if element.get(_R + name)]


def _read_slide(slide: Slide, eye: _Eye) -> tuple[str, str]:
    """The slide's title and its whole text, title first and notes last."""
    shapes = list(_shapes(slide.shapes, eye, Place()))
    titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
    others = sorted((shape for shape in shapes if _placeholder(shape) not in (*_TITLES, *_FURNITURE)), key=_position)
    texts = [join_blocks(list(_blocks(shape, slide.parts, eye))) for shape in [*titles, *others]]
    spoken = "\n".join(text for shape in _note_shapes(slide.notes) if (text := join_blocks(list(_blocks(shape, {}, None)))))
    title = one_line(" ".join(texts[: len(titles)]))
    return title, "\n\n".join(filter(None, [*texts, spoken and f"Notes:\n{spoken}"]))


def _note_shapes(notes: Any) -> list[Any]:
    return [] if notes is None else [shape for shape in _shapes(notes, None, Place()) if _placeholder(shape) == "body"]


def _shapes(container: Any, eye: _Eye | None, where: Place) -> Iterator[Any]:
    """The visible shapes beneath a shape tree, groups and compatibility wrappers entered."""
    for child in container:
        if child.tag in (f"{_P}sp", f"{_P}graphicFrame"):
            if eye is None or eye.sees(child, where):
                yield child
        elif child.tag == f"{_P}grpSp":
            if eye is None or eye.sees(child, where):
                yield from _shapes(child, eye, where.inside(child))
        elif child.tag == f"{_MC}AlternateContent":
            yield from _shapes(_first_choice(child), eye, where)


def _first_choice(wrapper: Any) -> Any:
    """The one of several forms of the same content that PowerPoint would show; the form for older versions when there is no other."""
    choices = list(wrapper.iterchildren(f"{_MC}Choice", f"{_MC}Fallback"))
    return choices[0] if choices else ()


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


def _blocks(shape: Any, parts: dict[str, Any], eye: _Eye | None) -> Iterator[Block]:
    """A shape's paragraphs and table rows; for a diagram or chart, those of its own part."""
    is_hidden = (lambda run: False) if eye is None else eye.is_hidden(shape)
    table = next(shape.iter(f"{_A}tbl"), None)
    if table is not None:
        above: dict[int, str] = {}
        for row in table.iterchildren(f"{_A}tr"):
            yield Block(table_row(repeat_merged(_cells(row, is_hidden), above)), tight=True)
        return
    roots = [
        shape,
        *(parts[key] for frame in shape.iter(f"{_A}graphicData") for child in frame for key in _relations(child) if key in parts),
    ]
    for root in roots:
        for paragraph in root.iter(f"{_A}p"):
            yield Block(_paragraph(paragraph, is_hidden), tight=True)
        yield from (Block(row, tight=True) for row in chart_rows(root))


def _cells(row: Any, is_hidden: Callable[[Any], bool]) -> Iterator[tuple[int, str, bool]]:
    """Each cell of a row: its column, its text, and whether it goes on from the row above."""
    for column, cell in enumerate(row.iterchildren(f"{_A}tc")):
        text = " ".join(paragraph_text(paragraph, is_hidden) for paragraph in cell.iter(f"{_A}p"))
        yield column, text, cell.get("vMerge") in ("1", "true")


def _paragraph(paragraph: Any, is_hidden: Callable[[Any], bool]) -> str:
    """A paragraph's words, indented and with a dash when it is a point under another one."""
    text = paragraph_text(paragraph, is_hidden)
    properties = paragraph.find(f"{_A}pPr")
    level = _number(properties.get("lvl")) if properties is not None else 0
    return f"{'  ' * min(level, 8)}- {text.strip()}" if level > 0 and text else text
