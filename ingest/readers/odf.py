"""OpenDocument texts and presentations (.odt, .odp and their templates), from LibreOffice and its like.

The text is taken from content.xml itself. Left out: comments, deleted passages, tables of contents, headers and footers, charts. A formula
stands as its author typed it, in StarMath or TeX. Numbers of list items are not computed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any

from lxml import etree

from ingest.readers._common import Block, Part, choose_title, clean, is_title, join_blocks, one_line, sections_of, table_row
from ingest.readers._office import OPENING_ERRORS, open_package
from rag.errors import UnreadableDocument
from rag.types import Document, Location, LocationKind, Section

BAND_CM = 0.8  # shapes whose tops differ by less stand side by side
FORMULA_CHARACTERS = 2000  # a longer one is no formula that somebody typed

_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns:"
_OFFICE, _TEXT, _TABLE, _DRAW, _STYLE, _PRESENTATION, _MANIFEST = (
    f"{{{_NAMESPACE}{name}:1.0}}" for name in ("office", "text", "table", "drawing", "style", "presentation", "manifest")
)
_SVG = f"{{{_NAMESPACE}svg-compatible:1.0}}"
_MATH = "{http://www.w3.org/1998/Math/MathML}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"

_BLANKS = re.compile(r"[ \t\r\n]+")
_LENGTH = re.compile(r"(-?[\d.]+)(cm|mm|in|pt)")
_CENTIMETRES = {"cm": 1.0, "mm": 0.1, "in": 2.54, "pt": 2.54 / 72}
_WRAPPERS = frozenset(
    {f"{_TEXT}{name}" for name in ("section", "numbered-paragraph", "bibliography", "index-body")}
    | {f"{_TABLE}{name}" for name in ("table-header-rows", "table-rows", "table-row-group", "table-row", "table-cell")}
)
_LEFT_OUT = frozenset({f"{_OFFICE}annotation", f"{_TEXT}ruby-text", f"{_TEXT}note"})
_FURNITURE = frozenset({"header", "footer", "date-time", "page-number", "page"})


@dataclass(frozen=True, slots=True)
class Package:
    """What a file holds: content.xml, the title in meta.xml, and the formulas of its embedded objects by their names."""

    content: Any
    title: str
    formulas: dict[str, str]


@dataclass
class _Text:
    """What the walk has gathered: finished parts and the open part's blocks. `styles` maps automatic styles to those they come from."""

    package: Package
    styles: dict[str, str]
    parts: list[Part] = field(default_factory=list)
    level: int = 0
    heading: str = ""
    blocks: list[Block] = field(default_factory=list)
    bullet: str = ""

    def end_part(self, level: int = 0, heading: str = "") -> None:
        self.parts.append(Part(self.level, self.heading, self.heading, join_blocks(self.blocks)))
        self.level, self.heading, self.blocks = level, heading, []


def read(data: bytes, source: str) -> Document:
    """One Section a heading of a text; one a slide of a presentation."""
    stream = open_package(data, source, ".odp" if source.lower().endswith("p") else ".odt", doctypes=True)
    try:
        with zipfile.ZipFile(stream) as archive:
            package = _load(archive, source)
    except OPENING_ERRORS as error:
        raise UnreadableDocument(f"{source} is damaged or no OpenDocument file: {one_line(str(error))}") from error
    try:
        return _read_body(package, source)
    except RecursionError as error:
        raise UnreadableDocument(f"{source} nests its elements too deeply to be a document for people") from error


