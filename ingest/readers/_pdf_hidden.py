"""Characters on a PDF page that a person does not see: too small, off the page, invisible, or in the colour of what is behind them.

Asking PDFium about a character costs a microsecond, so every line is sampled, and only a page with a suspect is looked at character by
character and drawn: light words on a picture are suspects until the drawing shows them. Not found: dark words on a dark shape of a page
without light ones, and words behind a picture.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from rag.pages import Box, bounded_scale

SAMPLE_STEP = 32  # characters; shorter hidden words in the middle of a visible line carry no instruction
SMALLEST_POINTS = 1.5
LIGHT = 200  # of 255, in each of red, green and blue
ALIKE = 24  # of 255: what differs less cannot be read
WORD_PIXELS = 10  # the height at which a word is drawn to see whether it shows; large words need no large picture
LARGEST_SCALE = 2.0
PICTURE_PIXELS = 1_500_000

IN_PAGE_COLOUR = "{n} characters in the colour of the page"
INVISIBLE = "{n} invisible characters"
TINY = "{n} characters too small to see"
OFF_PAGE = "{n} characters off the page"

_BLACK = bytes((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0))
_OPAQUE = 8  # of 255; less is not seen
_RECTANGLE_SEGMENTS = 6
_LINE = re.compile(r"[^\r\n]+")
_WORD = re.compile(r"\S+")


class Look(NamedTuple):
    """How a text object is drawn: its fill colour as red, green, blue; the height of its font in points; whether it is drawn at all."""

    colour: tuple[int, int, int]
    height: float = 0.0
    drawn: bool = True
    transparent: bool = False

    @property
    def light(self) -> bool:
        return min(self.colour) >= LIGHT


_BLACK_LOOK = Look((0, 0, 0))


class Cover(NamedTuple):
    """Something on the page that is no text: where it stands, if it is one plain rectangle its colour, and if it may hold a picture."""

    box: Box
    colour: tuple[int, int, int] | None
    picture: bool


class _Colour:
    """A place for PDFium to write a colour to, made once because making it costs more than the question."""

    def __init__(self) -> None:
        self.raw = bytearray(16)
        numbers = [ctypes.c_uint.from_buffer(self.raw, 4 * index) for index in range(4)]
        self.references = [ctypes.byref(number) for number in numbers]

    def values(self) -> tuple[int, int, int, int]:
        return self.raw[0], self.raw[4], self.raw[8], self.raw[12]


def is_suspect(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage, characters: str) -> bool:
    """Whether a sample of the page's characters holds a transparent, undrawn or very small one, or a light one that may not stand out."""
    raw, colour = textpage.raw, _Colour()
    text_object, fill, mode, size = (  # looked up once: this loop is a tenth of reading a page
        pdfium.FPDFText_GetTextObject,
        pdfium.FPDFPageObj_GetFillColor,
        pdfium.FPDFTextObj_GetTextRenderMode,
        pdfium.FPDFText_GetFontSize,
    )
    samples: list[tuple[int, Look]] = []
    for line in _LINE.finditer(characters):
        for index in range(line.start(), line.end(), SAMPLE_STEP):
            shown = text_object(raw, index)
            if not shown:  # a space that PDFium put between two words
                continue
            fill(shown, *colour.references)
            black = colour.raw == _BLACK
            if not black and colour.raw[12] < _OPAQUE:
                return True
            samples.append((index, _BLACK_LOOK if black else Look(colour.values()[:3])))
            if mode(shown) == pdfium.FPDF_TEXTRENDERMODE_INVISIBLE:
                return True
            if size(raw, index) < SMALLEST_POINTS and _height(shown) < SMALLEST_POINTS:
                return True
    if not any(look.light for look in {look for _, look in samples}):
        return False
    covers = list(_covers(page))
    return not all(_stands_out(Box(*textpage.get_charbox(index, loose=True)), look, covers) for index, look in samples)


