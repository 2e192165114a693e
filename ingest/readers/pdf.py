"""PDF: one Section a page, in the order the file draws its text.

No OCR: a page without text is named in the notices. No table recognition: a row stays a line. About 500 pages a second on one core.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

from ingest.readers._common import choose_title, clean, is_title, one_line
from ingest.readers._layout import Line, Vocabulary, drop_furniture, join_fragments, large_title, paragraphs
from rag.errors import UnreadableDocument
from rag.pages import open_pdf, page_characters
from rag.types import Document, Location, LocationKind, Section

_HYPHENS = "\x02\ufffe"  # what PDFium puts for a hyphen that ends a line, instead of the line's end
_LINE = re.compile(r"[^\r\n\x02\ufffe]+")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\xad": None, "\xa0": " "})
_SYMBOL_BULLET = re.compile(r"^[\ue000-\uf8ff](?=\s|$)")  # bullets of the Symbol and Wingdings fonts
_WORD = re.compile(r"\S+")
_SPACES = re.compile(r"[ \t]+")
_FIXED_PITCH = 1
_FIXED_NAME = re.compile(rb"mono|courier|consol|typewriter|cmtt|menlo|monaco", re.IGNORECASE)


class Bookmark(NamedTuple):
    """An entry of the outline: its path of titles, the page it leads to (from 0), and whether that is the page's top."""

    path: tuple[str, ...]
    page: int
    at_top: bool


def read(data: bytes, source: str) -> Document:
    """One Section a page that holds text."""
    with open_pdf(data, source) as document:
        bookmarks = list(_bookmarks(document))
        metadata_title = _decoded(lambda: document.get_metadata_value("Title"))
        pages, edges, damaged = _read_pages(document)
    vocabulary = Vocabulary(line for page in pages for line in page)
    texts = [clean(paragraphs(page, vocabulary)).strip("\n") for page in drop_furniture(pages, edges)]
    headings = page_headings(bookmarks, len(pages))
    sections = tuple(
        Section(text, Location(LocationKind.PAGE, number, heading=heading))
        for number, (text, heading) in enumerate(zip(texts, headings, strict=True), start=1)
        if text
    )
    if not sections:
        raise UnreadableDocument(f"{source} holds no text on its {len(pages)} pages: it may be scanned; run OCR over it first")
    title = choose_title(_titles(metadata_title, pages, sections), source)
    return Document(title, sections, pages=len(pages), notices=_notices(texts, damaged))


def _notices(texts: list[str], damaged: list[int]) -> tuple[str, ...]:
    empty = [str(number) for number, text in enumerate(texts, start=1) if not text and number not in damaged]
    of = f"of {len(texts)} pages"
    notices = [f"{len(empty)} {of} hold no text (images?): {', '.join(empty)}"] if empty else []
    return (*notices, *([f"{len(damaged)} {of} are damaged: {', '.join(map(str, damaged))}"] if damaged else []))


def _titles(metadata_title: str, pages: list[list[Line]], sections: tuple[Section, ...]) -> list[str]:
    """Candidates, best first: the metadata's title if the first page bears it out, the words in the largest letters, the first line."""
    metadata = metadata_title if is_title(metadata_title, sections[0].text) else ""
    return [metadata, large_title(next(page for page in pages if page)), sections[0].text.split("\n")[0]]


def _read_pages(document: pypdfium2.PdfDocument) -> tuple[list[list[Line]], list[tuple[float, float]], list[int]]:
    """Each page's lines and its lower and upper edge, and the numbers of pages that PDFium cannot load."""
    pages: list[list[Line]] = []
    edges: list[tuple[float, float]] = []
    damaged: list[int] = []
    for index in range(len(document)):
        try:
            page = document[index]
            textpage = page.get_textpage()
            pages.append(join_fragments(_read_lines(textpage)))
            _, bottom, _, top = page.get_bbox()
            edges.append((bottom, top))
            textpage.close()
            page.close()
        except pypdfium2.PdfiumError:
            damaged.append(index + 1)
            pages.append([])
            edges.append((0.0, 0.0))
    return pages, edges, damaged


