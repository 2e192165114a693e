import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in (
        ("office", "office"),
        ("text", "text"),
        ("table", "table"),
        ("draw", "drawing"),
        ("style", "style"),
        ("presentation", "presentation"),
        ("svg", "svg-compatible"),
        ("form", "form"),
        ("meta", "meta"),
    )
)
OTHERS = (
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:math="http://www.w3.org/1998/Math/MathML" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
FORMULA = (
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>x</mi><mo>=</mo><mn>1</mn></mrow>'
    '<annotation encoding="StarMath 5.0">x = {a} over  {b}</annotation></semantics></math>'
)


def content(kind: str, body: str, styles: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {NAMESPACES} {OTHERS}>'
        f"<office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )


def packed(members: dict[str, str]) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in members.items():
            package.writestr(name, text)
    return stream.getvalue()


def odt(body: str, styles: str = "", **members: str) -> bytes:
    return packed({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content("text", body, styles), **members})


def odp(body: str, **members: str) -> bytes:
    return packed({"content.xml": content("presentation", body), **members})


def title_in_metadata(title: str) -> str:
    return f"<office:document-meta {NAMESPACES} {OTHERS}><office:meta><dc:title>{title}</dc:title></office:meta></office:document-meta>"


SYLLABUS = """
<text:tracked-changes><text:changed-region><text:deletion><text:p>Deleted.</text:p></text:deletion></text:changed-region></text:tracked-changes>
<text:p text:style-name="P1">Sorting 101</text:p>
<text:table-of-content><text:index-body><text:p>Grading 1</text:p></text:index-body></text:table-of-content>
<text:h text:outline-level="1">Grading</text:h>
<text:p>Marks   are<text:s text:c="2"/>given<text:line-break/>for <text:span>la<text:span>bs</text:span></text:span>:
 <office:annotation><text:p>A comment.</text:p></office:annotation><text:bookmark text:name="b"/></text:p>
<text:list><text:list-item><text:p>labs</text:p><text:p>weekly</text:p>
  <text:list><text:list-item><text:p>one</text:p></text:list-item></text:list></text:list-item>
 <text:list-item><text:list><text:list-item><text:p>two</text:p></text:list-item></text:list></text:list-item>
 <text:list-item><text:p>an exam</text:p></text:list-item></text:list>
<table:table><table:table-column/>
 <table:table-header-rows><table:table-row><table:table-cell><text:p>Task</text:p></table:table-cell>
  <table:table-cell><text:p>Share</text:p></table:table-cell></table:table-row></table:table-header-rows>
 <table:table-row><table:table-cell><text:p>Labs</text:p><text:p>weekly</text:p></table:table-cell>
  <table:table-cell><text:p>40 %</text:p><table:table><table:table-row><table:table-cell><text:p>net</text:p></table:table-cell>
  </table:table-row></table:table></table:table-cell></table:table-row>
 <table:table-row><table:table-cell table:number-columns-spanned="2"><text:p>Exam 60 %</text:p></table:table-cell>
  <table:covered-table-cell/></table:table-row></table:table>
<text:p>See<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation><text:note-body><text:p>Chapter 4.</text:p>
 </text:note-body></text:note> the book.<draw:frame><draw:text-box><text:p>In a <draw:frame><draw:text-box><text:p>box</text:p>
 </draw:text-box></draw:frame>box.</text:p></draw:text-box></draw:frame></text:p>
<text:section><text:h text:outline-level="2">Late days</text:h><text:p>Three.</text:p></text:section>
"""
TITLE_STYLE = '<style:style style:name="P1" style:family="paragraph" style:parent-style-name="Title"/>'


@pytest.mark.parametrize("name", ["syllabus.odt", "syllabus.ott"])
def test_sections_follow_the_headings(name: str) -> None:
    document = read_document(odt(SYLLABUS, TITLE_STYLE), name)
    assert [(section.text, section.location) for section in document.sections] == [
        (
            "Sorting 101\n\nGrading\n\nMarks are  given\nfor labs:\n\n- labs\n  weekly\n  - one\n  - two\n- an exam\n"
            "Task | Share\nLabs weekly | 40 % net\nExam 60 %\n\nSee[1] the book.\n\n[1] Chapter 4.\n\nIn a box.\n\nbox",
            Location(LocationKind.HEADING, heading=("Sorting 101", "Grading")),
        ),
        ("Late days\n\nThree.", Location(LocationKind.HEADING, heading=("Sorting 101", "Grading", "Late days"))),
    ]
    assert document.title == "Sorting 101"


def test_a_title_in_the_metadata_counts_only_if_the_text_has_it() -> None:
    body = "<text:p>Welcome to the theory of trees and of graphs.</text:p>"
    metadata = {"meta.xml": title_in_metadata("Theory of Trees")}
    assert read_document(odt(body, **metadata), "a.odt").title == "Theory of Trees"
    assert read_document(odt("<text:p>Cooking for beginners</text:p>", **metadata), "a.odt").title == "Cooking for beginners"


def test_formulas_as_they_were_typed() -> None:
    tex = (
        "<math:math><math:semantics><math:mi>y</math:mi>"
        '<math:annotation encoding="application/x-tex">y^2</math:annotation></math:semantics></math:math>'
    )
    bare = "<math:math><math:mi>z</math:mi><math:mo>&lt;</math:mo><math:mn>3</math:mn></math:math>"
    frames = [
        f"<draw:frame><draw:object {attribute}>{inside}</draw:object><draw:image/></draw:frame>"
        for attribute, inside in (
            ('xlink:href="./Object 1"', ""),
            ("", tex),
            ("", bare),
            ('xlink:href="./Chart"', ""),
            ('xlink:href="../x"', ""),
        )
    ]
    body = f"<text:p>So {frames[0]}, {frames[1]}, {frames[2]}{frames[3]}{frames[4]} hold.</text:p>"
    chart = f"<office:document-content {NAMESPACES}><text:p>axis</text:p></office:document-content>"
    data = odt(body, **{"Object 1/content.xml": FORMULA, "Chart/content.xml": chart})
    assert read_document(data, "a.odt").text == "So x = {a} over {b}, $y^2$, z < 3 hold."


def test_a_table_with_headings_is_a_layout() -> None:
    cell = "<table:table-cell><text:h>News</text:h><text:p>Exam moved.</text:p></table:table-cell>"
    document = read_document(odt(f"<table:table><table:table-row>{cell}</table:table-row></table:table>"), "a.odt")
    assert [(section.text, section.location.heading) for section in document.sections] == [("News\n\nExam moved.", ("News",))]


def frame(inside: str, attributes: str = "") -> str:
    return f"<draw:frame {attributes}>{inside}</draw:frame>"


def text_box(text: str, attributes: str = "") -> str:
    return frame(f"<draw:text-box><text:p>{text}</text:p></draw:text-box>", attributes)


POINTS = (
    "<text:list><text:list-item><text:p>Quicksort</text:p><text:list><text:list-item><text:p>pivot</text:p></text:list-item></text:list>"
    "</text:list-item></text:list>"
)
TABLE = (
    "<table:table><table:table-row><table:table-cell><text:p>Task</text:p></table:table-cell><table:table-cell><text:p>Points</text:p>"
    "</table:table-cell></table:table-row></table:table>"
)
SLIDES = f"""
<draw:page draw:name="page1">
 {frame(f"<draw:text-box>{POINTS}</draw:text-box>", 'presentation:class="outline"')}
 {text_box("Sorting<text:line-break/>Algorithms", 'presentation:class="title"')}
 {text_box("7", 'presentation:class="page-number"')}
 <presentation:notes><draw:page-thumbnail presentation:class="page"/>
 {text_box("Say hello.", 'presentation:class="notes"')}</presentation:notes>
</draw:page>
<draw:page draw:name="page2"><draw:frame><draw:image><text:p/></draw:image></draw:frame></draw:page>
<draw:page draw:name="page3">
 {text_box("right", 'svg:x="12cm" svg:y="7.9cm"')}
 <draw:g>{text_box("left", 'svg:x="10mm" svg:y="3.1in"')}</draw:g>
 <draw:custom-shape svg:x="1cm" svg:y="2cm"><text:p>above</text:p></draw:custom-shape>
 {frame(TABLE, 'svg:x="1cm" svg:y="15cm"')}
 {frame('<draw:object xlink:href="./Object 1"/>', 'svg:x="1cm" svg:y="17cm"')}
</draw:page>
"""


@pytest.mark.parametrize("name", ["week1.odp", "week1.otp"])
def test_a_section_a_slide(name: str) -> None:
    document = read_document(odp(SLIDES, **{"Object 1/content.xml": FORMULA}), name)
    assert [(section.text, section.location) for section in document.sections] == [
        (
            "Sorting\nAlgorithms\n\n- Quicksort\n  - pivot\n\nNotes:\nSay hello.",
            Location(LocationKind.SLIDE, 1, heading=("Sorting Algorithms",)),
        ),
        ("above\n\nleft\n\nright\n\nTask | Points\n\nx = {a} over {b}", Location(LocationKind.SLIDE, 3)),
    ]
    assert document.title == "Sorting Algorithms"
    assert document.pages == 3
    assert document.notices == ("1 of 3 slides hold no text (images?): 2",)


def test_only_pictures() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.odp holds no text on its 1 slides \(pictures only\?\)"):
        read_document(odp("<draw:page/>"), "a.odp")
    with pytest.raises(UnreadableDocument, match=r"a\.odt holds no text"):
        read_document(odt("<text:p/>"), "a.odt")


def test_encrypted_files_are_refused() -> None:
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<manifest:file-entry manifest:full-path="content.xml"><manifest:encryption-data/></manifest:file-entry></manifest:manifest>'
    )
    with pytest.raises(UnreadableDocument, match=r"a\.odt is encrypted: save it without a password"):
        read_document(packed({"content.xml": "\x8f\x00", "META-INF/manifest.xml": manifest}), "a.odt")


def test_damaged_and_foreign_files() -> None:
    data = odt(SYLLABUS)
    with pytest.raises(UnreadableDocument, match=r"a\.odt is damaged or no \.odt file"):
        read_document(data[: len(data) // 2], "a.odt")
    with pytest.raises(UnreadableDocument, match=r"a\.odp is a zip but no OpenDocument file: it has no content\.xml"):
        read_document(packed({"word/document.xml": "<x/>"}), "a.odp")
    with pytest.raises(UnreadableDocument, match=r"a\.odt is damaged or no OpenDocument file"):
        read_document(packed({"content.xml": content("text", "<text:p>Hello")[:-30]}), "a.odt")
    with pytest.raises(UnreadableDocument, match=r"a\.odt holds a spreadsheet, not a text or a presentation: save it as PDF"):
        read_document(packed({"content.xml": content("spreadsheet", "")}), "a.odt")
    with pytest.raises(UnreadableDocument, match=r"a\.odt holds a file without a body"):
        read_document(packed({"content.xml": "<x/>"}), "a.odt")


def test_deep_nesting_is_refused() -> None:
    depth = 400
    with pytest.raises(UnreadableDocument, match=r"a\.odt (is damaged|nests its elements too deeply)"):
        read_document(odt("<text:p>" + "<text:span>" * depth + "x" + "</text:span>" * depth + "</text:p>"), "a.odt")
    assert read_document(odt("<text:p>" + "<text:span>" * 200 + "x" + "</text:span>" * 200 + "</text:p>"), "a.odt").text == "x"


def test_entities_are_not_expanded_and_files_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    doctype = f'?><!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}"><!ENTITY y "inside">]>'
    text = content("text", "<text:p>A&x;&y;B</text:p>").replace("?>", doctype, 1)
    with pytest.raises(UnreadableDocument, match=r"a\.odt declares a DOCTYPE or entities in content\.xml"):
        read_document(packed({"content.xml": text}), "a.odt")
