import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from ingest.readers import _office, read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind


def made(build: Callable[[Any], None]) -> bytes:
    document = docx.Document()
    build(document)
    stream = BytesIO()
    document.save(stream)
    return stream.getvalue()


def syllabus(document: Any) -> None:
    document.add_paragraph("Sorting 101", style="Title")
    document.add_heading("Grading", 1)
    document.add_paragraph("Marks are given for:")
    document.add_paragraph("labs", style="List Bullet")
    document.add_paragraph("an exam", style="List Number")
    table = document.add_table(2, 2)
    for place, text in {(0, 0): "Task", (0, 1): "Share", (1, 0): "Labs\nweekly", (1, 1): "40 %"}.items():
        table.cell(*place).text = text
    document.add_paragraph("All must be passed.")
    document.add_heading("Late days", 2)
    document.add_paragraph("Three.")


def test_sections_follow_the_heading_styles() -> None:
    document = read_document(made(syllabus), "syllabus.docx")
    assert [(section.text, section.location) for section in document.sections] == [
        (
            "Sorting 101\n\nGrading\n\nMarks are given for:\n\n- labs\n1. an exam\nTask | Share\nLabs weekly | 40 %\n\nAll must be passed.",
            Location(LocationKind.HEADING, heading=("Sorting 101", "Grading")),
        ),
        ("Late days\n\nThree.", Location(LocationKind.HEADING, heading=("Sorting 101", "Grading", "Late days"))),
    ]
    assert document.title == "Sorting 101"


def test_without_heading_styles_short_bold_paragraphs_are_headings() -> None:
    def build(document: Any) -> None:
        document.add_paragraph("CS 101")
        document.add_paragraph().add_run("Office hours").bold = True
        document.add_paragraph("Monday, 3 pm.")
        paragraph = document.add_paragraph("Come ")
        paragraph.add_run("early").bold = True

    document = read_document(made(build), "cs101.docx")
    assert [(section.text, section.location.heading) for section in document.sections] == [
        ("CS 101", ()),
        ("Office hours\n\nMonday, 3 pm.\n\nCome early", ("Office hours",)),
    ]
    assert document.title == "CS 101"


def test_text_that_python_docx_leaves_out() -> None:
    word, math = nsdecls("w"), nsdecls("m")
    control = f"<w:sdt {word}><w:sdtContent><w:p><w:r><w:t>A content control.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    tracked = (
        f"<w:p {word}><w:r><w:t xml:space='preserve'>Due on </w:t></w:r><w:del><w:r><w:delText>Monday</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t>Friday</w:t></w:r></w:ins></w:p>"
    )
    formula = f"<w:p {word}><m:oMath {math}><m:r><m:t>a=b</m:t></m:r></m:oMath></w:p>"
    text_box = (
        f"<w:p {word}><w:r><w:t>Beside the box</w:t><w:pict><w:txbxContent><w:p><w:r><w:t>in the box</w:t></w:r></w:p>"
        "</w:txbxContent></w:pict></w:r></w:p>"
    )

    def build(document: Any) -> None:
        for xml in (control, tracked, formula, text_box):
            document.element.body.insert(len(document.element.body) - 1, parse_xml(xml))

    text = read_document(made(build), "a.docx").text
    assert text == "A content control.\n\nDue on Friday\n\n$a=b$\n\nBeside the box\n\nin the box"


def test_title_of_the_metadata_counts_only_if_the_text_has_it() -> None:
    def build(document: Any) -> None:
        document.core_properties.title = "Theory of Trees"
        document.add_paragraph("Welcome to the theory of trees and of graphs.")

    assert read_document(made(build), "a.docx").title == "Theory of Trees"

    def stale(document: Any) -> None:
        document.core_properties.title = "Theory of Trees"
        document.add_paragraph("Cooking for beginners")

    assert read_document(made(stale), "a.docx").title == "Cooking for beginners"


def test_no_text() -> None:
    with pytest.raises(UnreadableDocument, match="holds no text"):
        read_document(made(lambda document: None), "a.docx")