def _read_lines(textpage: pypdfium2.PdfTextPage) -> Iterator[Line]:
    """The lines of a page as PDFium breaks them, with where each stands."""
    characters = page_characters(textpage)
    for match in _LINE.finditer(characters):
        shown = match[0].rstrip()
        text = _SYMBOL_BULLET.sub("•", _SPACES.sub(" ", clean(shown.translate(_LIGATURES))).strip())
        if not text:
            continue
        first, last = match.start() + len(shown) - len(shown.lstrip()), match.start() + len(shown) - 1
        left, bottom, _, top = textpage.get_charbox(first, loose=True)
        right = textpage.get_charbox(last, loose=True)[2]
        hyphen = characters[match.end() : match.end() + 1] in tuple(_HYPHENS) or shown.endswith("\xad")
        cells = _has_cells(textpage, characters, first, last, top - bottom)
        yield Line(text, left, bottom, right, top, hyphen, _is_fixed_pitch(textpage, first), cells)


def _has_cells(textpage: pypdfium2.PdfTextPage, characters: str, first: int, last: int, height: float) -> bool:
    """Whether somewhere on the line the gap between two words is far wider than a space, as between the cells of a row.

    Asking PDFium for a box costs a microsecond, so only lines that are wide for their number of letters are looked at.
    """
    width = textpage.get_charbox(last, loose=True)[2] - textpage.get_charbox(first, loose=True)[0]
    if width < 0.45 * height * (last - first + 1):
        return False
    words = [(match.start() + first, match.end() + first - 1) for match in _WORD.finditer(characters[first : last + 1])]
    ends = [(textpage.get_charbox(start, loose=True)[0], textpage.get_charbox(end, loose=True)[2]) for start, end in words]
    return any(after[0] - before[1] > 1.2 * height for before, after in pairwise(ends))


def _is_fixed_pitch(textpage: pypdfium2.PdfTextPage, index: int) -> bool:
    name = ctypes.create_string_buffer(64)
    flags = ctypes.c_int()
    pdfium.FPDFText_GetFontInfo(textpage.raw, index, name, len(name), flags)
    return bool(flags.value & _FIXED_PITCH) or _FIXED_NAME.search(name.value) is not None


def _decoded(read_text: Callable[[], str]) -> str:
    """A text from the file's own structures; nothing when it is not the UTF-16 that pypdfium2 takes it for."""
    try:
        return one_line(read_text())
    except UnicodeDecodeError:
        return ""


def _bookmarks(document: pypdfium2.PdfDocument) -> Iterator[Bookmark]:
    """The outline in its own order; entries that lead to no page are left out but stay in the paths of those beneath them."""
    path: list[str] = []
    for bookmark in document.get_toc():
        path = [*path[: bookmark.level], _decoded(bookmark.get_title)]
        destination = bookmark.get_dest()
        page = destination.get_index() if destination else None
        if page is None or not path[-1]:
            continue
        mode, position = destination.get_view()
        height = document.get_page_size(page)[1] if page < len(document) else 0.0
        y = position[1] if mode == pdfium.PDFDEST_VIEW_XYZ and len(position) > 1 else height
        yield Bookmark(tuple(title for title in path if title), page, y > 0.8 * height)


def page_headings(bookmarks: list[Bookmark], pages: int) -> list[tuple[str, ...]]:
    """For each page the path of the outline that holds for all of it; where sections share nothing, that of the first on it."""
    headings: list[tuple[str, ...]] = []
    carried: tuple[str, ...] = ()
    for page in range(pages):
        starting = [bookmark for bookmark in bookmarks if bookmark.page == page]
        paths = [bookmark.path for bookmark in starting]
        if carried and not (starting and starting[0].at_top):
            paths.insert(0, carried)
        headings.append(_common_path(paths) or (paths[0] if paths else ()))
        carried = starting[-1].path if starting else carried
    return headings


def _common_path(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    shared = 0
    while paths and all(len(path) > shared for path in paths) and len({path[shared] for path in paths}) == 1:
        shared += 1
    return paths[0][:shared] if paths else ()
