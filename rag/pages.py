"""PDF pages as pictures, with a passage marked: what an opened citation shows.

Also the one place that opens PDFium, which is not thread-safe: whoever touches it holds PDFIUM, in this module and in the reader.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageDraw

from rag.errors import UnreadableDocument

PDFIUM = threading.RLock()
MARKER = (255, 214, 0, 90)  # RGBA; translucent, so that black on white and white on black both stay legible
MARKER_MARGIN = 1.0  # points around the letters
LARGEST_PIXELS = 24_000_000  # a poster at scale 2 would take gigabytes
LONGEST_SIDE = 20_000  # pixels, of a page like a ribbon

FILLER = "\u2060"
"""Stands for the second half of a character that takes two places in PDFium's text."""

_SURROGATE_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
_ANCHOR_LETTERS = 24  # a piece of a long quote that is looked for when the whole is not on the page


class Box(NamedTuple):
    """A rectangle on a page in PDF points, y upwards."""

    left: float
    bottom: float
    right: float
    top: float


@contextmanager
def open_pdf(data: bytes, source: str) -> Iterator[pypdfium2.PdfDocument]:
    """The document, held together with the lock until the block ends.

    Raises:
        UnreadableDocument: encrypted with a password, or damaged beyond PDFium's repair.
    """
    with PDFIUM:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
                raise UnreadableDocument(f"{source} is encrypted: save it without a password") from error
            raise UnreadableDocument(
                f"{source} is damaged or no PDF ({error}): open it in its own program and save it again as PDF"
            ) from error
        with document:
            yield document


def page_characters(textpage: pypdfium2.PdfTextPage) -> str:
    """The page's text with one character for each of PDFium's, so that an index in it is an index for PDFium's boxes."""
    count = textpage.count_chars()
    text: str = textpage.get_text_range() if count else ""
    if len(text) != count:  # characters left out, or beyond the 16 bits that the fast call knows
        text = "".join(map(chr, (pdfium.FPDFText_GetUnicode(textpage.raw, index) for index in range(count))))
    return _SURROGATE_PAIR.sub(_whole_character, text)


def _whole_character(pair: re.Match[str]) -> str:
    """The character of a UTF-16 pair, a mathematical letter as the plain one, and a filler for the second place."""
    character = pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    plain = unicodedata.normalize("NFKC", character)
    return (plain if len(plain) == 1 else character) + FILLER


def locate_quote(data: bytes, page: int, quote: str, source: str = "the PDF") -> list[Box]:
    """Where the quote's words stand on the page (from 1), a box a line; empty when they do not stand there.

    Only letters and digits are compared, so line breaks, hyphens at line ends, ligatures and spacing make no difference.
    """
    with open_pdf(data, source) as document:
        textpage = _load_page(document, page, source).get_textpage()
        characters = page_characters(textpage)
        span = find_words(characters, quote)
        if span is None:
            return []
        return _line_boxes(textpage, [index for index in range(*span) if not characters[index].isspace()])


def count_pages(data: bytes, source: str = "the PDF") -> int:
    with open_pdf(data, source) as document:
        return len(document)


def find_page(data: bytes, quote: str, near: float = 0.0, source: str = "the PDF") -> int | None:
    """The page (from 1) that holds the quote's words; None when no page holds them all.

    Args:
        near: about where, as a share of the document from 0 to 1: pages are looked at from there outwards.
    """
    return find_page_of_any(data, [quote], near, source)


def find_page_of_any(data: bytes, quotes: Sequence[str], near: float = 0.0, source: str = "the PDF") -> int | None:
    """The page that holds the first of the quotes; where none does, the second, and so on. Each page is read once, and others may use
    PDFium between two pages.
    """
    pages = count_pages(data, source)
    middle = near * (pages - 1)
    found: dict[str, int] = {}
    for page in sorted(range(1, pages + 1), key=lambda page: abs(page - 1 - middle)):
        with open_pdf(data, source) as document:
            characters = page_characters(_load_page(document, page, source).get_textpage())
        for quote in quotes:
            if quote not in found and find_words(characters, quote) is not None:
                found[quote] = page
        if quotes and quotes[0] in found:
            break
    return next((found[quote] for quote in quotes if quote in found), None)


def render_page(data: bytes, page: int, boxes: Sequence[Box] = (), scale: float = 1.5, source: str = "the PDF") -> bytes:
    """The page (from 1) as a PNG of `scale` pixels a point, the boxes marked."""
    with open_pdf(data, source) as document:
        pdf_page = _load_page(document, page, source)
        bitmap = pdf_page.render(scale=bounded_scale(pdf_page, scale))
        image = bitmap.to_pil().convert("RGB")
        corners = bitmap.get_posconv(pdf_page).to_bitmap
        marked = [
            (*corners(box.left - MARKER_MARGIN, box.top + MARKER_MARGIN), *corners(box.right + MARKER_MARGIN, box.bottom - MARKER_MARGIN))
            for box in boxes
        ]
    return _mark(image, marked)


