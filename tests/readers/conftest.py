from __future__ import annotations

import pytest
from handmade_pdf import PdfMaker, Words


@pytest.fixture
def pdf() -> PdfMaker:
    return PdfMaker()


@pytest.fixture
def lecture_pdf(pdf: PdfMaker) -> bytes:
    """Two pages with a header, a paragraph that wraps, a word hyphenated at a line end, a list, a table, code, and an outline."""
    first = [
        Words(72, 760, "CS 101 Lecture Notes", 9),
        Words(72, 700, "Sorting Algorithms", 24),
        Words(72, 660, "A sorting algorithm puts the elements of a list into an order. The most frequently"),
        Words(72, 645, "used orders are numerical order and lexicographical order, and either can be ascen-"),
        Words(72, 630, "ding or descending. Efficient sorting is important for the efficiency of other"),
        Words(72, 615, "algorithms."),
        Words(72, 585, "Grading"),
        Words(72, 570, "Homework"),
        Words(300, 570, "40 %"),
        Words(72, 555, "Final exam"),
        Words(300, 555, "60 %"),
        Words(300, 30, "1", 9),
    ]
    second = [
        Words(72, 760, "CS 101 Lecture Notes", 9),
        Words(72, 700, "Quicksort", 24),
        Words(72, 660, "• It divides the list at a pivot element, so that smaller elements come before it and"),
        Words(84, 645, "larger ones after it."),
        Words(72, 630, "• Its worst case is quadratic."),
        Words(72, 600, "def sort(items):", 12, "F2"),
        Words(100.8, 585, "return sorted(items)", 12, "F2"),
        Words(300, 30, "2", 9),
    ]
    third = [Words(72, 760, "CS 101 Lecture Notes", 9), Words(72, 700, "The end."), Words(300, 30, "3", 9)]
    outline = [("Sorting Algorithms", 0), ("Quicksort", 1)]
    return pdf.make([first, second, third], title="Microsoft Word - notes.docx", outline=outline)
