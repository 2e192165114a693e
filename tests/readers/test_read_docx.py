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
            "Sorting 101\n\nGrading\n\nMarks are given for:\n\n- labs\n- an exam\nTask | Share\nLabs weekly | 40 %\n\nAll must be passed.",
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
    assert text == "A content control.\n\nDue on Friday\n\na=b\n\nBeside the box\n\nin the box"


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
    assert read_document(stream.getvalue(), "a.docx").text == "A"
