from collections.abc import Callable
from io import BytesIO
from typing import Any

import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind


def deck(*builders: Callable[[Any], None]) -> bytes:
    """A deck with a slide for each builder, which gets the slide (layout: title and content)."""
    presentation = pptx.Presentation()
    for build in builders:
        build(presentation.slides.add_slide(presentation.slide_layouts[1]))
    stream = BytesIO()
    presentation.save(stream)
    return stream.getvalue()


def box(shapes: Any, left: float, top: float, text: str) -> None:
    shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(1)).text_frame.text = text


def points(slide: Any) -> None:
    slide.shapes.title.text = "Sorting\vAlgorithms"
    frame = slide.placeholders[1].text_frame
    frame.text = "Quicksort"
    below = frame.add_paragraph()
    below.text, below.level = "pivot", 1
    slide.notes_slide.notes_text_frame.text = "Say hello.\nThen begin."


def boxes(slide: Any) -> None:
    slide.shapes.title.text = "Figures"
    box(slide.shapes, 5, 3, "right")
    box(slide.shapes, 1, 3.1, "left\n    indented")
    group = slide.shapes.add_group_shape()
    box(group.shapes, 1, 1, "grouped")


def table(slide: Any) -> None:
    cells = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for place, text in {(0, 0): "Task", (0, 1): "Points", (1, 0): "Lab\n1", (1, 1): "10"}.items():
        cells.cell(*place).text = text


def chart(slide: Any) -> None:
    data = CategoryChartData()
    data.categories = ["a"]
    data.add_series("s", (1,))
    frame = slide.shapes.add_chart(XL_CHART_TYPE.PIE, Inches(1), Inches(2), Inches(4), Inches(3), data)
    frame.chart.chart_title.text_frame.text = "Runtime by input"


def nothing(slide: Any) -> None:
    pass


def test_a_section_a_slide() -> None:
    document = read_document(deck(points, nothing, boxes, table, chart), "week1.pptx")
    assert [(section.text, section.location) for section in document.sections] == [
        (
            "Sorting\nAlgorithms\n\nQuicksort\n  - pivot\n\nNotes:\nSay hello.\nThen begin.",
            Location(LocationKind.SLIDE, 1, heading=("Sorting Algorithms",)),
        ),
        ("Figures\n\ngrouped\n\nleft\n    indented\n\nright", Location(LocationKind.SLIDE, 3, heading=("Figures",))),
        ("Task | Points\nLab 1 | 10", Location(LocationKind.SLIDE, 4)),
        ("Runtime by input\n | s\na | 1", Location(LocationKind.SLIDE, 5)),
    ]
    assert document.title == "Sorting Algorithms"
    assert document.pages == 5
    assert document.notices == ("1 of 5 slides hold no text (images?): 2",)


def test_only_pictures() -> None:
    with pytest.raises(UnreadableDocument, match="no text on its 1 slides"):
        read_document(deck(nothing), "a.pptx")


def test_damaged_and_foreign_files() -> None:
    data = deck(points)
    with pytest.raises(UnreadableDocument, match=r"a\.pptx is damaged or no \.pptx file"):
        read_document(data[: len(data) // 2], "a.pptx")
    with pytest.raises(UnreadableDocument, match=r"encrypted or in the old binary format: save it without a password as \.pptx"):
        read_document(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "a.pptx")
    with pytest.raises(UnreadableDocument, match=r"a\.docx is damaged or no Word document"):
        read_document(data, "a.docx")
