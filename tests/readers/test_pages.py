from io import BytesIO

import pytest
from handmade_pdf import PdfMaker, Words
from PIL import Image
from pypdfium2 import PdfTextPage

from rag import pages
from rag.errors import UnreadableDocument
from rag.pages import count_pages, find_page, find_page_of_any, find_words, locate_quote, open_pdf, page_characters, render_page


def test_a_quote_is_found_across_lines_and_hyphen(lecture_pdf: bytes) -> None:
    first, second = locate_quote(lecture_pdf, 1, "ascending or descending")
    assert 72 + 300 < first.left < first.right < 530
    assert first.bottom < 645 < first.top < 660  # the baseline runs through the box
    assert second.left == 72
    assert second.bottom < 630 < second.top < 645


def test_a_quote_of_another_page_is_not_found(lecture_pdf: bytes) -> None:
    assert locate_quote(lecture_pdf, 2, "ascending or descending") == []
    assert locate_quote(lecture_pdf, 1, "… !") == []


def test_the_page_that_holds_a_quote_is_found_from_anywhere(lecture_pdf: bytes) -> None:
    pages = count_pages(lecture_pdf)
    for page in range(1, pages + 1):
        words = page_words(lecture_pdf, page)
        assert {find_page(lecture_pdf, words, near) for near in (0.0, 0.5, 1.0)} == {page}
    assert find_page(lecture_pdf, "words of no page of this lecture") is None


def page_words(data: bytes, page: int) -> str:
    with open_pdf(data, "the PDF") as document:
        return page_characters(document[page - 1].get_textpage())


def test_words_are_matched_whole() -> None:
    text = "The cart and the art"
    assert find_words(text, "art") == (17, 20)
    assert find_words(text, "ar") is None


def test_ligatures_case_and_hyphens_make_no_difference() -> None:
    text = "An eﬃcient\r\nalgo-\r\nrithm."
    assert find_words(text, "efficient algorithm") == (3, 24)
    assert text[3:24] == "eﬃcient\r\nalgo-\r\nrithm"


def test_most_of_a_long_quote_is_enough() -> None:
    sentence = "The quick brown fox jumps over the lazy dog and then runs back into the deep dark forest at night. "
    assert find_words(f"{sentence}Page 3. {sentence}", sentence * 2) == (0, 2 * len(sentence) + 6)


def test_rendered_page_is_marked_where_the_quote_stands(pdf: PdfMaker) -> None:
    data = pdf.make([[Words(72, 700, "Marked words here")]])
    boxes = locate_quote(data, 1, "marked words")
    plain = Image.open(BytesIO(render_page(data, 1, scale=2)))
    marked = Image.open(BytesIO(render_page(data, 1, boxes, scale=2)))
    assert marked.size == plain.size == (1224, 1584)
    box = boxes[0]
    corner = (round(2 * box.left), round(2 * (792 - box.top)))
    assert plain.getpixel(corner) == (255, 255, 255)
    red, green, blue = marked.getpixel(corner)
    assert red == 255
    assert blue < green
    assert marked.getpixel((600, 1000)) == (255, 255, 255)


def test_a_huge_page_is_rendered_smaller(pdf: PdfMaker) -> None:
    data = pdf.make([[Words(72, 700, "Poster")]]).replace(b"[0 0 612 792]", b"[0 0 9999 999]")
    width, height = Image.open(BytesIO(render_page(data, 1, scale=9))).size
    assert width * height < 25_000_000


def test_a_page_that_is_not_there(lecture_pdf: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="has no page 9: its pages are 1 to 3"):
        render_page(lecture_pdf, 9)
    with pytest.raises(UnreadableDocument, match="damaged or no PDF"):
        locate_quote(b"nothing", 1, "words")


def test_pages_are_read_once_for_all_wordings_and_the_first_counts(pdf: PdfMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pdf.make([[Words(72, 700, words)] for words in ("the zebra", "a quagga", "an okapi")])
    read: list[str] = []

    def reading(textpage: PdfTextPage) -> str:
        read.append(page_characters(textpage))
        return read[-1]

    monkeypatch.setattr(pages, "page_characters", reading)
    assert find_page_of_any(data, ["an okapi", "the zebra"]) == 3
    assert find_page_of_any(data, ["a walrus", "a quagga", "the zebra"], near=1.0) == 2
    assert read == ["the zebra", "a quagga", "an okapi", "an okapi", "a quagga", "the zebra"]
    assert find_page_of_any(data, []) is None
