"""PDF: one Section a page, in the order the file draws its text.

A page that is a picture goes through tesseract where that is installed, and is named in the notices. No table recognition: a row stays a
line, its cells parted by tabs. Some 265 dense pages a second on one core, 660 of slides; OCR a second or two a page.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium

from ingest.readers import _ocr
from ingest.readers._common import choose_title, clean, is_title, one_line
from ingest.readers._hidden import HiddenText
from ingest.readers._layout import Line, Vocabulary, drop_furniture, is_list_mark, join_fragments, large_title, paragraphs
from ingest.readers._pdf_hidden import find_hidden, is_suspect
from rag.errors import UnreadableDocument
from rag.pages import bounded_scale, open_pdf, page_characters
from rag.types import Document, Location, LocationKind, Section

PAGES = 2000
BOOKMARKS = 20_000
OCR_PAGES = 200
OCR_SECONDS = 40.0  # in all: a file has 60 s, of which the rest is for its other pages
OCR_DOTS_PER_INCH = 200
LISTED = 30  # page numbers in a notice

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


class Page(NamedTuple):
    """What is read of a page: its lines, and its lower and upper edge. `drawn`: something is on it, be it text or picture."""

    lines: list[Line]
    edges: tuple[float, float] = (0.0, 0.0)
    drawn: bool = False
    damaged: bool = False


def read(data: bytes, source: str) -> Document:
    """One Section a page that holds text.

    Raises:
        UnreadableDocument: encrypted, damaged, of more than PAGES pages, or without text that could be read.
    """
    hidden = HiddenText()
    with open_pdf(data, source) as document:
        if len(document) > PAGES:
            raise UnreadableDocument(f"{source} has {len(document):,} pages, of which {PAGES:,} would be read: split it")
        bookmarks = list(islice(_bookmarks(document), BOOKMARKS))
        metadata_title = _decoded(lambda: document.get_metadata_value("Title"))
        pages = [_read_page(document, index, hidden) for index in range(len(document))]
        texts = _texts(pages)
        pictures = [index for index, page in enumerate(pages) if page.drawn and not texts[index]]
        recognised = _recognise(document, pictures)
    texts = [recognised.get(index) or text for index, text in enumerate(texts)]
    headings = page_headings(bookmarks, len(pages))
    sections = tuple(
        Section(text, Location(LocationKind.PAGE, number, heading=heading))
        for number, (text, heading) in enumerate(zip(texts, headings, strict=True), start=1)
        if text
    )
    if not sections:
        raise UnreadableDocument(_why_empty(source, pages, pictures, hidden))
    title = choose_title(_titles(metadata_title, pages, sections), source)
    notices = (*_notices(texts, pages, pictures), *_ocr_notices(recognised, texts, pictures), *hidden.notices())
    return Document(title, sections, pages=len(pages), notices=notices)


def _texts(pages: list[Page]) -> list[str]:
    """Each page's paragraphs, without the headers and footers of all."""
    vocabulary = Vocabulary(line for page in pages for line in page.lines)
    kept = drop_furniture([page.lines for page in pages], [page.edges for page in pages])
    return [clean(paragraphs(lines, vocabulary)).strip("\n") for lines in kept]


def _recognise(document: pypdfium2.PdfDocument, pictures: list[int]) -> dict[int, str]:
    """The text on pages that are pictures, by page index, as far as tesseract and the time allow; an empty text where it finds none."""
    texts: dict[int, str] = {}
    end = time.monotonic() + OCR_SECONDS
    if not pictures or _ocr.available() is None:
        return texts
    for index in pictures[:OCR_PAGES]:
        left = end - time.monotonic()
        if left <= 0:
            break
        page = document[index]
        image = page.render(scale=bounded_scale(page, OCR_DOTS_PER_INCH / 72), grayscale=True).to_pil()
        page.close()
        picture = f"P5 {image.width} {image.height} 255\n".encode() + image.tobytes()
        text = _ocr.read_picture(picture, OCR_DOTS_PER_INCH, min(left, _ocr.PAGE_SECONDS))
        if text is not None:
            texts[index] = text
    return texts


def _why_empty(source: str, pages: list[Page], pictures: list[int], hidden: HiddenText) -> str:
    none = f"{source} holds no text on its {len(pages)} pages"
    if hidden.found:
        return f"{none} that a person could see ({hidden.notices()[0]}): save it as PDF again"
    if not pictures:
        return f"{none}: they are empty or damaged"
    version = _ocr.available()
    if version is None:
        return f"{none}, it may be scanned: {_ocr.INSTALL}"
    return f"{none}, and OCR (tesseract {version}) found none in its pictures: leave it out"


def _notices(texts: list[str], pages: list[Page], pictures: list[int]) -> tuple[str, ...]:
    """What stayed without text, and whether more could be done about it."""
    empty = [number for number, (text, page) in enumerate(zip(texts, pages, strict=True), start=1) if not text and not page.damaged]
    damaged = [number for number, page in enumerate(pages, start=1) if page.damaged]
    of = f"of {len(texts)} pages"
    remedy = f"; {_ocr.INSTALL}" if pictures and _ocr.available() is None else ""
    notices = [f"{len(empty)} {of} hold no text (images?): {_listed(empty)}{remedy}"] if empty else []
    return (*notices, *([f"{len(damaged)} {of} are damaged: {_listed(damaged)}"] if damaged else []))