def _load(archive: zipfile.ZipFile, source: str) -> Package:
    names = archive.namelist()
    manifest = _parse(archive.read("META-INF/manifest.xml")) if "META-INF/manifest.xml" in names else None
    if manifest is not None and next(manifest.iter(f"{_MANIFEST}encryption-data"), None) is not None:
        raise UnreadableDocument(f"{source} is encrypted: save it without a password")
    if "content.xml" not in names:
        raise UnreadableDocument(f"{source} is a zip but no OpenDocument file: it has no content.xml; save it again as .odt, .odp or PDF")
    title = next(_parse(archive.read("meta.xml")).iter(_TITLE), None) if "meta.xml" in names else None
    objects = {name: _parse(archive.read(name)) for name in names if name.endswith("/content.xml")}
    formulas = {name: _formula(root) for name, root in objects.items() if root.tag == f"{_MATH}math"}
    return Package(_parse(archive.read("content.xml")), one_line("".join(title.itertext())) if title is not None else "", formulas)


def _read_body(package: Package, source: str) -> Document:
    body = package.content.find(f"{_OFFICE}body")
    bodies = {child.tag: child for child in body} if body is not None else {}
    if f"{_OFFICE}text" in bodies:
        return _read_text(bodies[f"{_OFFICE}text"], package, source)
    if f"{_OFFICE}presentation" in bodies:
        return _read_slides(bodies[f"{_OFFICE}presentation"], package, source)
    kind = etree.QName(next(iter(bodies))).localname if bodies else "file without a body"
    raise UnreadableDocument(f"{source} holds a {kind}, not a text or a presentation: save it as PDF")


def _parse(data: bytes) -> Any:
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))


def _formula(math: Any) -> str:
    """The formula as TeX between dollars or in the editor's own notation; else its symbols."""
    annotations = {element.get("encoding", ""): "".join(element.itertext()) for element in math.iter(f"{_MATH}annotation")}
    typed = next((one_line(text) for encoding, text in annotations.items() if text.strip() and "tex" not in encoding.lower()), "")
    tex = next((one_line(text) for encoding, text in annotations.items() if text.strip() and "tex" in encoding.lower()), "")
    symbols = [element.text or "" for element in math.iter(f"{_MATH}mi", f"{_MATH}mn", f"{_MATH}mo", f"{_MATH}mtext")]
    written = f"${tex}$" if tex else typed or one_line(" ".join(symbols))
    return written if len(written) <= FORMULA_CHARACTERS else ""


def _read_text(body: Any, package: Package, source: str) -> Document:
    text = _Text(package, _parent_styles(package.content))
    _walk(body, text)
    text.end_part()
    sections = sections_of(_below_title(text.parts))
    if not sections:
        raise UnreadableDocument(f"{source} holds no text")
    opening = sections[0].text[:1000]
    styled = [part.heading for part in text.parts if part.level == _TITLE_LEVEL]
    headings = [part.heading for part in text.parts if part.heading]
    titles = (*styled[:1], package.title if is_title(package.title, opening) else "", *headings[:1], opening.split("\n")[0])
    return Document(choose_title(titles, source), sections)


_TITLE_LEVEL = -1


def _below_title(parts: list[Part]) -> list[Part]:
    """The parts with a title, if there is one, at level 1 and the headings one deeper."""
    titled = any(part.level == _TITLE_LEVEL for part in parts)
    shift = 1 if titled else 0
    return [
        Part(1 if part.level == _TITLE_LEVEL else part.level + shift * bool(part.level), part.heading, part.line, part.body)
        for part in parts
    ]


def _parent_styles(content: Any) -> dict[str, str]:
    """The named style that each automatic paragraph style goes back to."""
    return {
        style.get(f"{_STYLE}name", ""): style.get(f"{_STYLE}parent-style-name", "")
        for style in content.iterfind(f"{_OFFICE}automatic-styles/{_STYLE}style")
    }


def _walk(container: Any, text: _Text, depth: int = 0) -> None:
    """Add what stands beneath an element; `depth` counts the lists around it."""
    for child in container:
        tag = child.tag
        if tag == f"{_TEXT}h":
            _add_heading(child, text)
        elif tag == f"{_TEXT}p":
            _add_paragraph(child, text, depth)
        elif tag == f"{_TEXT}list":
            _walk_list(child, text, depth + 1)
        elif tag == f"{_TABLE}table" and child.find(f".//{_TEXT}h") is None:
            text.blocks += [Block(row, tight=True) for row in _rows(child, text.package)]
        elif tag in _WRAPPERS or tag == f"{_TABLE}table" or _is_shape(tag):
            _walk(child, text, depth)