def find_hidden(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage, characters: str) -> list[tuple[str, int, int]]:
    """The hidden runs of a page: kind, first index and the one after the last."""
    edges = Box(*page.get_bbox())
    covers = list(_covers(page))
    looks: dict[int, Look] = {}
    kinds: list[str] = [""] * len(characters)
    seen: dict[int, Look] = {}
    for index, character in enumerate(characters):
        shown = None if character.isspace() else pdfium.FPDFText_GetTextObject(textpage.raw, index)
        if not shown:
            continue
        address = ctypes.addressof(shown.contents)
        look = looks[address] if address in looks else looks.setdefault(address, _look(shown))
        box = Box(*textpage.get_charbox(index, loose=True))
        kinds[index] = _kind(box, look, edges, covers)
        if not kinds[index]:
            seen[index] = look
    for index in _in_page_colour(page, textpage, characters, seen, covers):
        kinds[index] = IN_PAGE_COLOUR
    return list(_runs(kinds, characters))


def _kind(box: Box, look: Look, edges: Box, covers: list[Cover]) -> str:
    """Why a character is not seen, its colour aside; nothing when it may be."""
    x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    if not _holds(edges, x, y):
        return OFF_PAGE
    if not look.drawn:
        # Text recognition lays its words undrawn over (or under) the picture that it read them from.
        return "" if any(cover.picture and _holds(cover.box, x, y) for cover in covers) else INVISIBLE
    if look.transparent:
        return INVISIBLE
    return TINY if look.height < SMALLEST_POINTS else ""


def _look(shown: Any) -> Look:
    colour = _Colour()
    pdfium.FPDFPageObj_GetFillColor(shown, *colour.references)
    red, green, blue, alpha = colour.values()
    mode = pdfium.FPDFTextObj_GetTextRenderMode(shown)
    filled = mode in (pdfium.FPDF_TEXTRENDERMODE_FILL, pdfium.FPDF_TEXTRENDERMODE_UNKNOWN)
    drawn = mode != pdfium.FPDF_TEXTRENDERMODE_INVISIBLE
    return Look((red, green, blue) if filled else (0, 0, 0), _height(shown), drawn, filled and alpha < _OPAQUE)


def _height(shown: Any) -> float:
    """The size in points at which a text object is drawn: its font's size as the matrix turns and stretches it."""
    matrix, size = pdfium.FS_MATRIX(), ctypes.c_float()
    if not pdfium.FPDFPageObj_GetMatrix(shown, ctypes.byref(matrix)) or not pdfium.FPDFTextObj_GetFontSize(shown, ctypes.byref(size)):
        return SMALLEST_POINTS
    return abs(size.value) * float((matrix.c**2 + matrix.d**2) ** 0.5)


def _covers(page: pypdfium2.PdfPage) -> Iterator[Cover]:
    """What lies on the page besides text, lowest first."""
    edges = [ctypes.c_float() for _ in range(4)]
    colour = _Colour()
    for number in range(pdfium.FPDFPage_CountObjects(page.raw)):
        shape = pdfium.FPDFPage_GetObject(page.raw, number)
        kind = pdfium.FPDFPageObj_GetType(shape)
        if kind == pdfium.FPDF_PAGEOBJ_TEXT or not pdfium.FPDFPageObj_GetBounds(shape, *map(ctypes.byref, edges)):
            continue
        plain: tuple[int, int, int] | None = None
        if kind == pdfium.FPDF_PAGEOBJ_PATH:
            mode, stroked = ctypes.c_int(), ctypes.c_int()
            pdfium.FPDFPath_GetDrawMode(shape, ctypes.byref(mode), ctypes.byref(stroked))
            if mode.value == pdfium.FPDF_FILLMODE_NONE:
                continue
            pdfium.FPDFPageObj_GetFillColor(shape, *colour.references)
            red, green, blue, alpha = colour.values()
            plain = (red, green, blue) if alpha == 255 and pdfium.FPDFPath_CountSegments(shape) <= _RECTANGLE_SEGMENTS else None
        picture = kind == pdfium.FPDF_PAGEOBJ_IMAGE or (kind == pdfium.FPDF_PAGEOBJ_FORM and _holds_picture(shape, 3))
        yield Cover(Box(*(edge.value for edge in edges)), plain, picture)