def _ocr_notices(recognised: dict[int, str], texts: list[str], pictures: list[int]) -> tuple[str, ...]:
    """Which pages were read by OCR, and how many there was no time for."""
    numbers = [index + 1 for index in recognised if texts[index]]
    left = len(pictures) - len(recognised) if _ocr.available() else 0
    pages = "page was" if len(numbers) == 1 else "pages were"
    notices = [f"{len(numbers)} {pages} read by OCR (tesseract {_ocr.available()}): {_listed(numbers)}"] if numbers else []
    return (*notices, *([f"{left} more pages are pictures that OCR had no time for: split the file"] if left else []))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:LISTED])) + (f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else "")


def _titles(metadata_title: str, pages: list[Page], sections: tuple[Section, ...]) -> list[str]:
    """Candidates, best first: the metadata's title if the first page bears it out, the words in the largest letters, the first line."""
    metadata = metadata_title if is_title(metadata_title, sections[0].text) else ""
    return [metadata, large_title(next((page.lines for page in pages if page.lines), [])), sections[0].text.split("\n")[0]]


def _read_page(document: pypdfium2.PdfDocument, index: int, hidden: HiddenText) -> Page:
    """The lines of the page at `index` (from 0) that a person sees; what else is drawn there goes to `hidden`."""
    try:
        page = document[index]
        textpage = page.get_textpage()
    except pypdfium2.PdfiumError:
        return Page([], damaged=True)
    characters = page_characters(textpage)
    left, bottom, right, top = page.get_bbox()
    lines = list(_read_lines(textpage, characters))
    outside = any(line.left > right or line.right < left or line.bottom > top or line.top < bottom for line in lines)
    if outside or is_suspect(page, textpage, characters):
        for kind, start, end in find_hidden(page, textpage, characters):
            hidden.add(kind, f"on page {index + 1}", clean(characters[start:end]))
            characters = characters[:start] + "\n" * (end - start) + characters[end:]  # the indices of the others stay
        lines = list(_read_lines(textpage, characters))
    drawn = bool(lines) or pdfium.FPDFPage_CountObjects(page.raw) > 0
    textpage.close()
    page.close()
    return Page(join_fragments(lines), (bottom, top), drawn)


def _read_lines(textpage: pypdfium2.PdfTextPage, characters: str) -> Iterator[Line]:
    """The lines of a page as PDFium breaks them, with where each stands."""
    for match in _LINE.finditer(characters):
        shown = match[0].rstrip()
        if not shown:
            continue
        first, last = match.start() + len(shown) - len(shown.lstrip()), match.start() + len(shown) - 1
        left, bottom, _, top = textpage.get_charbox(first, loose=True)
        right = textpage.get_charbox(last, loose=True)[2]
        fixed = _is_fixed_pitch(textpage, first)
        gaps = _cell_gaps(textpage, characters, first, last, (right - left, top - bottom))
        cells = [_plain(characters[start:end]) for start, end in pairwise([first, *gaps, last + 1])]
        # A tab, because a stroke is a token to the embedder: on the sample course recall@5 fell by .02 with strokes.
        text = _join_cells([cell for cell in cells if cell], " " if fixed else "\t")
        if not text:
            continue
        hyphen = characters[match.end() : match.end() + 1] in tuple(_HYPHENS) or shown.endswith("\xad")
        yield Line(text, left, bottom, right, top, hyphen, fixed, bool(gaps))


def _plain(shown: str) -> str:
    return _SYMBOL_BULLET.sub("•", _SPACES.sub(" ", clean(shown.translate(_LIGATURES))).strip())


def _join_cells(cells: list[str], separator: str) -> str:
    """A row's cells as one line; a bullet or number in front is no cell."""
    if len(cells) > 1 and is_list_mark(cells[0]):
        cells = [f"{cells[0]} {cells[1]}", *cells[2:]]
    return separator.join(cells)


def _cell_gaps(textpage: pypdfium2.PdfTextPage, characters: str, first: int, last: int, size: tuple[float, float]) -> list[int]:
    """Where on the line words begin after a gap far wider than a space, as between the cells of a row.

    Asking PDFium for a box costs a microsecond, so only lines that are wide for their number of letters are looked at.
    """
    width, height = size
    if width < 0.45 * height * (last - first + 1):
        return []
    words = [(match.start() + first, match.end() + first - 1) for match in _WORD.finditer(characters[first : last + 1])]
    ends = [(start, textpage.get_charbox(start, loose=True)[0], textpage.get_charbox(end, loose=True)[2]) for start, end in words]
    return [after[0] for before, after in pairwise(ends) if after[1] - before[2] > 1.2 * height]


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
    by_page: dict[int, list[Bookmark]] = defaultdict(list)
    for bookmark in bookmarks:
        by_page[bookmark.page].append(bookmark)
    for page in range(pages):
        starting = by_page[page]
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
