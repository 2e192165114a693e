import pytest
from handmade_pdf import PdfMaker, Words

from ingest.readers import read_document
from ingest.readers.pdf import Bookmark, page_headings
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind


def test_paragraphs_lists_tables_and_code(lecture_pdf: bytes) -> None:
    document = read_document(lecture_pdf, "lecture.pdf")
    assert [section.text for section in document.sections] == [
        "CS 101 Lecture Notes\n\nSorting Algorithms\n\n"
        "A sorting algorithm puts the elements of a list into an order. The most frequently used orders are numerical order and "
        "lexicographical order, and either can be ascending or descending. Efficient sorting is important for the efficiency of other "
        "algorithms.\n\nGrading\nHomework\t40 %\nFinal exam\t60 %",
        "Quicksort\n\n"
        "• It divides the list at a pivot element, so that smaller elements come before it and larger ones after it.\n"
        "• Its worst case is quadratic.\n\ndef sort(items):\n    return sorted(items)",
        "The end.",
    ]


def test_locations_carry_page_and_outline(lecture_pdf: bytes) -> None:
    document = read_document(lecture_pdf, "lecture.pdf")
    assert [section.location for section in document.sections] == [
        Location(LocationKind.PAGE, 1, heading=("Sorting Algorithms",)),
        Location(LocationKind.PAGE, 2, heading=("Quicksort",)),
        Location(LocationKind.PAGE, 3, heading=("Quicksort",)),
    ]
    assert document.pages == 3
    assert document.notices == ()


def test_title_of_the_metadata_counts_only_if_the_first_page_has_it(pdf: PdfMaker, lecture_pdf: bytes) -> None:
    assert read_document(lecture_pdf, "lecture.pdf").title == "Sorting Algorithms"  # not "Microsoft Word - notes.docx"
    page = [Words(72, 700, "The Theory of Trees"), Words(72, 685, "A tree is a graph.")]
    assert read_document(pdf.make([page], title="Theory of Trees"), "a.pdf").title == "Theory of Trees"
    assert read_document(pdf.make([page], title="Cooking"), "a.pdf").title == "The Theory of Trees"


def test_a_hyphen_stays_where_the_document_writes_the_word_with_one(pdf: PdfMaker) -> None:
    page = [
        Words(72, 700, "There is a take-home exam, and every student is given one whole week for the take-"),
        Words(72, 685, "home exam."),
    ]
    text = read_document(pdf.make([page]), "a.pdf").text
    assert text == "There is a take-home exam, and every student is given one whole week for the take-home exam."


def test_pages_without_text_are_named(pdf: PdfMaker) -> None:
    document = read_document(pdf.make([[Words(72, 700, "Hello")], [], [Words(72, 700, "again")], []]), "a.pdf")
    assert document.notices == ("2 of 4 pages hold no text (images?): 2, 4",)
    assert [section.location.number for section in document.sections] == [1, 3]


def test_no_text_at_all(pdf: PdfMaker) -> None:
    with pytest.raises(UnreadableDocument, match=r"scan\.pdf holds no text on its 2 pages: they are empty or damaged"):
        read_document(pdf.make([[], []]), "scan.pdf")


def test_encrypted(pdf: PdfMaker) -> None:
    with pytest.raises(UnreadableDocument, match=r"exam\.pdf is encrypted: save it without a password"):
        read_document(pdf.make([[Words(72, 700, "Hello")]], password="secret"), "exam.pdf")


@pytest.mark.parametrize("data", [b"%PDF-1.4\n", b"not a PDF", b"%PDF-1.7\n%%EOF"])
def test_damaged(data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.pdf is damaged or no PDF"):
        read_document(data, "a.pdf")


def test_outline_path_of_each_page() -> None:
    bookmarks = [
        Bookmark(("One",), 1, True),
        Bookmark(("One", "A"), 1, False),
        Bookmark(("One", "B"), 2, False),
        Bookmark(("Two",), 4, True),
    ]
    # Page 2 ends A and begins B, so only One holds for all of it; on page 3 B goes on.
    assert page_headings(bookmarks, 5) == [(), ("One",), ("One",), ("One", "B"), ("Two",)]
