"""Pages that are pictures, with the real tesseract where it is installed, and with none."""

from __future__ import annotations

from io import BytesIO

import pytest
from handmade_pdf import PdfMaker, Words
from PIL import Image, ImageDraw, ImageFont

from ingest.readers import _ocr, read_document
from ingest.readers import pdf as pdf_reader
from rag.errors import UnreadableDocument

needs_tesseract = pytest.mark.skipif(_ocr.available() is None, reason="tesseract is not installed: apt-get install tesseract-ocr")
WORDS = "Homework is due on Friday"
TABLE_HEAD = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"


def scan(words: str) -> bytes:
    """What a page draws to show a picture of these words."""
    image = Image.new("L", (850, 1100), 255)
    ImageDraw.Draw(image).text((100, 100), words, fill=0, font=ImageFont.load_default(36))
    pixels = image.resize((425, 550)).tobytes().hex().encode()
    return b"q 612 0 0 792 0 0 cm BI /W 425 /H 550 /CS /G /BPC 8 /F /AHx ID " + pixels + b"> EI Q\n"


def word(line: int, confidence: float, text: str, paragraph: int = 1) -> str:
    return f"5\t1\t1\t{paragraph}\t{line}\t1\t0\t0\t9\t9\t{confidence}\t{text}\n"


@needs_tesseract
def test_a_scan_is_read(pdf: PdfMaker) -> None:
    document = read_document(pdf.make([[], []], behind=scan(WORDS)), "scan.pdf")
    assert [(section.text, section.location.number) for section in document.sections] == [(WORDS, 1), (WORDS, 2)]
    assert document.notices == (f"2 pages were read by OCR (tesseract {_ocr.available()}): 1, 2",)


@needs_tesseract
def test_pages_with_text_of_their_own_are_not_recognised(pdf: PdfMaker) -> None:
    document = read_document(pdf.make([[Words(72, 500, "Own words.")]], behind=scan(WORDS)), "a.pdf")
    assert (document.text, document.notices) == ("Own words.", ())


@needs_tesseract
def test_a_picture_without_words(pdf: PdfMaker) -> None:
    with pytest.raises(UnreadableDocument, match=r"and OCR \(tesseract \d.*\) found none in its pictures: leave it out"):
        read_document(pdf.make([[]], behind=scan("")), "photo.pdf")


def test_without_tesseract_the_reason_says_what_to_install(pdf: PdfMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ocr, "available", lambda: None)
    data = pdf.make([[]], behind=scan(WORDS))
    with pytest.raises(
        UnreadableDocument, match=r"^scan\.pdf holds no text on its 1 pages, it may be scanned: install tesseract-ocr, then run"
    ):
        read_document(data, "scan.pdf")


def test_without_tesseract_some_pages_are_named(pdf: PdfMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ocr, "available", lambda: None)
    document = read_document(pdf.make([[Words(72, 700, "Hello")], []], behind=scan(WORDS)), "a.pdf")
    assert document.notices == ("1 of 2 pages hold no text (images?): 2; install tesseract-ocr, then run this again",)


def test_time_is_bounded(pdf: PdfMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ocr, "available", lambda: "5.0")
    monkeypatch.setattr(pdf_reader, "OCR_SECONDS", 0.0)
    document = read_document(pdf.make([[Words(72, 700, "Hello")], [], []], behind=scan(WORDS)), "a.pdf")
    assert document.notices == (
        "2 of 3 pages hold no text (images?): 2, 3",
        "2 more pages are pictures that OCR had no time for: split the file",
    )


def test_lines_that_tesseract_is_unsure_of_are_left_out() -> None:
    table = (
        TABLE_HEAD
        + word(1, 95, "Homework")
        + word(1, 80, "Friday")
        + word(2, 20, "iw—")
        + word(1, 91, "Labs", paragraph=2)
        + word(1, 70, "|", 3)
    )
    assert _ocr._sure_lines(table) == "Homework Friday\n\nLabs"
    assert _ocr._sure_lines(TABLE_HEAD) == ""


def test_a_missing_program_is_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    _ocr.available.cache_clear()
    _ocr.languages.cache_clear()
    assert _ocr.available() is None
    _ocr.available.cache_clear()
    _ocr.languages.cache_clear()


@needs_tesseract
def test_what_is_no_picture_gives_nothing() -> None:
    assert _ocr.read_picture(b"no picture", 200) is None
    stream = BytesIO()
    Image.new("L", (50, 50), 255).save(stream, "PNG")
    assert _ocr.read_picture(stream.getvalue(), 200) == ""