def without(data: bytes, name: str) -> bytes:
    """The package without one of its parts."""
    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
    return stream.getvalue()


@pytest.mark.parametrize("part", ["word/document.xml", "[Content_Types].xml", "_rels/.rels", "word/styles.xml"])
def test_a_missing_part_is_damage_or_no_matter(part: str) -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.docx is damaged or no Word document"):
        read_document(without(made(syllabus), part), "a.docx")


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_office, "XML_BYTES", 1 << 20)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("word/document.xml", bytes(3 << 20))
    with pytest.raises(UnreadableDocument, match="unpacks to 3 MiB of XML, more than the 1 MiB that are read"):
        read_document(stream.getvalue(), "bomb.docx")


def test_entities_are_not_expanded_and_files_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    data = made(lambda document: document.add_paragraph("MARK and more"))
    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "word/document.xml":
                doctype = f'?><!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}"><!ENTITY y "inside">]>'
                content = content.replace(b"?>", doctype.encode(), 1).replace(b"MARK", b"A&x;&y;B")
            new.writestr(member, content)
    with pytest.raises(UnreadableDocument, match=r"a\.docx declares a DOCTYPE or entities in word/document\.xml"):
        read_document(stream.getvalue(), "a.docx")


def test_numbers_of_lists_and_headings_are_computed() -> None:
    """`List Number` counts on; a list of its own letters and sub-numbers by the patterns of its levels."""

    def build(document: Any) -> None:
        levels = "".join(
            f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{figures}"/><w:lvlText w:val="{pattern}"/></w:lvl>'
            for depth, (figures, pattern) in enumerate([("upperRoman", "%1."), ("lowerLetter", "(%2)"), ("decimal", "%1.%2.%3")])
        )
        numbering = document.part.numbering_part.element
        numbering.insert(0, parse_xml(f'<w:abstractNum {nsdecls("w")} w:abstractNumId="99">{levels}</w:abstractNum>'))
        numbering.append(parse_xml(f'<w:num {nsdecls("w")} w:numId="99"><w:abstractNumId w:val="99"/></w:num>'))
        for depth, text in [(0, "rules"), (1, "be early"), (1, "be quiet"), (2, "very"), (0, "grades"), (1, "exam")]:
            paragraph = document.add_paragraph(text)
            properties = f'<w:numPr {nsdecls("w")}><w:ilvl w:val="{depth}"/><w:numId w:val="99"/></w:numPr>'
            paragraph._p.get_or_add_pPr().append(parse_xml(properties))
        for text in ("read", "write"):
            document.add_paragraph(text, style="List Number")

    assert read_document(made(build), "a.docx").text == (
        "I. rules\n  (a) be early\n  (b) be quiet\n    I.b.1 very\nII. grades\n  (a) exam\n1. read\n2. write"
    )


def test_a_cell_that_reaches_over_rows_stands_in_each() -> None:
    def build(document: Any) -> None:
        table = document.add_table(2, 2)
        table.cell(0, 0).merge(table.cell(1, 0)).text = "Week 1"
        table.cell(0, 1).text, table.cell(1, 1).text = "Sets", "Maps"

    assert read_document(made(build), "a.docx").text == "Week 1 | Sets\nWeek 1 | Maps"


def test_formulas_are_latex() -> None:
    formula = (
        f"<w:p {nsdecls('w')} {nsdecls('m')}><m:oMath><m:f><m:num><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e>"
        "<m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:num><m:den><m:rad><m:deg/><m:e><m:r><m:t>y</m:t></m:r></m:e></m:rad></m:den>"
        "</m:f></m:oMath></w:p>"
    )
    data = made(lambda document: document.element.body.insert(0, parse_xml(formula)))
    assert read_document(data, "a.docx").text == r"$\frac{x^{2}}{\sqrt{y}}$"


def test_strict_open_xml_is_read() -> None:
    data = made(syllabus)
    stream = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            for strict, transitional in _office._STRICT.items():
                content = content.replace(transitional, strict)
            new.writestr(member, content)
    assert read_document(stream.getvalue(), "a.docx").text == read_document(data, "a.docx").text