def bounded_scale(page: pypdfium2.PdfPage, scale: float, pixels: int = LARGEST_PIXELS) -> float:
    """`scale` (pixels a point), or what keeps the picture of a huge page within so many pixels and LONGEST_SIDE."""
    width, height = (max(side, 1.0) for side in page.get_size())
    return float(min(scale, (pixels / (width * height)) ** 0.5, LONGEST_SIDE / max(width, height)))


def find_words(text: str, quote: str) -> tuple[int, int] | None:
    """The span of `text` that says what `quote` says, letter by letter; of a long quote, nearly all of it."""
    letters, places = _letters(text)
    wanted, _ = _letters(quote)
    found = _find_whole(text, letters, places, wanted) or _find_ends(letters, wanted)
    return (places[found[0]], places[found[1] - 1] + 1) if found else None


def _find_ends(letters: str, wanted: str) -> tuple[int, int] | None:
    """The stretch between the first and the last piece of a long quote that can be found, if its length is about the quote's.

    The reader leaves out a page's header and number, which may stand anywhere in the order the file draws its text.
    """
    size = _ANCHOR_LETTERS
    if len(wanted) < 4 * size:
        return None
    offsets = range(0, len(wanted) - size + 1, size)
    heads = (letters.find(wanted[offset : offset + size]) for offset in offsets)
    start = next((place for place in heads if place >= 0), -1)
    tails = (letters.rfind(wanted[len(wanted) - size - offset : len(wanted) - offset], max(start, 0)) for offset in offsets)
    end = next((place for place in tails if place >= 0), -1) + size
    return (start, end) if start >= 0 and 0.7 * len(wanted) < end - start < 1.3 * len(wanted) else None


def _find_whole(text: str, letters: str, places: list[int], wanted: str) -> tuple[int, int] | None:
    """The first match in `letters` that neither begins nor ends inside a word of `text`."""
    start = letters.find(wanted) if wanted else -1
    while start >= 0:
        end = start + len(wanted)
        before, after = text[: places[start]][-1:], text[places[end - 1] + 1 :][:1]
        if not before.isalnum() and not after.isalnum():
            return start, end
        start = letters.find(wanted, start + 1)
    return None


def _letters(text: str) -> tuple[str, list[int]]:
    """The letters and digits of `text` in their plainest form, and the index in `text` that each comes from."""
    letters: list[str] = []
    places: list[int] = []
    for index, character in enumerate(text):
        for plain in unicodedata.normalize("NFKD", character).casefold():
            if plain.isalnum():
                letters.append(plain)
                places.append(index)
    return "".join(letters), places


def _load_page(document: pypdfium2.PdfDocument, page: int, source: str) -> pypdfium2.PdfPage:
    if not 1 <= page <= len(document):
        raise UnreadableDocument(f"{source} has no page {page}: its pages are 1 to {len(document)}")
    try:
        return document[page - 1]
    except pypdfium2.PdfiumError as error:
        raise UnreadableDocument(f"page {page} of {source} is damaged: {error}") from error


def _line_boxes(textpage: pypdfium2.PdfTextPage, indices: list[int]) -> list[Box]:
    """The boxes of these characters, those on one line grown together."""
    lines: list[Box] = []
    for index in indices:
        box = Box(*textpage.get_charbox(index, loose=True))
        height = box.top - box.bottom
        if height <= 0 or box.right <= box.left:
            continue
        if lines and _same_line(lines[-1], box):
            last = lines[-1]
            lines[-1] = Box(min(last.left, box.left), min(last.bottom, box.bottom), max(last.right, box.right), max(last.top, box.top))
        else:
            lines.append(box)
    return lines


def _same_line(line: Box, box: Box) -> bool:
    """Whether a character continues a line: at its height, and not far off as in the next column."""
    height = min(line.top - line.bottom, box.top - box.bottom)
    overlap = min(line.top, box.top) - max(line.bottom, box.bottom)
    return overlap > 0.5 * height and line.left - height <= box.left <= line.right + 3 * height


def _mark(image: Image.Image, rectangles: list[Any]) -> bytes:
    """The picture as PNG with the rectangles (corners in pixels) laid over it in the marker's colour."""
    overlay = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(overlay)
    for x0, y0, x1, y1 in rectangles:
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=MARKER)
    output = BytesIO()
    Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB").save(output, format="PNG")
    return output.getvalue()