def _is_shape(tag: object) -> bool:
    return isinstance(tag, str) and tag.startswith(_DRAW)


def _walk_list(element: Any, text: _Text, depth: int) -> None:
    """A list's items: the first paragraph after a dash, the others beneath it."""
    for item in element.iterchildren(f"{_TEXT}list-item", f"{_TEXT}list-header"):
        outer, text.bullet = text.bullet, "  " * (depth - 1) + "- "
        _walk(item, text, depth)
        text.bullet = outer


def _add_heading(element: Any, text: _Text) -> None:
    heading = one_line(_words(element, text.package))
    level = element.get(f"{_TEXT}outline-level", "1")
    if heading:
        text.end_part(int(level) if level.isdecimal() and 0 < int(level) < 100 else 1, heading)
    _add_attachments(element, text)


def _add_paragraph(element: Any, text: _Text, depth: int) -> None:
    words = _words(element, text.package).strip("\n")
    style = element.get(f"{_TEXT}style-name", "")
    if "Title" in (style, text.styles.get(style)) and words.strip():
        text.end_part(_TITLE_LEVEL, one_line(words))
    elif words.strip():
        text.blocks.append(Block((text.bullet or "  " * depth) + words.strip(), tight=True) if depth else Block(words.rstrip()))
        text.bullet = ""
    _add_attachments(element, text)


def _add_attachments(element: Any, text: _Text) -> None:
    """The paragraph's footnotes, each after its mark, and the text boxes that hang on it."""
    for child in _attachments(element):
        if child.tag == f"{_TEXT}note":
            body = " ".join(_words(paragraph, text.package) for paragraph in _paragraphs(child))
            text.blocks.append(Block(f"{_note_mark(child)} {one_line(body)}"))
        else:
            _walk(child, text)


def _attachments(element: Any) -> Iterator[Any]:
    """The footnotes and shapes in a paragraph, not those in each other."""
    for child in element:
        if child.tag == f"{_TEXT}note" or _is_shape(child.tag):
            yield child
        elif child.tag not in _LEFT_OUT:
            yield from _attachments(child)


def _paragraphs(element: Any) -> Iterator[Any]:
    """The paragraphs beneath an element, not those that hang on paragraphs."""
    for child in element:
        if child.tag in (f"{_TEXT}p", f"{_TEXT}h"):
            yield child
        else:
            yield from _paragraphs(child)


def _note_mark(note: Any) -> str:
    return f"[{one_line(note.findtext(f'{_TEXT}note-citation') or '*')}]"


def _rows(table: Any, package: Package) -> Iterator[str]:
    """The table's rows, `a | b`; a cell that others are merged into stands once."""
    for child in table:
        if child.tag == f"{_TABLE}table-row":
            cells = child.iterchildren(f"{_TABLE}table-cell")
            yield table_row(" ".join(_words(paragraph, package) for paragraph in _paragraphs(cell)) for cell in cells)
        elif child.tag in _WRAPPERS:
            yield from _rows(child, package)


def _words(element: Any, package: Package) -> str:
    return clean("".join(_pieces(element, package)))


def _pieces(element: Any, package: Package) -> Iterator[str]:
    """The text of a paragraph and what is inside its lines; white space counts only where the format says so."""
    yield _BLANKS.sub(" ", element.text or "")
    for child in element:
        tag = child.tag
        if tag == f"{_TEXT}s":
            count = child.get(f"{_TEXT}c", "1")
            yield " " * (min(int(count), 80) if count.isdecimal() else 1)
        elif tag == f"{_TEXT}tab":
            yield "\t"
        elif tag == f"{_TEXT}line-break":
            yield "\n"
        elif tag == f"{_TEXT}note":
            yield _note_mark(child)
        elif _is_shape(tag):
            yield " ".join(_formulas_of(child, package))
        elif isinstance(tag, str) and tag not in _LEFT_OUT:
            yield from _pieces(child, package)
        yield _BLANKS.sub(" ", child.tail or "")