def _holds_picture(form: Any, depth: int) -> bool:
    parts = (pdfium.FPDFFormObj_GetObject(form, number) for number in range(min(pdfium.FPDFFormObj_CountObjects(form), 100)))
    kinds = ((pdfium.FPDFPageObj_GetType(part), part) for part in parts)
    return any(
        kind == pdfium.FPDF_PAGEOBJ_IMAGE or (kind == pdfium.FPDF_PAGEOBJ_FORM and depth > 0 and _holds_picture(part, depth - 1))
        for kind, part in kinds
    )


def _holds(box: Box, x: float, y: float) -> bool:
    return box.left <= x <= box.right and box.bottom <= y <= box.top


def _in_page_colour(
    page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage, characters: str, looks: dict[int, Look], covers: list[Cover]
) -> Iterator[int]:
    """The indices of characters in words that the drawn page does not show."""
    doubtful: list[tuple[list[int], Box, Look]] = []
    for match in _WORD.finditer(characters):
        for look, group in groupby(range(*match.span()), key=looks.get):
            indices = list(group)
            if look is None:
                continue
            boxes = [Box(*textpage.get_charbox(index)) for index in indices]
            box = Box(
                *(min(each) for each in list(zip(*boxes, strict=True))[:2]), *(max(each) for each in list(zip(*boxes, strict=True))[2:])
            )
            if not _stands_out(box, look, covers):
                doubtful.append((indices, box, look))
    if not doubtful:
        return
    lowest = min(max(box.top - box.bottom, 1.0) for _, box, _ in doubtful)
    bitmap = page.render(scale=bounded_scale(page, min(WORD_PIXELS / lowest, LARGEST_SCALE), PICTURE_PIXELS))
    pixels = bitmap.to_numpy()[:, :, 2::-1] if bitmap.n_channels >= 3 else np.repeat(bitmap.to_numpy()[:, :, None], 3, axis=2)
    to_bitmap = bitmap.get_posconv(page).to_bitmap
    for indices, box, look in doubtful:
        corners = (to_bitmap(box.left, box.top), to_bitmap(box.right, box.bottom))
        (x0, x1), (y0, y1) = (sorted((corners[0][axis], corners[1][axis])) for axis in (0, 1))
        area = pixels[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1].astype(np.int16)
        if area.size and (np.abs(area - np.array(look.colour)).max(axis=2) <= ALIKE).mean() > 0.97:
            yield from indices


def _stands_out(box: Box, look: Look, covers: list[Cover]) -> bool:
    """Whether words, as far as can be told without drawing, differ in colour from a plain rectangle or the white paper behind them."""
    x, y = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    behind = next((cover for cover in reversed(covers) if _holds(cover.box, x, y)), None)
    if behind is None or behind.colour is None:
        return not look.light
    whole = _holds(behind.box, box.left, box.bottom) and _holds(behind.box, box.right, box.top)
    apart = max(abs(ours - theirs) for ours, theirs in zip(look.colour, behind.colour, strict=True))
    return apart > 4 * ALIKE and (whole or not look.light)


def _runs(kinds: list[str], characters: str) -> Iterator[tuple[str, int, int]]:
    """Neighbours of one kind together, the spaces between them included."""
    start = 0
    while start < len(kinds):
        kind, end = kinds[start], start + 1
        if not kind:
            start = end
            continue
        last = end
        while end < len(kinds) and (kinds[end] == kind or (not kinds[end] and characters[end].isspace())):
            end += 1
            last = end if kinds[end - 1] == kind else last
        yield kind, start, last
        start = last
