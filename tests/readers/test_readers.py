"""What holds for every reader: the choice by suffix, and that nothing but UnreadableDocument comes out of any bytes."""

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import FORMATS, READERS, read_document
from rag.errors import UnreadableDocument
from rag.types import Document


def check(document: Document) -> None:
    """The promises every document keeps."""
    text = document.text
    position = 0
    for section in document.sections:
        assert section.text.strip()
        assert text[position : position + len(section.text)] == section.text
        position += len(section.text) + len(Document.SEPARATOR)
    assert document.title.strip()
    assert document.sections
    assert not set(text) & set("\0\r\x0c\u2028\ufeff")
    text.encode("utf-8")  # no lone surrogates


ONE_FORMAT_A_READER = {reader: suffix for suffix, reader in READERS.items()}.values()


@pytest.mark.parametrize("suffix", ONE_FORMAT_A_READER)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(suffix: str, data: bytes) -> None:
    with contextlib.suppress(UnreadableDocument):
        check(read_document(data, f"file{suffix}"))


@pytest.mark.parametrize(
    "suffix", [".txt", ".md", ".html", ".tex", ".srt", ".ipynb", ".csv", ".tsv", ".py", ".c", ".ts", ".rs", ".hs", ".sql"]
)
@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="# -$\\{}[]()<>&|*_`%~'\"\n\t:.,0123abcä\0\x85\u2028\ud800", max_size=200))
def test_any_markup_is_read_or_refused(suffix: str, text: str) -> None:
    with contextlib.suppress(UnreadableDocument):
        check(read_document(text.encode("utf-8", "surrogatepass"), f"file{suffix}"))


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 3000), byte=st.integers(0, 255), place=st.integers(0, 3000))
def test_a_damaged_pdf_is_read_or_refused(cut: int, byte: int, place: int) -> None:
    data = bytearray(PDF[: len(PDF) - cut] if cut % 2 else PDF)
    if data:
        data[place % len(data)] = byte
    with contextlib.suppress(UnreadableDocument):
        check(read_document(bytes(data), "a.pdf"))


PDF = b"""%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R
 /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >> endobj
4 0 obj << /Length 38 >> stream
BT /F1 12 Tf 72 700 Td (Hello) Tj ET  \nendstream endobj
trailer << /Root 1 0 R >>
%%EOF
"""


def test_pdf_without_a_cross_reference_table_is_read() -> None:
    assert read_document(PDF, "a.pdf").text == "Hello"


def test_suffix_is_found_in_any_case() -> None:
    assert read_document(b"Some words here.", "Notes/READ.ME.TXT").text == "Some words here."


def test_unknown_format_names_what_is_read() -> None:
    with pytest.raises(UnreadableDocument, match=r"a\.xyz is in the format \.xyz, which is not read: save it in one that is \(PDF, "):
        read_document(b"x", "a.xyz")
    with pytest.raises(UnreadableDocument, match=r"Makefile is in the format \(none\)"):
        read_document(b"x", "Makefile")


@pytest.mark.parametrize(("source", "successor"), [("old.ppt", ".pptx"), ("old.DOC", ".docx"), ("a.xlsx", ".csv"), ("a.mobi", ".epub")])
def test_old_office_formats_say_how_to_save(source: str, successor: str) -> None:
    with pytest.raises(UnreadableDocument, match=f"save it as {successor}"):
        read_document(b"\xd0\xcf\x11\xe0", source)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("data", [b"", b" \n\t"])
def test_empty_file(suffix: str, data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match=f"empty{suffix} is empty"):
        read_document(data, f"empty{suffix}")


def test_readers_do_not_import_torch() -> None:
    code = "import sys, ingest.readers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