def _formulas_of(shape: Any, package: Package) -> Iterator[str]:
    """The formulas that a shape shows itself; those in a text box's paragraphs are read with these."""
    for shown in shape.iterchildren(f"{_DRAW}object"):
        inline = shown.find(f"{_MATH}math")
        name = f"{normpath(shown.get(f'{_XLINK}href', ''))}/content.xml"
        formula = _formula(inline) if inline is not None else package.formulas.get(name)
        if formula:
            yield formula


def _read_slides(body: Any, package: Package, source: str) -> Document:
    sections: list[Section] = []
    empty: list[str] = []
    slides = body.findall(f"{_DRAW}page")
    for number, slide in enumerate(slides, start=1):
        title, text = _read_slide(slide, package)
        if text:
            sections.append(Section(text, Location(LocationKind.SLIDE, number, heading=(title,) if title else ())))
        else:
            empty.append(str(number))
    if not sections:
        raise UnreadableDocument(f"{source} holds no text on its {len(slides)} slides (pictures only?)")
    notices = (f"{len(empty)} of {len(slides)} slides hold no text (images?): {', '.join(empty)}",) if empty else ()
    title = choose_title((heading for section in sections for heading in section.location.heading), source)
    return Document(title, tuple(sections), pages=len(slides), notices=notices)


def _read_slide(slide: Any, package: Package) -> tuple[str, str]:
    """The slide's title and its whole text, title first and notes last."""
    shapes = [shape for shape in _shapes(slide) if _class(shape) not in _FURNITURE]
    titles = [shape for shape in shapes if _class(shape) == "title"]
    others = sorted((shape for shape in shapes if _class(shape) != "title"), key=_position)
    notes = [shape for notes in slide.iterchildren(f"{_PRESENTATION}notes") for shape in _shapes(notes) if _class(shape) not in _FURNITURE]
    spoken = "\n".join(filter(None, (_shape_text(shape, package) for shape in notes)))
    title = one_line(" ".join(_shape_text(shape, package) for shape in titles))
    texts = [_shape_text(shape, package) for shape in [*titles, *others]]
    return title, "\n\n".join(filter(None, [*texts, spoken and f"Notes:\n{spoken}"]))


def _shapes(container: Any) -> Iterator[Any]:
    """The shapes of a slide, groups and links around shapes entered."""
    for child in container:
        if child.tag in (f"{_DRAW}g", f"{_DRAW}a"):
            yield from _shapes(child)
        elif _is_shape(child.tag):
            yield child


def _class(shape: Any) -> str:
    return str(shape.get(f"{_PRESENTATION}class", ""))


def _position(shape: Any) -> tuple[float, float]:
    """Where a shape stands in reading order. Placeholders come first, in the deck's own order."""
    if _class(shape):
        return (float("-inf"), 0.0)
    return (_centimetres(shape.get(f"{_SVG}y")) // BAND_CM, _centimetres(shape.get(f"{_SVG}x")))


def _centimetres(length: str | None) -> float:
    match = _LENGTH.fullmatch(length or "")
    return float(match[1]) * _CENTIMETRES[match[2]] if match else 0.0


def _shape_text(shape: Any, package: Package) -> str:
    """The words in a shape: paragraphs on lines of their own, list items, table rows, or its formula."""
    text = _Text(package, {})
    _walk(shape, text)
    text.end_part()
    texts = (piece for part in text.parts for piece in (part.heading, part.body) if piece)
    return "\n".join([*_formulas_of(shape, package), *texts])
