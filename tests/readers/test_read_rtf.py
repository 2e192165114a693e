import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import read_document
from rag.errors import UnreadableDocument
from rag.types import Location, LocationKind

HEADER = (
    r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\froman\fcharset204 Times CYR;}{\f2\fnil\fcharset2 Symbol;}}"
    r"{\colortbl;\red0\green0\blue0;}{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}}"
    r"{\info{\title Syllabus of \'dcbungen}{\author A. Nonymous}}{\header Page header\par}"
)


def rtf(body: str, header: str = HEADER) -> bytes:
    return f"{header}{body}}}".encode("ascii")


SYLLABUS = r"""
\pard\plain \s1\outlinelevel0\b Grading\par
\pard\plain\fs24 Marks are given for the \'dcbungen,{\*\comment hidden} \u8220?in order\u8221?.\par
\pard{\listtext\f2\'b7\tab}labs\par
{\listtext\f2\'b7\tab}an exam\par
{\listtext 1.\tab}first\par
\trowd\cellx100\cellx200\pard\intbl Task\cell Share | part\cell\row
\trowd\pard\intbl Labs\par weekly\cell 40 %\cell\row
\pard All must be passed.{\footnote A note.}\par
\pard\plain \s2\outlinelevel1 Late \'64ays\par\pard\plain Three \{or four\}.\par
"""


def test_sections_follow_the_outline_levels() -> None:
    document = read_document(rtf(SYLLABUS), "syllabus.rtf")
    assert [(section.text, section.location) for section in document.sections] == [
        (
            "Grading\n\nMarks are given for the Übungen, “in order”.\n\n- labs\n- an exam\n1. first\n"
            "Task | Share | part\nLabs weekly | 40 %\n\nAll must be passed.",
            Location(LocationKind.HEADING, heading=("Grading",)),
        ),
        ("Late days\n\nThree {or four}.", Location(LocationKind.HEADING, heading=("Grading", "Late days"))),
    ]
    assert document.title == "Grading"
    assert document.notices == ()


def test_a_title_in_the_properties_counts_only_if_the_text_has_it() -> None:
    assert read_document(rtf(r"Here is the syllabus of the \'dcbungen.\par"), "a.rtf").title == "Syllabus of Übungen"
    assert read_document(rtf(r"Cooking for beginners\par"), "a.rtf").title == "Cooking for beginners"


def test_a_table_in_a_table() -> None:
    body = (
        r"\trowd\cellx9\cellx99\pard\intbl\itap1 Marks\par\pard\intbl\itap2 {Lab\nestcell{\nonesttables\par }"
        r"40 %\nestcell{\nonesttables\par }}"
        r"\pard\intbl\itap2 {{\*\nesttableprops\trowd\cellx5\nestrow}{\nonesttables\par }}\pard\intbl\itap1 in all\cell 100 %\cell\row\pard"
    )
    assert read_document(rtf(body), "a.rtf").text == "Marks Lab | 40 %\nin all | 100 %"


CHARACTERS = {
    "a font's code page": (rb"\f1 \'cb\'e5\'ea\'f6\'e8\'ff\f0  \'e9", "Лекция é"),
    "two halves": (rb"\u-10179?\u-8704?!", "\U0001f600!"),
    "half of a character": (rb"a\u-10179?b", "a\ufffdb"),
    "several to skip": (rb"{\uc2\u228\'61\'65}x", "äx"),
    "bytes of the code page": (b"\xdcbung und \x93Zitat\x94", "Übung und “Zitat”"),
    "UTF-8": ("Übung – 数学".encode(), "Übung – 数学"),
    "soft and hard hyphens": (rb"Auf\-gabe e\_mail 3~\~km", "Aufgabe e-mail 3~ km"),
    "a link": (rb'See {\field{\*\fldinst{HYPERLINK "http://x.org/"}}{\fldrslt{\ul the page}}}.', "See the page."),
    "a picture": (rb"A{\pict\wmetafile8 " + b"0123456789abcdef\r\n" * 100 + b"}B", "AB"),
    "a binary picture": (rb"A{\pict\wmetafile8\bin6 }}\par}B", "AB"),
}


@pytest.mark.parametrize(("body", "text"), CHARACTERS.values(), ids=CHARACTERS)
def test_characters(body: bytes, text: str) -> None:
    assert read_document(HEADER.encode() + body + rb"\par}", "a.rtf").text == text


def test_without_headings_the_text_is_one_section() -> None:
    sections = read_document(rtf(r"One.\par Two.\par"), "a.rtf").sections
    assert [(section.text, section.location) for section in sections] == [("One.\n\nTwo.", Location(LocationKind.HEADING))]


def test_a_torn_file_is_read_with_a_notice() -> None:
    document = read_document(rtf(r"{\b One.\par Two"[:-3]).removesuffix(b"}"), "a.rtf")
    assert document.text == "One."
    assert document.notices == ("it breaks off inside 2 groups: the end may be missing",)


def test_what_is_no_rtf() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.rtf is no RTF file, which begins with \{\\rtf"):
        read_document(b"PK\x03\x04", "a.rtf")
    with pytest.raises(UnreadableDocument, match=r"a\.rtf holds no text"):
        read_document(rtf(r"\par\par"), "a.rtf")


@pytest.mark.parametrize("body", [r"\u9999999999 x", r"\uc x", r"{\fonttbl{\f1\fcharset78 Osaka;}}\f1\'80x"])
def test_what_striprtf_cannot_take_is_damage(body: str) -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.rtf is damaged \(.*\): open it in a word processor and save it as \.docx"):
        read_document(rtf(body, r"{\rtf1\ansi "), "a.rtf")


TOKENS = (
    r"{ } \par \cell \row \intbl \outlinelevel0 \outlinelevel8 \u228? \u-10179 \uc \uc0 \'e4 \bin3 \pict \fonttbl \f1 ; \* \ a | é"
).split()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_rtf_is_read_or_refused(tokens: list[str]) -> None:
    with contextlib.suppress(UnreadableDocument):
        assert read_document(("{\\rtf1 " + " ".join(tokens)).encode(), "a.rtf").text.strip()
